"""Owns PPO for experts: the library's own, whose codes are the modes.

It takes ten times the environment steps of CrossQ, which are cheap on EnvPool, and finds faster ways: where CrossQ's
hopper shuffles backwards at 0.9 m/s, this one hops at 1.5 m/s.
"""

import copy
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.ppo import PPO, PPOTraining
from manyways.tasks import Task

_LARGE = 20.0  # whose tanh is 1 in single precision


@dataclass(frozen=True, kw_only=True)
class ModePPO:
    """Settings of PPO for an expert that is told one of a list of modes, and sees the plain view.

    Args:
        ppo: of PPO itself.
        environments: how many are stepped at once.
        costs: what a step costs under each mode besides at the start: where to stand still is rewarded, nobody finds
            out how to walk. None under other modes than are listed.
        costly_steps: environment steps in which the costs fall to 0, linearly.
        seed: of everything random.
    """

    ppo: PPO = field(default_factory=lambda: PPO(log_std=-0.5, epochs=6, target_kl=0.03))
    environments: int = 96
    costs: tuple[float, ...] = ()
    costly_steps: int = 0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self) | {"costs": list(self.costs)}

    def start(self, task: Task) -> "ModePPOTraining":
        """Return training at its first step, each environment under a mode of its own."""
        return ModePPOTraining(self, task)


class ModePPOTraining:
    """PPO at work on one vector environment.

    Args:
        settings: of PPO for an expert.
        task: whose expert is trained.

    Attributes:
        updates: gradient steps taken.
    """

    def __init__(self, settings: ModePPO, task: Task) -> None:
        self.settings = settings
        self.updates = 0
        modes = task.discrete_modes.spread(settings.environments)
        told = np.eye(len(task.modes), dtype=np.float32)[modes]
        self._ppo = PPOTraining(
            replace(settings.ppo, seed=settings.seed),
            task.make_vec(settings.environments, modes),
            lambda starting, rng: told[starting],
            len(task.modes),
        )
        costs = np.pad(settings.costs, (0, len(task.modes) - len(settings.costs)))[modes]
        self._costs = torch.from_numpy(costs).float()

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
        network = self._ppo.network
        first, second, last = (layer.double() for layer in copy.deepcopy(network).actor_layers)
        of_mode, seen = network.actor.code, network.actor.observations
        # The mode comes in after the first tanh only: through which 0 goes as it is, and what is large as 1.
        weight = first.weight / seen.std
        bias = first.bias - weight @ seen.mean.double()
        passed = _LARGE * torch.eye(of_mode.in_features)
        layers = (
            (torch.block_diag(weight, passed), torch.cat([bias, torch.zeros(len(passed))])),  # type: ignore[no-untyped-call]
            (torch.cat([second.weight, of_mode.weight], dim=1), second.bias + of_mode.bias),
            (last.weight, last.bias),
        )
        tensors: dict[str, NDArray[np.float32]] = {"tanh": np.ones(1, np.float32)}
        for number, (weight, bias) in enumerate(layers):
            tensors[f"weight.{number}"] = weight.detach().float().numpy().copy()
            tensors[f"bias.{number}"] = bias.detach().float().numpy().copy()
        return tensors | {"action_scale": self._ppo.highest_action}

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs but for the environments, which start anew."""
        return self._ppo.state() | {"gradient_steps": torch.tensor(self.updates)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self._ppo.restore(tensors)
        self.updates = int(tensors["gradient_steps"])
