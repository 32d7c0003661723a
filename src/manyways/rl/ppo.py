"""Owns PPO (Schulman et al. 2017; Appendix A): the policy gradient under every algorithm here that needs a simulator.

    repeat: run the environments for some steps under the policy, each episode with a code of its own
            give every step an advantage (generalised advantage estimation)
            several passes over the steps in minibatches: clipped policy loss + value loss (+ a loss of the caller's)

What is rewarded is the environment's own reward, or whatever the caller puts into a rollout before it is learned from.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.adam import adam

from manyways.errors import InputError
from manyways.networks.policy_network import FARTHEST, PolicyNetwork

Floats = NDArray[np.floating[Any]]
DrawCodes = Callable[[NDArray[np.integer[Any]], np.random.Generator], Floats]
"""From the indices of the environments where an episode starts (n,) to the codes of these episodes (n, code size)."""
Rows = TypeVar("Rows", Tensor, Floats)

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_ADVANTAGES = 5  # their place in a batch
_LEAST_STD = 1e-4  # by which anything is divided, so that what hardly varies is not blown up


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Settings of PPO.

    Args:
        total_steps: environment steps of a whole training.
        steps_per_update: steps of each environment between two updates.
        epochs: passes over an update's steps.
        minibatch: most steps in a gradient step; an update's steps are split evenly.
        learning_rate: of Adam at the start; falls to 0 linearly.
        gamma: discount.
        gae_lambda: of generalised advantage estimation.
        clip: by how much the probability ratio may leave 1.
        clip_values: whether values may leave the old ones by no more either, as in OpenAI's code.
        target_kl: no further pass after one in which the policy was farther than this from the one that acted, by the
            mean approximate KL divergence; None for all passes.
        value_weight, entropy_weight: of their losses.
        max_gradient_norm: gradients are shortened to it.
        normalize: whether observations and rewards are normalised by running moments.
        normalize_observations: False leaves the observations' moments as the network has them, such as those of
            demonstrations; rewards are still normalised.
        frozen_after: updates after which the moments stay as they are; None never.
        hidden: width of the networks.
        log_std: of the action noise at the start, in units of half the action range.
        switch_codes: the probability that a step begins with a code drawn anew, inside an episode too.
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
    normalize_observations: bool = True
    frozen_after: int | None = None
    hidden: int = 128
    log_std: float = 0.0
    switch_codes: float = 0.0
    updates_per_restart: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        # One step of an environment may be its reset, and one row has no advantage over others.
        for setting in ("steps_per_update", "minibatch"):
            if getattr(self, setting) < 2:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 2 or more")
        for setting in ("total_steps", "epochs", "hidden", "updates_per_restart"):
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")
        for setting in ("learning_rate", "clip", "max_gradient_norm", "target_kl"):
            if getattr(self, setting) is not None and not getattr(self, setting) > 0:
                raise InputError(f"{setting} is {getattr(self, setting)}; give more than 0")
        for setting in ("value_weight", "entropy_weight", "frozen_after", "seed"):
            if getattr(self, setting) is not None and not getattr(self, setting) >= 0:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 0 or more")
        for setting in ("gamma", "gae_lambda", "switch_codes"):
            if not 0 <= getattr(self, setting) <= 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 0 to 1")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)


class ActorCritic(nn.Module):
    """Figure 8's policy with free standard deviations, and a value network that sees the code too.

    Inside, actions are in units of half the action range around its centre.

    Args:
        observation_size, action_size, code_size: numbers in each; there may be no code.
        hidden: width of the layers.
        log_std: of the action noise at the start.
    """

    def __init__(
        self, observation_size: int, action_size: int, code_size: int, hidden: int = 128, log_std: float = 0.0
    ) -> None:
        super().__init__()
        with warnings.catch_warnings():  # where there is no code its layer is but a bias, of which PyTorch warns
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
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
                gain = 1.0 if layer is self.critic[-1] else math.sqrt(2)
                nn.init.orthogonal_(layer.weight, gain, generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.actor.output.weight, 0.01, generator=generator)

    @property
    def actor_layers(self) -> tuple[Any, ...]:
        """The policy's linear layers but for the code's, which is added before the second tanh."""
        return (self.actor.state[0], self.actor.state[2], self.actor.output)

    @property
    def critic_layers(self) -> tuple[Any, ...]:
        """The value network's linear layers."""
        return (self.critic[0], self.critic[2], self.critic[4])

    def normalized(self, observations: Tensor) -> Tensor:
        """Return the observations in units of the running moments, cut at 10 of them."""
        return self.actor.normalized(observations)

    def means(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return mean actions in inner units from normalised observations."""
        return self.actor.decode(self.actor.state(inputs) + self.actor.code(codes))

    def means_in_numpy(self) -> Callable[[Floats, Floats], Floats]:
        """Return what gives `means` of observations (n, observation size) and codes (n, code size), in NumPy.

        For the few rows of a step, a call of NumPy costs a fifth of one of PyTorch.
        """
        moments, layers = self.actor.observations, (*self.actor_layers, self.actor.code)
        (w1, b1), (w2, b2), (w3, b3), (w_code, b_code) = (
            (layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers
        )
        mean, scale = moments.mean.numpy(), torch.where(moments.std > 0, 1 / moments.std, 0.0).numpy()

        def means(observations: Floats, codes: Floats) -> Floats:
            inputs = ((observations - mean) * scale).clip(-FARTHEST, FARTHEST)
            features = np.tanh(inputs @ w1 + b1) @ w2 + codes @ w_code + (b2 + b_code)
            actions: Floats = np.tanh(features) @ w3 + b3
            return actions

        return means

    def values(self, inputs: Tensor, codes: Tensor) -> Tensor:
        """Return the value of each normalised observation, in units of the rewards' running scale."""
        value: Tensor = self.critic(torch.cat([inputs, codes], dim=-1)).squeeze(-1)
        return value

    def log_probabilities(self, deviations: Rows) -> Rows:
        """Return the log-density of actions that deviate by so many standard deviations from their means.

        It has no gradient along `log_std`.
        """
        return _log_probabilities(deviations, self.log_std.sum().item())

    def entropy(self) -> Tensor:
        """Return the entropy of the action noise, in nats and inner units."""
        return self.log_std.sum() + (0.5 + _LOG_SQRT_2PI) * len(self.log_std)


def _log_probabilities(deviations: Rows, log_volume: float) -> Rows:
    return -0.5 * (deviations**2).sum(-1) - (log_volume + _LOG_SQRT_2PI * deviations.shape[-1])


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
        valid: False where the environment was reset instead of stepped; nothing is learned from there.
        finished: (environment, return, length) of the episodes that ended.
        seconds: spent in the environments, and with all the rest of collecting.
    """

    observations: Tensor
    codes: Tensor
    actions: Tensor
    log_probabilities: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    finished: list[tuple[int, float, int]]
    seconds: tuple[float, float]


def generalized_advantages(
    rewards: Tensor, values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return the advantage of every step (Schulman et al. 2016, Equation 16), (steps, environments).

    What stands between an episode's last step and the next one's first, even what is no number, reaches neither.

    Args:
        rewards: (steps, environments).
        values: (steps + 1, environments); the entry after an episode's last step is that of the observation it ended
            with. An episode that terminated is worth nothing from there on; one that was truncated is worth that value.
        terminated: (steps, environments).
        truncated: (steps, environments).
        gamma: discount.
        gae_lambda: 0 trusts the values, 1 the rewards.
    """
    deltas = rewards + gamma * values[1:].where(~terminated, 0.0) - values[:-1]
    goes_on = ~(terminated | truncated)
    advantages = torch.empty_like(deltas)
    following = torch.zeros_like(deltas[0])
    for step in range(len(rewards) - 1, -1, -1):
        following = deltas[step] + gamma * gae_lambda * following.where(goes_on[step], 0.0)
        advantages[step] = following
    return advantages


class _Linear:
    """A linear layer whose parameters and gradients are at hand: a call of the module costs as much as the arithmetic.

    Args:
        layer: must keep its parameters where they are.
        gradients: of its parameters, to be written.
    """

    def __init__(self, layer: nn.Linear, gradients: Mapping[Tensor, Tensor]) -> None:
        self.weight, self._bias = layer.weight.detach(), layer.bias.detach()
        self._transposed = self.weight.T
        self._of_weight, self._of_bias = gradients[layer.weight], gradients[layer.bias]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return (n, outputs) for inputs (n, inputs); (outputs,), the same for every row, where there are no inputs."""
        return self._bias if inputs.shape[1] == 0 else torch.addmm(self._bias, inputs, self._transposed)

    def write_gradients(self, inputs: Tensor, slopes: Tensor) -> None:
        """Write them, from the loss's slopes along the outputs, (n, outputs)."""
        if inputs.shape[1]:
            torch.mm(slopes.T, inputs, out=self._of_weight)
        torch.sum(slopes, dim=0, out=self._of_bias)


class _Layers:
    """Linear, tanh, linear (+ a part of the caller's), tanh, linear: the form of both networks, differentiated by hand.

    In networks this small automatic differentiation takes longer than the arithmetic (benchmarks/ppo.py).

    Args:
        layers: the three linear ones.
        gradients: of every parameter, to be written.
    """

    def __init__(self, layers: Sequence[nn.Linear], gradients: Mapping[Tensor, Tensor]) -> None:
        self._first, self._second, self._last = (_Linear(layer, gradients) for layer in layers)

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """Return what comes out, (n, outputs), for inputs (n, inputs) and what is added before the second tanh."""
        self._inputs = inputs
        self._hidden1 = self._first(inputs).tanh_()
        sums = self._second(self._hidden1)
        self._hidden2 = (sums if added is None else sums.add_(added)).tanh_()
        return self._last(self._hidden2)

    def backward(self, slopes: Tensor) -> Tensor:
        """Write the gradients from the loss's slopes along the last outputs, (n, outputs).

        Returns:
            The slopes along what was added before the second tanh, (n, hidden).
        """
        self._last.write_gradients(self._hidden2, slopes)
        slopes2: Tensor = torch.ops.aten.tanh_backward(slopes @ self._last.weight, self._hidden2)
        self._second.write_gradients(self._hidden1, slopes2)
        slopes1 = torch.ops.aten.tanh_backward(slopes2 @ self._second.weight, self._hidden1)
        self._first.write_gradients(self._inputs, slopes1)
        return slopes2


class RunningMoments:
    """Mean and variance of all rows seen so far, (size,), in double precision."""

    def __init__(self, size: int) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.square = torch.zeros(size, dtype=torch.float64)  # the sum of squared deviations

    def update(self, rows: Tensor) -> None:
        """Add rows (n, size)."""
        rows = rows.double()
        count = self.count + len(rows)
        delta = rows.mean(dim=0) - self.mean
        within = rows.var(dim=0, correction=0) * len(rows)
        self.square = self.square + within + delta**2 * self.count * len(rows) / count
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
        steps: how many environment steps were learned from.
        network: actor and critic.
        policy_weight: of the policy's loss; 0 while only the values should learn.
        lowest_action, highest_action: the ends of the environment's actions, (action size,).

    Raises:
        InputError: the environment restarts ended episodes within the step that ended them, or its observations or
            actions are not rows of numbers.
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
        seen, done = environment.single_observation_space, environment.single_action_space
        for space in (seen, done):
            if not isinstance(space, Box) or len(space.shape) != 1:
                raise InputError(f"PPO needs observations and actions that are rows of numbers, not {space}; wrap it")
        assert isinstance(seen, Box)
        assert isinstance(done, Box)
        self.settings = settings
        self.environment = environment
        self.update = 0
        self.steps = 0
        self.policy_weight = 1.0
        observation_size, action_size = seen.shape[0], done.shape[0]
        self.network = ActorCritic(observation_size, action_size, code_size, settings.hidden, settings.log_std)
        self.network.initialize(torch.Generator().manual_seed(settings.seed))
        self.lowest_action, self.highest_action = done.low.astype(np.float32), done.high.astype(np.float32)
        if done.is_bounded():
            self.network.actor.actions.mean.copy_(torch.from_numpy((self.highest_action + self.lowest_action) / 2))
            self.network.actor.actions.std.copy_(torch.from_numpy((self.highest_action - self.lowest_action) / 2))
        self.network.actor.action_low.copy_(torch.from_numpy(self.lowest_action))
        self.network.actor.action_high.copy_(torch.from_numpy(self.highest_action))
        # Parameters become views of one vector and their gradients of another: clipping and Adam are then a few calls.
        self._parameters = list(self.network.parameters())
        self._vector = vector = parameters_to_vector(self._parameters).detach()
        vector_to_parameters(vector, self._parameters)
        self._gradient = torch.zeros_like(vector)
        parts = torch.split(self._gradient, [parameter.numel() for parameter in self._parameters])
        self._gradients: dict[Tensor, Tensor] = {
            parameter: part.view_as(parameter) for parameter, part in zip(self._parameters, parts, strict=True)
        }
        self._layers = (
            _Layers(self.network.actor_layers, self._gradients),
            _Layers(self.network.critic_layers, self._gradients),
            _Linear(self.network.actor.code, self._gradients),
        )
        self._log_std = self.network.log_std.detach()
        self._gradient_of_log_std = self._gradients[self.network.log_std]
        self._moments = {
            "step": torch.zeros(()),
            "exp_avg": torch.zeros_like(vector),
            "exp_avg_sq": torch.zeros_like(vector),
        }
        self._draw_codes = draw_codes or (lambda starting, rng: np.zeros((len(starting), 0), np.float32))
        self._observation_moments = RunningMoments(observation_size)
        self._return_moments = RunningMoments(1)
        self._observation: Floats | None = None  # before the environments were started

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
        began, simulated = time.perf_counter(), 0.0
        if self.at_restart or self._observation is None:
            self._restart()
        network, shape = self.network, (self.settings.steps_per_update, self.environment.num_envs)
        observations = np.empty((shape[0] + 1, shape[1], len(network.actor.observations.mean)), np.float32)
        codes = np.empty((shape[0] + 1, *self._codes.shape), np.float32)
        actions = np.empty((*shape, len(self.lowest_action)), np.float32)
        rewards = np.empty(shape, np.float32)
        terminated, truncated, valid = (np.empty(shape, dtype=bool) for _ in range(3))
        finished: list[tuple[int, float, int]] = []
        means = network.means_in_numpy()
        deviations = torch.randn(actions.shape, generator=self._generator)
        noise = (deviations * network.log_std.exp()).numpy()
        centre, half_range = network.actor.actions.mean.numpy(), network.actor.actions.std.numpy()
        for step in range(shape[0]):
            observations[step], codes[step] = self._observation, self._codes
            actions[step] = means(observations[step], codes[step]) + noise[step]
            given = (actions[step] * half_range + centre).clip(self.lowest_action, self.highest_action)
            asked = time.perf_counter()
            self._observation, rewards[step], terminated[step], truncated[step], _ = self.environment.step(given)
            simulated += time.perf_counter() - asked
            valid[step] = ~self._ended
            changing = self._ended
            if self.settings.switch_codes:
                changing = changing | (self._rng.random(shape[1]) < self.settings.switch_codes)
            if changing.any():
                starting = np.flatnonzero(changing)
                self._codes[starting] = self._draw_codes(starting, self._rng)
            self._returns += np.where(valid[step], rewards[step], 0.0)
            self._lengths += valid[step]
            self._ended = terminated[step] | truncated[step]
            for i in np.flatnonzero(self._ended):
                finished.append((int(i), float(self._returns[i]), int(self._lengths[i])))
                self._returns[i], self._lengths[i] = 0.0, 0
        observations[-1], codes[-1] = self._observation, self._codes
        return Rollout(
            observations=torch.from_numpy(observations),
            codes=torch.from_numpy(codes),
            actions=torch.from_numpy(actions),
            log_probabilities=network.log_probabilities(deviations),
            rewards=torch.from_numpy(rewards),
            terminated=torch.from_numpy(terminated),
            truncated=torch.from_numpy(truncated),
            valid=torch.from_numpy(valid),
            finished=finished,
            seconds=(simulated, time.perf_counter() - began - simulated),
        )

    def learn(self, rollout: Rollout, added_loss: Callable[[], Tensor] | None = None) -> dict[str, float]:
        """Take the passes over a rollout.

        The observations' moments are updated afterwards: the policy is compared with the one that acted, on one scale.

        Args:
            rollout: from the last `collect`.
            added_loss: evaluated for each minibatch and added to PPO's, such as λ·L_SOG of Algorithm 3.

        Returns:
            Means over the last pass: policy_loss, value_loss, kl (approximate, from the policy that acted),
            clip_fraction; the entropy after it; and how many passes there were.
        """
        settings, network = self.settings, self.network
        batch = self._batch(rollout)
        passes = 0
        for _ in range(settings.epochs):
            passes += 1
            told = []
            for minibatch in self._minibatches(batch):
                told.append(self._differentiate(*minibatch))
                if added_loss is not None:
                    self._add_gradient(added_loss())
                self._descend()
            log_ratio, gain, squared_error = (np.concatenate(rows) for rows in zip(*told, strict=True))
            ratio = np.exp(log_ratio)
            kl = (ratio - 1 - log_ratio).mean().item()  # Schulman's estimator, http://joschu.net/blog/kl-approx.html
            if settings.target_kl is not None and kl > settings.target_kl:
                break
        if settings.normalize and settings.normalize_observations and not self._frozen:
            self._observation_moments.update(rollout.observations[:-1][rollout.valid])
            network.actor.observations.mean.copy_(self._observation_moments.mean)
            network.actor.observations.std.copy_(self._observation_moments.std.clamp_min(_LEAST_STD))
        self.steps += int(rollout.valid.sum())
        self.update += 1
        return {
            "policy_loss": -gain.mean().item(),
            "value_loss": squared_error.mean().item(),
            "kl": kl,
            "clip_fraction": (np.abs(ratio - 1) > settings.clip).mean().item(),
            "entropy": network.entropy().item(),
            "passes": float(passes),
        }

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> list[Tensor]:
        """Return what `_differentiate` takes, a row for each valid step."""
        settings, network = self.settings, self.network
        rewards = rollout.rewards.where(rollout.valid, 0.0)
        if settings.normalize:
            rewards = rewards / self._scale_of_rewards(rewards, rollout)
        inputs = network.normalized(rollout.observations)
        values = network.values(inputs, rollout.codes)
        advantages = generalized_advantages(
            rewards, values, rollout.terminated, rollout.truncated, settings.gamma, settings.gae_lambda
        )
        steps = (
            inputs[:-1],
            rollout.codes[:-1],
            rollout.actions,
            rollout.log_probabilities,
            values[:-1],
            advantages,
            values[:-1] + advantages,
        )
        return [tensor[rollout.valid] for tensor in steps]

    def _minibatches(self, batch: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batch in shuffled parts whose sizes differ by one at most, advantages normalised within each."""
        order = torch.randperm(len(batch[0]), generator=self._generator)
        parts = math.ceil(len(order) / self.settings.minibatch)
        shuffled = [tensor[order] for tensor in batch]
        sizes = np.array([len(part) for part in order.tensor_split(parts)])
        begins = np.cumsum(sizes) - sizes
        advantages = shuffled[_ADVANTAGES].numpy()
        advantages -= np.repeat(np.add.reduceat(advantages, begins) / sizes, sizes)
        advantages /= np.repeat(np.sqrt(np.add.reduceat(advantages**2, begins) / sizes) + 1e-8, sizes)
        return zip(*(tensor.tensor_split(parts) for tensor in shuffled), strict=True)

    @torch.no_grad()
    def _differentiate(
        self,
        inputs: Tensor,
        codes: Tensor,
        actions: Tensor,
        old_log_probabilities: Tensor,
        old_values: Tensor,
        advantages: Tensor,
        returns: Tensor,
    ) -> tuple[Floats, Floats, Floats]:
        """Write the gradient of a minibatch's loss (Schulman et al. 2017, Equation 9, and 7 for the policy).

        Returns:
            Of each step the logarithm of the probability ratio, the clipped gain and the value's squared error, whose
            means make up the loss.
        """
        settings, clip = self.settings, self.settings.clip
        log_std = self._log_std.numpy()
        inverse_std = np.exp(-log_std)
        actor, critic, code = self._layers
        # What has a number or an action a row is reckoned in NumPy, whose calls cost a third of PyTorch's.
        old_value, advantage, target = old_values.numpy(), advantages.numpy(), returns.numpy()
        deviations = (actions.numpy() - actor.forward(inputs, code(codes)).numpy()) * inverse_std
        log_ratio = _log_probabilities(deviations, float(log_std.sum())) - old_log_probabilities.numpy()
        ratio = np.exp(log_ratio)
        gain, clipped = advantage * ratio, advantage * np.minimum(np.maximum(ratio, 1 - clip), 1 + clip)
        # The loss is -min(gain, clipped), flat where the latter is less. Along the log-probability the slope of the
        # gain is the gain; that of the log-probability is deviation / std along the mean, deviation² - 1 along log std.
        slopes = np.where(gain <= clipped, gain, 0) * (-self.policy_weight / len(gain))
        through = actor.backward(torch.from_numpy(slopes[:, None] * deviations * inverse_std))
        code.write_gradients(codes, through)
        of_std = slopes @ deviations**2 - slopes.sum() - self.policy_weight * settings.entropy_weight
        self._gradient_of_log_std.numpy()[:] = of_std

        seen = torch.cat([inputs, codes], dim=1) if codes.shape[1] else inputs
        value = critic.forward(seen).numpy()[:, 0]
        errors = value - target
        squared_errors, slopes = errors**2, errors
        if settings.clip_values:
            moved = value - old_value
            near = (old_value + np.minimum(np.maximum(moved, -clip), clip) - target) ** 2
            slopes = np.where((np.abs(moved) <= clip) | (near <= squared_errors), errors, 0)
            squared_errors = np.maximum(squared_errors, near)
        critic.backward(torch.from_numpy(slopes[:, None] * (2 * settings.value_weight / len(errors))))
        return log_ratio, np.minimum(gain, clipped), squared_errors

    def _add_gradient(self, loss: Tensor) -> None:
        """Add the gradient of another loss."""
        gradients = torch.autograd.grad(loss, self._parameters, allow_unused=True, materialize_grads=True)
        self._gradient += parameters_to_vector(gradients)

    def _descend(self) -> None:
        """Take a gradient step, along a gradient shortened to its greatest norm."""
        norm = torch.linalg.vector_norm(self._gradient).item()
        if norm > self.settings.max_gradient_norm:
            self._gradient *= self.settings.max_gradient_norm / norm
        moments = self._moments
        # Without the object around it, whose checks take longer than the step.
        adam(
            [self._vector],
            [self._gradient],
            [moments["exp_avg"]],
            [moments["exp_avg_sq"]],
            [],
            [moments["step"]],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-5,
            maximize=False,
        )

    @property
    def _frozen(self) -> bool:
        return self.settings.frozen_after is not None and self.update >= self.settings.frozen_after

    def _scale_of_rewards(self, rewards: Tensor, rollout: Rollout) -> float:
        """Return the running standard deviation of the discounted return so far, by which rewards are divided."""
        seen = []
        for reward, ended in zip(rewards, rollout.terminated | rollout.truncated, strict=True):
            self._discounted = self._discounted * self.settings.gamma + reward
            seen.append(self._discounted)
            self._discounted = self._discounted.where(~ended, 0.0)
        if not self._frozen:
            self._return_moments.update(torch.stack(seen)[rollout.valid][:, None])
        return float(self._return_moments.std.clamp_min(_LEAST_STD))

    def state(self) -> dict[str, Tensor]:
        """Return a copy of everything that `restore` needs, as named tensors.

        Where `at_restart` holds, training goes on from it bit for bit; elsewhere with environments that start anew.
        """
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in self._moments.items()}
        for kind, moments in (("observations", self._observation_moments), ("returns", self._return_moments)):
            tensors |= {f"moments.{kind}.{name}": getattr(moments, name) for name in ("count", "mean", "square")}
        tensors |= {"update": torch.tensor(self.update), "steps": torch.tensor(self.steps)}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken.

        Raises:
            InputError: the tensors are of other settings or another environment.
        """

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t.clone() for name, t in tensors.items() if name.startswith(prefix)}

        try:
            self.network.load_state_dict(part("network."))
            for name, tensor in self._moments.items():
                tensor.copy_(tensors[f"optimizer.{name}"])
            for kind, running in (("observations", self._observation_moments), ("returns", self._return_moments)):
                for name in ("count", "mean", "square"):
                    setattr(running, name, tensors[f"moments.{kind}.{name}"])
            self.update, self.steps = int(tensors["update"]), int(tensors["steps"])
            self._observation = None
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error
