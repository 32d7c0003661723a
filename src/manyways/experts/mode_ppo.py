"""Owns PPO for experts: the library's PPO, with the modes as codes.

It takes ten times the environment steps of CrossQ, which are cheap on EnvPool, and finds faster gaits: CrossQ's hopper
moves backwards at 0.9 m/s, this one at 1.5 m/s.
"""

import copy
import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.rl.ppo import PPOTraining
from manyways.rl.settings import PPO
from manyways.tasks import Task

_LARGE = 20.0  # its tanh is 1 in single precision


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase of PPO, in which the learning rate falls to 0.

    Args:
        steps: environment steps.
        learning_rate: at the start.
        environments: how many run at once under each mode, one number for all or one for each; more for modes that are
            hard to learn.
        noise: the largest standard deviation of the actions at the start and at the end, in halves of their range; it
            falls geometrically. A later phase begins with the first. None leaves it to PPO.
        copy_mode: pairs of modes; the first begins with a copy of the second's behaviour, to leave a local optimum.
    """

    steps: int
    learning_rate: float = 3e-4
    environments: int | tuple[int, ...] = 16
    noise: tuple[float, float] | None = None
    copy_mode: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModePPO:
    """Settings of PPO for an expert of a list of modes, in the plain frame.

    Args:
        ppo: of PPO itself, except steps and learning rate. Environments are not reset in between.
        phases: in order; each continues with the networks of the last.
        costs: subtracted from each step's reward under each mode at the start, since no expert learns to walk if
            standing still is rewarded; 0 for modes that are not listed.
        costly_steps: environment steps in which the costs fall to 0 linearly.
        seed: of everything random.
    """

    ppo: PPO = field(default_factory=lambda: PPO(log_std=-0.5, epochs=6, target_kl=0.03, updates_per_restart=1_000_000))
    phases: tuple[Phase, ...] = (Phase(steps=10_000_000),)
    costs: tuple[float, ...] = ()
    costly_steps: int = 0
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        settings: dict[str, Any] = json.loads(json.dumps(asdict(self)))  # with lists in place of tuples
        return settings

    def start(self, task: Task) -> "ModePPOTraining":
        """Return training at its first step, each environment under a mode of its own."""
        return ModePPOTraining(self, task)


class ModePPOTraining:
    """Training by PPO on one vector environment.

    Args:
        settings: of PPO for an expert.
        task: of the expert.

    Attributes:
        updates: gradient steps so far.
    """

    def __init__(self, settings: ModePPO, task: Task) -> None:
        self.settings = settings
        self.updates = 0
        self._task = task
        self._steps_before = 0  # this phase
        self._begin(0)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self._steps_before + self._ppo.steps

    @property
    def finished(self) -> bool:
        """Whether the last phase is over."""
        return self._phase == len(self.settings.phases) - 1 and self._ppo.finished

    def step(self) -> None:
        """Run the environments, and take an update."""
        settings = self.settings
        if self._ppo.finished and not self.finished:
            self._steps_before = self.steps
            self._begin(self._phase + 1, self._ppo.state_dict())
        phase, log_std = settings.phases[self._phase], self._ppo.network.log_std.data
        if phase.noise is not None:
            first, last = np.log(phase.noise)
            log_std.clamp_(max=float(first + (last - first) * self._ppo.steps / phase.steps))
        rollout = self._ppo.collect()
        if self.steps < settings.costly_steps:
            rollout.rewards -= self._costs * (1 - self.steps / settings.costly_steps)
        passes = self._ppo.learn(rollout)["passes"]
        self.updates += int(passes) * math.ceil(int(rollout.valid.sum()) / settings.ppo.minibatch)

    def _begin(self, number: int, state: dict[str, Tensor] | None = None) -> None:
        """Begin a phase, with the networks and moments in the state of the last phase."""
        settings, task, count = self.settings, self._task, len(self._task.modes)
        phase = settings.phases[number]
        modes = np.repeat(np.arange(count), phase.environments)
        codes = np.eye(count, dtype=np.float32)[modes]
        ppo = replace(
            settings.ppo,
            total_steps=phase.steps,
            learning_rate=phase.learning_rate,
            seed=int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0]),
        )
        self._ppo = PPOTraining(ppo, task.make_vec(len(modes), modes), lambda starting, rng: codes[starting], count)
        self._phase = number
        costs = np.pad(settings.costs, (0, count - len(settings.costs)))[modes]
        self._costs = torch.from_numpy(costs).float()
        if state is None:
            return
        state = {name: tensor for name, tensor in state.items() if name.startswith(("network.", "moments."))}
        self._ppo.load_state_dict(self._ppo.state_dict() | state)
        network: Any = self._ppo.network
        with torch.no_grad():
            if phase.noise is not None:
                network.log_std.fill_(math.log(phase.noise[0]))
            for one, other in phase.copy_mode:
                for of_mode in (network.actor.code.weight, network.critic[0].weight[:, -count:]):
                    of_mode[:, one] = of_mode[:, other]

    def layers(self) -> dict[str, NDArray[np.float32]]:
        """Return the policy as plain layers for `Expert`, with the normalisation (without clipping) folded in."""
        actor: Any = copy.deepcopy(self._ppo.network.actor).cpu().double()
        first, second, last = actor.state[0], actor.state[2], actor.output
        of_mode, normalizer = actor.code, actor.observations.part()
        # The one-hot mode must pass the first tanh unchanged: times a large number it becomes 0 or 1 again.
        weight = first.weight * normalizer.scale
        bias = first.bias - weight @ normalizer.mean
        identity = _LARGE * torch.eye(of_mode.in_features, dtype=torch.float64)
        layers = (
            (torch.block_diag(weight, identity), torch.cat([bias, torch.zeros(len(identity))])),  # type: ignore[no-untyped-call]
            (torch.cat([second.weight, of_mode.weight], dim=1), second.bias + of_mode.bias),
            (last.weight, last.bias),
        )
        tensors: dict[str, NDArray[np.float32]] = {"tanh": np.ones(1, np.float32)}
        for number, (weight, bias) in enumerate(layers):
            tensors[f"weight.{number}"] = weight.detach().float().numpy().copy()
            tensors[f"bias.{number}"] = bias.detach().float().numpy().copy()
        return tensors | {"action_scale": self._ppo.highest_action}

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that `load_state_dict` needs but for the environments, which start anew."""
        counts = {"gradient_steps": self.updates, "phase": self._phase, "steps_before": self._steps_before}
        return self._ppo.state_dict() | {name: torch.tensor(count) for name, count in counts.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        if int(tensors["phase"]) != self._phase:
            self._begin(int(tensors["phase"]))
        self._ppo.load_state_dict(tensors)
        self._steps_before = int(tensors["steps_before"])
        self.updates = int(tensors["gradient_steps"])
