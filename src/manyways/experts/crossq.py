"""Owns CrossQ (Bhatt et al. 2024): soft actor-critic with batch normalisation in place of target networks.

It trains experts only, and reached their target returns with the least machine time of all algorithms tried.
"""

import copy
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from manyways.experts.environment import ExpertEnvironment
from manyways.networks.checkpoints import add_prefix, load_moments, moments, take_prefix
from manyways.tasks import Task

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class CrossQ:
    """Settings of CrossQ.

    Args:
        environments: how many are stepped at once.
        steps_per_update: environment steps for each gradient step of the critics.
        random_steps: environment steps with random actions at the start.
        buffer: transitions in the replay buffer; few, so that they are close to the current policy.
        batch: transitions in a gradient step.
        learning_rate: of Adam, whose first moment has decay 0.5.
        constant_updates: gradient steps of the critics with this learning rate.
        half_life: gradient steps in which it then halves; None for a constant rate.
        gamma: discount.
        policy_delay: gradient steps of the critics for each of the policy.
        hidden: width of both networks' two layers.
        target_entropy: of the policy, as a multiple of the number of actions.
        averaging: weight of the old values in the running average of the policy, which is the result.
        seed: of everything random.
    """

    environments: int = 32
    steps_per_update: int = 8
    random_steps: int = 10_000
    buffer: int = 200_000
    batch: int = 256
    learning_rate: float = 1e-3
    constant_updates: int = 0
    half_life: int | None = None
    gamma: float = 0.97
    policy_delay: int = 3
    hidden: int = 256
    target_entropy: float = -1.0
    averaging: float = 0.999
    seed: int = 0

    def learning_rate_at(self, update: int) -> float:
        """Return the learning rate after `update` gradient steps of the critics."""
        if self.half_life is None:
            return self.learning_rate
        return float(self.learning_rate * 0.5 ** (max(0, update - self.constant_updates) / self.half_life))

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)

    def start(self, task: Task) -> "CrossQTraining":
        """Return training at its first step, with the modes spread over the environments."""
        return CrossQTraining(self, ExpertEnvironment(task, self.environments, task.modes.spread(self.environments)))


def _network(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    def norm(size: int) -> nn.BatchNorm1d:
        return nn.BatchNorm1d(size, eps=1e-3, momentum=0.01)

    return nn.Sequential(
        norm(inputs),
        nn.Linear(inputs, hidden),
        nn.ReLU(),
        norm(hidden),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        norm(hidden),
        nn.Linear(hidden, outputs),
    )


class CrossQTraining:
    """Training by CrossQ on one vector environment.

    Args:
        settings: of CrossQ.
        environment: of the expert; resets ended episodes at the next step.

    Attributes:
        steps: environment steps so far.
        updates: gradient steps of the critics so far.
        finished: always False.
    """

    finished = False

    def __init__(self, settings: CrossQ, environment: ExpertEnvironment) -> None:
        self.settings = settings
        self.environment = environment
        self.steps = 0
        self.updates = 0
        observation_size = environment.single_observation_space.shape[0]  # type: ignore[index]
        self._action_size = environment.single_action_space.shape[0]  # type: ignore[index]
        torch.manual_seed(settings.seed)
        self.actor = _network(observation_size, settings.hidden, 2 * self._action_size)
        self.averaged = copy.deepcopy(self.actor).requires_grad_(False)
        self._critics = nn.ModuleList(
            _network(observation_size + self._action_size, settings.hidden, 1) for _ in range(2)
        )
        self._log_temperature = nn.Parameter(torch.zeros(()))
        self._optimizers = [
            torch.optim.Adam(parameters, settings.learning_rate, betas=(0.5, 0.999), fused=True)
            for parameters in (self.actor.parameters(), self._critics.parameters(), [self._log_temperature])
        ]
        self._rng = np.random.default_rng(settings.seed)
        size = settings.buffer
        self._memory = {
            "observations": torch.empty(size, observation_size),
            "actions": torch.empty(size, self._action_size),
            "rewards": torch.empty(size),
            "next_observations": torch.empty(size, observation_size),
            "continues": torch.empty(size),
        }
        self._transitions = 0  # ever stored in the memory
        self._pending = 0.0  # gradient steps to take for the environment steps so far
        self._observation: Floats | None = None

    def step(self) -> None:
        """Step every environment once, and take the gradient steps for these steps."""
        settings = self.settings
        if self._observation is None:
            self._observation, _ = self.environment.reset(seed=int(self._rng.integers(2**31)))
            self._ended = np.zeros(settings.environments, dtype=bool)
        if self.steps < settings.random_steps:
            actions = torch.from_numpy(self._rng.uniform(-1, 1, (settings.environments, self._action_size))).float()
        else:
            with torch.no_grad():
                self.actor.eval()
                actions, _ = self._act(torch.from_numpy(self._observation).float())
                self.actor.train()
        next_observation, rewards, terminated, truncated, _ = self.environment.step(actions.numpy())
        self._remember(self._observation, actions, rewards, next_observation, terminated)
        self._observation, self._ended = next_observation, terminated | truncated
        self.steps += settings.environments
        if self._transitions >= settings.random_steps:
            self._pending += settings.environments / settings.steps_per_update
            while self._pending >= 1:
                self._learn()
                self._pending -= 1

    def _remember(
        self,
        observations: Floats,
        actions: Tensor,
        rewards: Floats,
        next_observations: Floats,
        terminated: NDArray[np.bool_],
    ) -> None:
        rows = np.flatnonzero(~self._ended)  # the others were reset
        places = torch.from_numpy((self._transitions + np.arange(len(rows))) % self.settings.buffer)
        for name, values in (
            ("observations", torch.from_numpy(observations)),
            ("actions", actions),
            ("rewards", torch.from_numpy(rewards)),
            ("next_observations", torch.from_numpy(next_observations)),
            ("continues", torch.from_numpy(~terminated)),
        ):
            self._memory[name][places] = values[rows].float()
        self._transitions += len(rows)

    def _act(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return random actions (n, action size) and their log-probabilities (n,)."""
        mean, log_std = self.actor(observations).chunk(2, dim=1)
        log_std = log_std.clamp(-20, 2)
        raw = mean + log_std.exp() * torch.randn_like(mean)
        log_density = -0.5 * ((raw - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh²) without cancellation
        log_slope = 2 * (math.log(2) - raw - functional.softplus(-2 * raw))
        return raw.tanh(), (log_density - log_slope).sum(dim=1)

    def _learn(self) -> None:
        settings = self.settings
        rows = torch.from_numpy(self._rng.integers(min(self._transitions, settings.buffer), size=settings.batch))
        observations, actions, rewards, next_observations, continues = (
            values[rows] for values in self._memory.values()
        )
        policy, critics, temperature = self._optimizers
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(self.updates)

        self.actor.eval()
        with torch.no_grad():
            next_actions, next_log_probability = self._act(next_observations)
            scale = self._log_temperature.exp()
        # Both halves are one batch, for joint normalisation statistics.
        inputs = torch.cat(
            [torch.cat([observations, actions], dim=1), torch.cat([next_observations, next_actions], dim=1)]
        )
        values = torch.stack([critic(inputs).squeeze(1) for critic in self._critics])  # (2, 2 · batch)
        now, later = values.chunk(2, dim=1)
        next_value = later.detach().min(dim=0).values - scale * next_log_probability
        target = rewards + settings.gamma * continues * next_value
        loss = 0.5 * (now - target).square().mean(dim=1).sum()
        critics.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        critics.step()

        self.updates += 1
        self.actor.train()
        if self.updates % settings.policy_delay:
            return
        actions, log_probability = self._act(observations)
        self._critics.eval().requires_grad_(False)
        inputs = torch.cat([observations, actions], dim=1)
        least = torch.minimum(*(critic(inputs).squeeze(1) for critic in self._critics))
        policy.zero_grad()
        (scale * log_probability - least).mean().backward()  # type: ignore[no-untyped-call]
        policy.step()
        self._critics.train().requires_grad_(True)

        entropy_gap = (log_probability.detach() + settings.target_entropy * self._action_size).mean()
        temperature.zero_grad()
        (-self._log_temperature * entropy_gap).backward()  # type: ignore[no-untyped-call]
        temperature.step()
        with torch.no_grad():
            for old, new in zip(self._averaged_tensors(self.averaged), self._averaged_tensors(self.actor), strict=True):
                old.lerp_(new, 1 - settings.averaging)

    @staticmethod
    def _averaged_tensors(network: nn.Module) -> list[Tensor]:
        return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]

    def layers(self) -> dict[str, NDArray[np.float32]]:
        """Return the averaged policy's mean as plain layers for `Expert`, with the normalisation folded in."""
        tensors: dict[str, NDArray[np.float32]] = {}
        modules: list[Any] = list(copy.deepcopy(self.averaged).double())
        for number, (norm, linear) in enumerate(zip(modules[0::3], modules[1::3], strict=True)):
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            shift = norm.bias - scale * norm.running_mean
            weight, bias = linear.weight * scale, linear.bias + linear.weight @ shift
            if number == 2:  # the mean, without the standard deviation
                weight, bias = weight[: self._action_size], bias[: self._action_size]
            tensors[f"weight.{number}"] = weight.float().numpy().copy()
            tensors[f"bias.{number}"] = bias.float().numpy().copy()
        return tensors | {"action_scale": self.environment.action_scale}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name, without the environments, which are reset."""
        tensors = {"log_temperature": self._log_temperature.data}
        for name, module in (("actor", self.actor), ("averaged", self.averaged), ("critics", self._critics)):
            tensors |= add_prefix(name, module.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= add_prefix(f"optimizer.{number}", moments(optimizer))
        filled = min(self._transitions, self.settings.buffer)
        tensors |= add_prefix("memory", {name: values[:filled] for name, values in self._memory.items()})
        counts = {"steps": self.steps, "updates": self.updates, "written": self._transitions}
        return tensors | {name: torch.tensor(count) for name, count in counts.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`; later random numbers depend on the update.

        A checkpoint may lack its memory, which is most of its size: the policy then collects `random_steps` again.
        """
        for name, module in (("actor", self.actor), ("averaged", self.averaged), ("critics", self._critics)):
            module.load_state_dict(take_prefix(name, tensors))
        self._log_temperature.data.copy_(tensors["log_temperature"])
        for number, optimizer in enumerate(self._optimizers):
            load_moments(optimizer, take_prefix(f"optimizer.{number}", tensors))
        self.steps, self.updates, self._transitions = (int(tensors[name]) for name in ("steps", "updates", "written"))
        memory = take_prefix("memory", tensors)
        for name, values in memory.items():
            self._memory[name][: len(values)] = values[: self.settings.buffer]
        if not memory:
            self._transitions = 0
        self._rng = np.random.default_rng((self.settings.seed, self.updates))
        torch.manual_seed(int(self._rng.integers(2**31)))
        self._observation = None
