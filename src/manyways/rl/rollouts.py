"""Rollouts: a vector environment under a policy for some steps, each episode with its own code."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from manyways.demonstrations.observations import apply, stack
from manyways.networks.encoders import Flat
from manyways.networks.normalization import FARTHEST, to_tensors
from manyways.rl.actor_critic import ActorCritic

Floats = NDArray[np.floating[Any]]
DrawCodes = Callable[[NDArray[np.integer[Any]], np.random.Generator], Floats]
"""From the indices of the environments where an episode starts (n,) to the codes of these episodes (n, code size)."""


@dataclass(eq=False)
class Rollout:
    """Some steps of every environment; arrays are (steps, environments, ...).

    Attributes:
        observations: (steps + 1, environments, ...), or a dictionary of such tensors; the entry after an episode's last
            action is its final observation.
        codes: (steps + 1, environments, code size).
        actions: in inner units.
        log_probabilities: of the actions.
        rewards: the environment's; replace them to learn from others.
        terminated: whether the episode ended by itself at this step.
        truncated: whether the time limit ended it.
        valid: False where the environment was reset instead of stepped; such steps are not learned from.
        finished: (environment, return, length) of the episodes that ended.
        seconds: in the environments, and in the rest of `collect`.
    """

    observations: Any
    codes: Tensor
    actions: Tensor
    log_probabilities: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor
    finished: list[tuple[int, float, int]]
    seconds: tuple[float, float]


class Collector:
    """Runs environments; a rollout continues the episodes of the last one.

    Args:
        environment: resets ended episodes at the next step.
        draw_codes: the codes of starting episodes.
        switch_codes: the probability that a step begins with a new code, inside an episode too.
        lowest, highest: the bounds of the environment's actions, (action size,).
    """

    def __init__(
        self,
        environment: VectorEnv[Any, Any, Any],
        draw_codes: DrawCodes,
        switch_codes: float,
        lowest: Floats,
        highest: Floats,
    ) -> None:
        self.environment = environment
        self._draw_codes = draw_codes
        self._switch_codes = switch_codes
        self._lowest, self._highest = lowest, highest
        self.started = False

    def restart(self, seed: np.random.SeedSequence) -> torch.Generator:
        """Reset the environments, and return the generator of the action noise."""
        self._rng = np.random.default_rng(seed)
        self._noise = torch.Generator().manual_seed(int(seed.generate_state(1)[0]))
        self._observation, _ = self.environment.reset(seed=int(self._rng.integers(2**31)))
        count = self.environment.num_envs
        self._codes = np.array(self._draw_codes(np.arange(count), self._rng), dtype=np.float32)
        self._ended = np.zeros(count, dtype=bool)
        self._returns, self._lengths = np.zeros(count), np.zeros(count, dtype=np.int64)
        self.started = True
        return self._noise

    @torch.no_grad()
    def collect(self, network: ActorCritic, steps: int) -> Rollout:
        """Run every environment for `steps` steps."""
        start, simulation = time.perf_counter(), 0.0
        precise = network.actor.observations.precise
        device = network.log_std.device
        shape = (steps, self.environment.num_envs)
        observations = []
        codes = np.empty((steps + 1, *self._codes.shape), np.float32)
        actions = np.empty((*shape, len(self._lowest)), np.float32)
        rewards = np.empty(shape, np.float32)
        terminated, truncated, valid = (np.empty(shape, dtype=bool) for _ in range(3))
        finished: list[tuple[int, float, int]] = []
        means = _means(network)
        deviations = torch.randn(actions.shape, generator=self._noise)
        noise = (deviations * network.log_std.cpu().exp()).numpy()
        ranges = network.actor.actions
        centre, half_range = ranges.mean.float().cpu().numpy(), ranges.std.cpu().numpy()
        for step in range(steps):
            observations.append(apply(lambda array: _copy(array, precise), self._observation))
            codes[step] = self._codes
            actions[step] = means(observations[step], codes[step]) + noise[step]
            clipped = (actions[step] * half_range + centre).clip(self._lowest, self._highest)
            before = time.perf_counter()
            self._observation, rewards[step], terminated[step], truncated[step], _ = self.environment.step(clipped)
            simulation += time.perf_counter() - before
            valid[step] = ~self._ended
            changing = self._ended
            if self._switch_codes:
                changing = changing | (self._rng.random(shape[1]) < self._switch_codes)
            if changing.any():
                starting = np.flatnonzero(changing)
                self._codes[starting] = self._draw_codes(starting, self._rng)
            self._returns += np.where(valid[step], rewards[step], 0.0)
            self._lengths += valid[step]
            self._ended = terminated[step] | truncated[step]
            for i in np.flatnonzero(self._ended):
                finished.append((int(i), float(self._returns[i]), int(self._lengths[i])))
                self._returns[i], self._lengths[i] = 0.0, 0
        observations.append(apply(lambda array: _copy(array, precise), self._observation))
        codes[-1] = self._codes
        arrays = {"rewards": rewards, "terminated": terminated, "truncated": truncated, "valid": valid}
        log_probabilities = network.log_probabilities(
            deviations.to(device) * network.log_std.exp(), torch.zeros((), device=device)
        )
        return Rollout(
            observations=to_tensors(stack(observations), device),
            codes=torch.from_numpy(codes).to(device),
            actions=torch.from_numpy(actions).to(device),
            log_probabilities=log_probabilities,
            **{name: torch.from_numpy(array).to(device) for name, array in arrays.items()},
            finished=finished,
            seconds=(simulation, time.perf_counter() - start - simulation),
        )


def _copy(array: NDArray[Any], precise: bool) -> NDArray[Any]:
    """Return a copy of an observation: images as they are, vectors in the precision that the network needs."""
    if array.dtype == np.uint8:
        return array.copy()
    return array.astype(np.float64 if precise else np.float32)


def _means(network: ActorCritic) -> Callable[[Any, Floats], Floats]:
    """Return a function from raw observations (n, ...) and codes (n, code size) to mean actions in inner units.

    For the few rows of a step NumPy takes a fifth of PyTorch's time, so without an encoder or a GPU it uses NumPy.
    """
    actor, device = network.actor, network.log_std.device
    if device.type != "cpu" or not (isinstance(actor.encoder, Flat) and actor.encoder.alone):

        def in_torch(observations: Any, codes: Floats) -> Floats:
            inputs = actor.observations(to_tensors(observations, device))
            means: Floats = network.means(inputs, torch.from_numpy(codes).to(device)).cpu().numpy()
            return means

        return in_torch
    layers: Any = (actor.state[0], actor.state[2], actor.code, actor.output)
    (w1, b1), (w2, b2), (w_code, b_code), (w3, b3) = (
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in layers
    )
    moments = actor.observations.part()
    mean, scale = moments.mean.numpy(), moments.scale.numpy()
    if not actor.observations.precise:
        mean = mean.astype(np.float32)

    def in_numpy(observations: Floats, codes: Floats) -> Floats:
        inputs = ((observations - mean).astype(np.float32) * scale).clip(-FARTHEST, FARTHEST)
        sums = np.tanh(inputs @ w1 + b1) @ w2 + codes @ w_code + (b2 + b_code)
        means: Floats = np.tanh(sums) @ w3 + b3
        return means

    return in_numpy
