"""The yardstick of the families: plain behaviour cloning that is told the true mode of every trajectory."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

import manyways
from families import Family, Floats, Integers

_WIDTH = 128
_BATCH = 256  # steps
_RATE = 1e-3  # of Adam at the start; falls to 0 linearly
_DECAY = 1e-2
_CHECK = 100  # iterations between two looks at the held-out loss
_FARTHEST = 10.0  # standard deviations at which normalised observations are clipped


@dataclass(frozen=True, eq=False)
class Yardstick:
    """A network under the true labels, which can be rolled out as a policy.

    Attributes:
        network: from normalised observations and the one-hot mode to normalised actions.
        observations: (2, columns), their mean and standard deviation.
        actions: (2, columns), the same of actions.
        ranges: (2, columns), the least and the greatest action shown.
        modes: how many there are.
        loss: held-out, at the best iteration: the squared error of normalised actions, summed over their dimensions.
        mode: that it does.
    """

    network: nn.Module
    observations: Floats
    actions: Floats
    ranges: Floats
    modes: int
    loss: float
    mode: int = 0

    def with_code(self, which: int) -> "Yardstick":
        """Return it in this mode."""
        return replace(self, mode=which)

    @torch.no_grad()
    def predict(
        self, observation: Floats, state: Any = None, episode_start: ArrayLike | None = None, deterministic: bool = True
    ) -> tuple[Floats, Any]:
        """Return actions (n, actions) on observations (n, observations), and no state."""
        inputs = _inputs(observation, self.observations, np.full(len(observation), self.mode), self.modes)
        outputs = self.network(inputs).numpy() * self.actions[1] + self.actions[0]
        return np.clip(outputs, *self.ranges), None


def yardstick(
    family: Family,
    demonstrations: manyways.Demonstrations,
    labels: Integers,
    seed: int,
    iterations: int = 4000,
) -> Yardstick:
    """Train it; a tenth of each mode's trajectories is held out, and picks the best iteration.

    Args:
        family: of the demonstrations.
        demonstrations: to learn from.
        labels: (trajectories,), the true modes.
        seed: of the network, the batches and what is held out.
        iterations: gradient steps.
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    moments = [_moments(demonstrations.observations), _moments(demonstrations.actions)]
    modes = np.repeat(labels, demonstrations.lengths)
    inputs = _inputs(demonstrations.observations, moments[0], modes, family.modes)
    targets = torch.from_numpy(((demonstrations.actions - moments[1][0]) / moments[1][1]).astype(np.float32))
    held_out = np.isin(np.repeat(np.arange(len(labels)), demonstrations.lengths), _held_out(labels, rng))
    learned, tested = np.flatnonzero(~held_out), torch.from_numpy(np.flatnonzero(held_out))
    network = nn.Sequential(
        *(nn.Linear(inputs.shape[1], _WIDTH), nn.Tanh()),
        *(nn.Linear(_WIDTH, _WIDTH), nn.Tanh()),
        nn.Linear(_WIDTH, targets.shape[1]),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
    best, best_loss = network.state_dict(), float("inf")
    for iteration in range(1, iterations + 1):
        rows = torch.from_numpy(rng.choice(learned, _BATCH))
        loss = _loss(network, inputs[rows], targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = _RATE * (1 - (iteration - 1) / iterations)
        optimizer.step()
        if iteration % _CHECK == 0 or iteration == iterations:
            with torch.no_grad():
                held_out_loss = _loss(network, inputs[tested], targets[tested]).item()
            if held_out_loss < best_loss:
                best_loss = held_out_loss
                best = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(best)
    ranges = np.stack([demonstrations.actions.min(axis=0), demonstrations.actions.max(axis=0)])
    return Yardstick(network.eval(), *moments, ranges, family.modes, best_loss)


def _held_out(labels: Integers, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a tenth of each mode's trajectories, at least one where there are two."""
    parts = []
    for mode in np.unique(labels):
        own = rng.permutation(np.flatnonzero(labels == mode))
        parts.append(own[: min(len(own) - 1, max(1, len(own) // 10))])
    return np.concatenate(parts)


def _loss(network: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return (network(inputs) - targets).square().sum(dim=1).mean()


def _moments(values: Floats) -> Floats:
    return np.stack([values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64) + 1e-9])


def _inputs(observations: Floats, moments: Floats, labels: Integers, modes: int) -> Tensor:
    normalized = np.clip((observations - moments[0]) / moments[1], -_FARTHEST, _FARTHEST)
    return torch.from_numpy(np.concatenate([normalized, np.eye(modes)[labels]], axis=1).astype(np.float32))
