"""The ground-truth modes of a task: a list, or a continuous range."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class DiscreteModes:
    """Modes that can be listed; an episode's mode is the index of one.

    Attributes:
        values: of each mode, for the reward, such as a velocity or an angle.
        names: of each mode, for tables, with units.
    """

    values: tuple[float, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values or len(self.values) != len(self.names):
            raise ValueError(
                f"{len(self.values)} values and {len(self.names)} names are no modes; give as many of each"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __str__(self) -> str:
        return ", ".join(self.names)

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw `count` modes, (count,) indices, all equally likely."""
        return rng.integers(len(self), size=count)

    def spread(self, count: int) -> NDArray[np.int64]:
        """Return `count` modes, (count,) indices, each mode as often as the others."""
        return np.arange(count) % len(self)

    def check(self, mode: ArrayLike, count: int) -> NDArray[np.int64]:
        """Return `mode`, one for all or one each, as indices (count,).

        Raises:
            ValueError: it is no index of these modes.
        """
        indices = np.asarray(mode)
        if indices.shape not in ((), (count,)) or not np.issubdtype(indices.dtype, np.integer):
            raise ValueError(f"mode is {mode!r}; give an index, or one for each of the {count} environments")
        if ((indices < 0) | (indices >= len(self))).any():
            raise ValueError(f"mode {mode!r} is not one of 0 to {len(self) - 1}: {self}")
        return np.broadcast_to(indices, (count,)).astype(np.int64)

    def of_environments(self, mode: NDArray[np.int64]) -> Floats:
        """Return the modes for which the reward is computed, (1, modes): all of them."""
        return np.array(self.values)[None]

    def own(self, rewards: Floats, mode: NDArray[np.int64]) -> Floats:
        """Return from `rewards` (environments, modes) the column of each environment's own mode, (environments,)."""
        return rewards[np.arange(len(mode)), mode]


@dataclass(frozen=True)
class ContinuousModes:
    """Modes in a box; an episode's mode is a point of it.

    Attributes:
        low, high: the box's corners, (dimension,).
        name: of a mode, with units.
        tolerance: greatest distance from its mode at which an episode must end to hit it; None without hits.
        labels: of each dimension, with units, for pictures; `name` by default.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    name: str
    tolerance: float | None = None
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return 1: an environment reports the reward under its own mode only."""
        return 1

    def __str__(self) -> str:
        return self.name

    @property
    def dimension(self) -> int:
        """The dimensions of a mode."""
        return len(self.low)

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw `count` modes, (count, dimension), uniform in the box."""
        return rng.uniform(self.low, self.high, size=(count, self.dimension))

    def spread(self, count: int) -> NDArray[np.float64]:
        """Return `count` modes, (count, dimension), that fill the box evenly: a Halton sequence."""
        # SciPy's takes half a second to import.
        columns = [_halton(count, base) for base in _PRIMES[: self.dimension]]
        return self.low + np.stack(columns, axis=1) * np.subtract(self.high, self.low)

    def check(self, mode: ArrayLike, count: int) -> NDArray[np.float64]:
        """Return `mode`, one for all or one each, as (count, dimension).

        Raises:
            ValueError: it is no point of the box.
        """
        points = np.asarray(mode, dtype=np.float64)
        if points.shape not in ((), (self.dimension,), (count, self.dimension)):
            raise ValueError(f"mode is {mode!r}; give {self.dimension} numbers, or as many for each of {count}")
        if not ((points >= self.low) & (points <= self.high)).all():
            raise ValueError(f"mode {mode!r} is not between {self.low} and {self.high}: {self.name}")
        return np.array(np.broadcast_to(points, (count, self.dimension)))

    def of_environments(self, mode: NDArray[np.float64]) -> Floats:
        """Return the modes for which the reward is computed, (environments, 1[, dimension]): each one's own."""
        return mode if self.dimension == 1 else mode[:, None]

    def own(self, rewards: Floats, mode: NDArray[np.float64]) -> Floats:
        """Return `rewards` (environments, 1) as (environments,)."""
        return rewards[:, 0]


Modes = DiscreteModes | ContinuousModes

_PRIMES = (2, 3, 5, 7, 11, 13)


def _halton(count: int, base: int) -> NDArray[np.float64]:
    """Return the radical inverses of 1 to `count`, each in (0, 1)."""
    rest, scale = np.arange(1, count + 1), 1 / base
    result = np.zeros(count)
    while rest.any():
        result += rest % base * scale
        rest, scale = rest // base, scale / base
    return result


def angles(count: int) -> DiscreteModes:
    """Return `count` evenly spaced directions in the plane, beginning with the x axis."""
    turns = 2 * np.pi * np.arange(count) / count
    return DiscreteModes(tuple(turns), tuple(f"{np.degrees(turn):.0f}°" for turn in turns))


def velocities(values: Sequence[float]) -> DiscreteModes:
    """Return these velocities along the x axis."""
    return DiscreteModes(tuple(values), tuple(f"{value:+g} m/s" for value in values))
