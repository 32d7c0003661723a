"""Owns PPO (Schulman et al. 2017; Appendix A): the policy gradient under every algorithm here that needs a simulator.

    repeat: run the environments for some steps under the policy, each episode with a code of its own
            give every step an advantage (generalised advantage estimation)
            several passes over the steps in minibatches: clipped policy loss + value loss (+ a loss of the caller's)

What is rewarded is the environment's own reward, or whatever the caller puts into a rollout before it is learned from.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.errors import InputError
from manyways.networks import PolicyNetwork

Floats = NDArray[np.floating[Any]]
DrawCodes = Callable[[NDArray[np.integer[Any]], np.random.Generator], Floats]
"""From the indices of the environments where an episode starts (n,) to the codes of these episodes (n, code size)."""

_LOG_SQRT_2PI = 0.9189385332046727


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Settings of PPO.

    Args:
        total_steps: environment steps of a whole training.
        steps_per_update: steps of each environment between two updates.
        epochs: passes over an update's steps.
        minibatch: steps in a gradient step.
        learning_rate: of Adam at the start; falls to 0 linearly.
        gamma: discount.
        gae_lambda: of generalised advantage estimation.
        clip: by how much the probability ratio may leave 1; values are clipped alike.
        clip_values: whether they are.
        target_kl: passes end early when the approximate KL divergence from the old policy exceeds it; None never.
        value_weight, entropy_weight: of their losses.
        max_gradient_norm: gradients are shortened to it.
        normalize: whether observations and rewards are normalised by running moments.
        frozen_after: updates after which the moments stay as they are; None never.
        hidden: width of the networks.
        log_std: of the action noise at the start, in units of half the action range.
        updates_per_restart: environments are reset from (seed, update) this often; training restored at such an
            update goes on bit for bit.
        seed: of everything random.

    Raises:
        InputError: a setting is out of its range.
    """

    total_steps: int = 10_000_000
    steps_per_update: int = 64
    epochs: int = 10
    minibatch: int = 512
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    clip_values: bool = True
    target_kl: float | None = None
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    max_gradient_norm: float = 0.5
    normalize: bool = True
    frozen_after: int | None = None
    hidden: int = 128
    log_std: float = 0.0
    updates_per_restart: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in ("total_steps", "steps_per_update", "epochs", "minibatch", "hidden", "updates_per_restart"):
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")
        for setting in ("learning_rate", "clip", "max_gradient_norm"):
            if not getattr(self, setting) > 0:
                raise InputError(f"{setting} is {getattr(self, setting)}; give more than 0")
        for setting in ("gamma", "gae_lambda"):
            if not 0 <= getattr(self, setting) <= 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)


class ActorCritic(nn.Module):
    """Figure 8's policy with free standard deviations, and a value network that sees the code too.

    Inside, actions are in units of half the action range around its centre.

    Args:
        observation_size, action_size, code_size: numbers in each.
        hidden: width of the layers.
        log_std: of the action noise at the start.
    """

    def __init__(
        self, observation_size: int, action_size: int, code_size: int, hidden: int = 128, log_std: float = 0.0
    ) -> None:
        super().__init__()
        self.actor = PolicyNetwork(observation_size, action_size, code_size, hidden)
        self.log_std = nn.Parameter(torch.full((action_size,), log_std))
        self.critic = nn.Sequential(
            nn.Linear(observation_size + code_size, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, 1),
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights, small ones for the last layer of the policy, so that first actions are noise."""
        self.actor.initialize(generator)
        for layer in self.critic:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, np.sqrt(2), generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.actor.output.weight, 0.01, generator=generator)
        nn.init.orthogonal_(self.critic[-1].weight, 1.0, generator=generator)

    def normalized(self, observations: Tensor) -> Tensor:
        """Return the observations in units of the running moments, cut at 10 of them."""
        return self.actor.observations.normalize(observations).clamp(-10, 10)

    def means(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return mean actions in inner units from normalised observations."""
        return self.actor.decode(self.actor.state(inputs) + self.actor.code(codes))

    def values(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return the value of each normalised observation, in units of the rewards' running scale."""
        value: Tensor = self.critic(torch.cat([inputs, codes], dim=-1)).squeeze(-1)
        return value

    def log_probabilities(self, means: Tensor, actions: Tensor) -> Tensor:
        """Return the log-density of `actions` (inner units)."""
        scaled = (actions - means) * torch.exp(-self.log_std)
        return -0.5 * scaled.square().sum(dim=-1) - self.log_std.sum() - _LOG_SQRT_2PI * means.shape[-1]


@dataclass(eq=False)
class Rollout:
    """Some steps of every environment; arrays are (steps, environments, ...).

    Attributes:
        observations: (steps + 1, environments, observation size); the entry after an episode's last action is what
            that action led to.
        codes: (steps + 1, environments, code size).
        actions: in inner units.
        log_probabilities: of the actions when they were drawn.
        rewards: the environment's; replace them to learn from others.
        terminated: whether the episode ended by itself at this step.
        truncated: whether the time limit ended it.
        valid: False where the environment was reset instead of stepped.
    """

    observations: Tensor
    codes: Tensor
    actions: Tensor
    log_probabilities: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    finished: list[tuple[int, float, int]] = field(default_factory=list)
    """(environment, return, length) of the episodes that ended."""


def generalized_advantages(
    rewards: Tensor, values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return the advantage of every step (Schulman et al. 2016, Equation 16), (steps, environments).

    Args:
        rewards, terminated, truncated: (steps, environments).
        values: (steps + 1, environments); the entry after an episode's last step is that of the observation it ended
            with. An episode that terminated is worth nothing from there on; one that was truncated is worth that value.
        gamma: discount.
        gae_lambda: 0 trusts the values, 1 the rewards.
    """
    deltas = rewards + gamma * values[1:] * ~terminated - values[:-1]
    carried = gamma * gae_lambda * ~(terminated | truncated)
    advantages = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[0])
    for step in range(len(rewards) - 1, -1, -1):
        following = deltas[step] + carried[step] * following
        advantages[step] = following
    return advantages


class RunningMoments:
    """Mean and variance of all rows seen so far, (size,)."""

    def __init__(self, size: int) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.square = torch.zeros(size, dtype=torch.float64)

    def update(self, rows: Tensor) -> None:
        """Add rows (n, size)."""
        rows = rows.double()
        count = self.count + len(rows)
        delta = rows.mean(dim=0) - self.mean
        self.square = (
            self.square + rows.var(dim=0, correction=0) * len(rows) + delta**2 * self.count * len(rows) / count
        )
        self.mean = self.mean + delta * len(rows) / count
        self.count = count

    @property
    def std(self) -> Tensor:
        """Standard deviation, (size,); 1 before anything was seen."""
        return (self.square / self.count).sqrt() if self.count > 0 else torch.ones_like(self.mean)


class PPOTraining:
    """PPO between its first and its last update.

    Args:
        settings: of PPO.
        environment: a vector environment that starts ended episodes at the next step.
        draw_codes: the codes of starting episodes; None where the policy has none.
        code_size: numbers in a code.

    Attributes:
        update: how many updates were done.
        steps: how many environment steps were taken.
        network: actor and critic.

    Raises:
        InputError: the environment restarts ended episodes within the step that ended them.
    """

    def __init__(
        self,
        settings: PPO,
        environment: VectorEnv[Any, Any, Any],
        draw_codes: DrawCodes | None = None,
        code_size: int = 0,
    ) -> None:
        if environment.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
            raise InputError("PPO needs a vector environment whose autoreset_mode is NEXT_STEP; make it with that")
        self.settings = settings
        self.environment = environment
        self.update = 0
        self.steps = 0
        space: Any = environment.single_action_space
        self._low, self._high = np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
        observation_size = environment.single_observation_space.shape[0]  # type: ignore[index]
        self.network = ActorCritic(observation_size, len(self._low), code_size, settings.hidden, settings.log_std)
        self.network.initialize(torch.Generator().manual_seed(settings.seed))
        if np.isfinite(self._low).all() and np.isfinite(self._high).all():
            self.network.actor.actions.mean.copy_(torch.from_numpy((self._high + self._low) / 2))
            self.network.actor.actions.std.copy_(torch.from_numpy((self._high - self._low) / 2))
        self.network.actor.action_low.copy_(torch.from_numpy(self._low))
        self.network.actor.action_high.copy_(torch.from_numpy(self._high))
        self._optimizer = torch.optim.Adam(self.network.parameters(), settings.learning_rate, eps=1e-5, fused=True)
        self._draw_codes = draw_codes or (lambda starting, rng: np.zeros((len(starting), 0), np.float32))
        self._observation_moments = RunningMoments(observation_size)
        self._return_moments = RunningMoments(1)

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.steps >= self.settings.total_steps

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.settings.learning_rate * max(0.0, 1 - self.steps / self.settings.total_steps)

    @property
    def at_restart(self) -> bool:
        """Whether the environments start anew at the next update: where a checkpoint holds everything."""
        return self.update % self.settings.updates_per_restart == 0

    def step(self) -> dict[str, float]:
        """Run the environments and learn from what happened, by their own reward."""
        return self.learn(self.collect())

    def _restart(self) -> None:
        seed = np.random.SeedSequence((self.settings.seed, self.update))
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
        self._observation, _ = self.environment.reset(seed=int(self._rng.integers(2**31)))
        count = self.environment.num_envs
        self._codes = np.array(self._draw_codes(np.arange(count), self._rng), dtype=np.float32)
        self._ended = np.zeros(count, dtype=bool)
        self._discounted = torch.zeros(count)
        self._returns, self._lengths = np.zeros(count), np.zeros(count, dtype=np.int64)

    @torch.no_grad()
    def collect(self) -> Rollout:
        """Run every environment for `steps_per_update` steps."""
        if self.at_restart:
            self._restart()
        settings, network, count = self.settings, self.network, self.environment.num_envs
        shape = (settings.steps_per_update, count)
        observations = np.empty((shape[0] + 1, count, network.actor.observations.mean.shape[0]), np.float32)
        codes = np.empty((shape[0] + 1, *self._codes.shape), np.float32)
        actions = torch.empty(*shape, len(self._low))
        rewards = np.empty(shape, np.float32)
        terminated, truncated, valid = (np.empty(shape, dtype=bool) for _ in range(3))
        noise = torch.randn(actions.shape, generator=self._generator)
        std = network.log_std.exp()
        actions_scale = network.actor.actions
        finished: list[tuple[int, float, int]] = []
        for step in range(shape[0]):
            observations[step], codes[step] = self._observation, self._codes
            inputs = network.normalized(torch.from_numpy(observations[step]))
            actions[step] = network.means(inputs, torch.from_numpy(codes[step])) + std * noise[step]
            given = np.clip(actions_scale.restore(actions[step]).numpy(), self._low, self._high)
            self._observation, rewards[step], terminated[step], truncated[step], _ = self.environment.step(given)
            valid[step] = ~self._ended
            if self._ended.any():
                starting = np.flatnonzero(self._ended)
                self._codes[starting] = self._draw_codes(starting, self._rng)
            self._returns += rewards[step] * valid[step]
            self._lengths += valid[step]
            self._ended = terminated[step] | truncated[step]
            for i in np.flatnonzero(self._ended):
                finished.append((int(i), float(self._returns[i]), int(self._lengths[i])))
                self._returns[i], self._lengths[i] = 0.0, 0
        observations[-1], codes[-1] = self._observation, self._codes
        self.steps += int(valid.sum())
        inputs, all_codes = network.normalized(torch.from_numpy(observations[:-1])), torch.from_numpy(codes)
        return Rollout(
            observations=torch.from_numpy(observations),
            codes=all_codes,
            actions=actions,
            log_probabilities=network.log_probabilities(network.means(inputs, all_codes[:-1]), actions),
            rewards=torch.from_numpy(rewards),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            valid=torch.from_numpy(valid),
            finished=finished,
        )

    def learn(self, rollout: Rollout, added_loss: Callable[[], Tensor] | None = None) -> dict[str, float]:
        """Take the passes over a rollout; the moments are updated afterwards, so that one update sees one scale.

        Args:
            rollout: from `collect`.
            added_loss: evaluated for each minibatch and added to PPO's, such as λ·L_SOG of Algorithm 3.

        Returns:
            Means over the minibatches: policy_loss, value_loss, entropy, kl, clip_fraction; and how many passes began.
        """
        settings, network = self.settings, self.network
        scale = 1.0
        if settings.normalize:
            scale = self._scale_of_rewards(rollout)
        with torch.no_grad():
            inputs = network.normalized(rollout.observations)
            values = network.values(inputs, rollout.codes)
            advantages = generalized_advantages(
                rollout.rewards / scale,
                values,
                rollout.terminated,
                rollout.truncated,
                settings.gamma,
                settings.gae_lambda,
            )
        rows = rollout.valid.flatten().nonzero().squeeze(1)
        batch = [
            tensor.flatten(0, 1)[rows]
            for tensor in (inputs[:-1], rollout.codes[:-1], rollout.actions, rollout.log_probabilities)
        ]
        old_values, advantage = values[:-1].flatten()[rows], advantages.flatten()[rows]
        batch += [old_values, advantage, old_values + advantage]

        totals: dict[str, float] = {}
        minibatches = passes = 0
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        for _ in range(settings.epochs):
            passes += 1
            for part in self._minibatches(batch):
                loss, told = self._loss(*part)
                if added_loss is not None:
                    loss = loss + added_loss()
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm, foreach=True)
                self._optimizer.step()
                minibatches += 1
                for name, value in told.items():
                    totals[name] = totals.get(name, 0.0) + value
            if settings.target_kl is not None and told["kl"] > 1.5 * settings.target_kl:
                break
        if settings.normalize and (settings.frozen_after is None or self.update < settings.frozen_after):
            self._observation_moments.update(rollout.observations[:-1].flatten(0, 1)[rows])
            network.actor.observations.mean.copy_(self._observation_moments.mean)
            network.actor.observations.std.copy_(self._observation_moments.std.clamp_min(1e-4))
        self.update += 1
        return {name: value / minibatches for name, value in totals.items()} | {"passes": float(passes)}

    def _minibatches(self, batch: list[Tensor]) -> Iterator[list[Tensor]]:
        """Yield shuffled parts of the batch, all of the same size but for what is left over."""
        order = torch.randperm(len(batch[0]), generator=self._generator)
        shuffled = [tensor[order] for tensor in batch]
        for start in range(0, len(order), self.settings.minibatch):
            yield [tensor[start : start + self.settings.minibatch] for tensor in shuffled]

    def _loss(
        self,
        inputs: Tensor,
        codes: Tensor,
        actions: Tensor,
        old_log_probabilities: Tensor,
        old_values: Tensor,
        advantages: Tensor,
        returns: Tensor,
    ) -> tuple[Tensor, dict[str, float]]:
        settings, network = self.settings, self.network
        log_ratio = network.log_probabilities(network.means(inputs, codes), actions) - old_log_probabilities
        ratio = log_ratio.exp()
        if len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        policy_loss = -torch.minimum(advantages * ratio, advantages * clipped).mean()
        values = network.values(inputs, codes)
        errors = (values - returns).square()
        if settings.clip_values:
            near = old_values + (values - old_values).clamp(-settings.clip, settings.clip)
            errors = torch.maximum(errors, (near - returns).square())
        value_loss = errors.mean()
        entropy = network.log_std.sum() + (0.5 + _LOG_SQRT_2PI) * actions.shape[-1]
        loss = policy_loss + settings.value_weight * value_loss - settings.entropy_weight * entropy
        with torch.no_grad():
            told = {
                "policy_loss": policy_loss.item(),
                "value_loss": value_loss.item(),
                "entropy": entropy.item(),
                "kl": (ratio - 1 - log_ratio).mean().item(),
                "clip_fraction": ((ratio - 1).abs() > settings.clip).float().mean().item(),
            }
        return loss, told

    def _scale_of_rewards(self, rollout: Rollout) -> float:
        """Return the running standard deviation of the discounted return, by which rewards are divided."""
        seen = []
        for rewards, ended, valid in zip(
            rollout.rewards, rollout.terminated | rollout.truncated, rollout.valid, strict=True
        ):
            self._discounted = torch.where(valid, self._discounted * self.settings.gamma + rewards, 0.0)
            seen.append(self._discounted[valid])
            self._discounted = self._discounted * ~ended
        if self.settings.frozen_after is None or self.update < self.settings.frozen_after:
            self._return_moments.update(torch.cat(seen)[:, None])
        return float(self._return_moments.std.clamp_min(1e-4))

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs, as named tensors; take it where `at_restart` holds."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for parameter, values in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{parameter}.{name}": value for name, value in values.items()}
        for kind, moments in (("observations", self._observation_moments), ("returns", self._return_moments)):
            tensors |= {f"moments.{kind}.{name}": getattr(moments, name) for name in ("count", "mean", "square")}
        return tensors | {"update": torch.tensor(self.update), "steps": torch.tensor(self.steps)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken.

        Raises:
            InputError: the tensors are of other settings or another environment.
        """
        network = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
        state: dict[int, dict[str, Tensor]] = {}
        try:
            self.network.load_state_dict(network)
            for name, tensor in tensors.items():
                if name.startswith("optimizer."):
                    _, parameter, key = name.split(".")
                    state.setdefault(int(parameter), {})[key] = tensor
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": state, "param_groups": groups})
            for kind, moments in (("observations", self._observation_moments), ("returns", self._return_moments)):
                for name in ("count", "mean", "square"):
                    setattr(moments, name, tensors[f"moments.{kind}.{name}"])
            self.update, self.steps = int(tensors["update"]), int(tensors["steps"])
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error
