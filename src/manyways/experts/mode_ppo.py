"""Owns PPO for experts: the library's own, of an environment that tells the mode.

It takes many times the environment steps of CrossQ, which are cheap on EnvPool, and leaves ways of moving that are good
enough to stay with: where CrossQ's hopper shuffles backwards at 0.9 m/s, this one learns to hop.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.ppo import PPO, PPOTraining
from manyways.experts.view import ExpertView
from manyways.tasks import Task


@dataclass(frozen=True, kw_only=True)
class ModePPO:
    """Settings of PPO for an expert.

    Args:
        ppo: of PPO itself.
        environments: how many are stepped at once.
        costs: what a step costs under each mode besides at the start: where to stand still is rewarded, nobody finds
            out how to walk. None under other modes than are listed.
        costly_steps: environment steps in which the costs fall to 0, linearly.
        seed: of everything random.
    """

    ppo: PPO = PPO(log_std=-0.5, epochs=6, target_kl=0.03)
    environments: int = 96
    costs: tuple[float, ...] = ()
    costly_steps: int = 0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self) | {"costs": list(self.costs)}

    def start(self, task: Task) -> "ModePPOTraining":
        """Return training at its first step, each environment under a mode of its own."""
        return ModePPOTraining(self, ExpertView(task, self.environments, task.modes.spread(self.environments)))


class ModePPOTraining:
    """PPO at work on one vector environment.

    Args:
        settings: of PPO for an expert.
        environment: as the expert sees it.

    Attributes:
        updates: gradient steps taken.
    """

    def __init__(self, settings: ModePPO, environment: ExpertView) -> None:
        self.settings = settings
        self.updates = 0
        self._action_scale = environment.action_scale
        self._ppo = PPOTraining(replace(settings.ppo, seed=settings.seed), environment)
        costs = np.zeros(settings.environments, np.float32)
        if settings.costs:
            costs += np.pad(settings.costs, (0, len(environment.modes)))[environment.modes]
        self._costs = torch.from_numpy(costs)

    @property
    def steps(self) -> int:
        """Environment steps taken."""
        return self._ppo.steps

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken, and the learning rate is 0."""
        return self._ppo.finished

    def step(self) -> None:
        """Run the environments, and learn from what happened."""
        rollout = self._ppo.collect()
        if self.steps < self.settings.costly_steps:
            rollout.rewards -= self._costs * (1 - self.steps / self.settings.costly_steps)
        passes = self._ppo.learn(rollout)["passes"]
        self.updates += int(passes) * math.ceil(int(rollout.valid.sum()) / self.settings.ppo.minibatch)

    def layers(self) -> dict[str, NDArray[np.float32]]:
        """Return the policy as plain layers, the normalisation folded into them, for `Expert`.

        Only that observations are cut at ten standard deviations is left out.
        """
        network = self._ppo.network.actor
        first, second, last = (
            (layer.weight.detach().double(), layer.bias.detach().double())
            for layer in (network.state[0], network.state[2], network.output)
        )
        weight = first[0] / network.observations.std.double()
        first = weight, first[1] - weight @ network.observations.mean.double()
        second = second[0], second[1] + network.code.bias.detach().double()
        tensors: dict[str, NDArray[np.float32]] = {"tanh": np.ones(1, np.float32)}
        for number, (weight, bias) in enumerate((first, second, last)):
            tensors[f"weight.{number}"] = weight.float().numpy().copy()
            tensors[f"bias.{number}"] = bias.float().numpy().copy()
        return tensors | {"action_scale": self._action_scale}

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs but for the environments, which start anew."""
        return self._ppo.state() | {"gradient_steps": torch.tensor(self.updates)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self._ppo.restore(tensors)
        self.updates = int(tensors["gradient_steps"])
