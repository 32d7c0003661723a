"""Synthetic demonstrations with known modes, to test methods that find modes.

The modes of `Motions` differ in where they go, those of `relations` in how one action dimension depends on one state
dimension.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.trajectories import Demonstrations
from manyways.errors import InputError

_HARMONICS = 3
_GRID = 256  # points at which a motion is computed before it is sampled
_STEPS = 60  # of a whole motion at mean speed


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Settings of a set of planar motions; `draw` makes it.

    Each kind is a smooth curve. It moves about one unit in each direction in a unit of time. States are positions (2),
    actions are the velocities (2) from one position to the next.

    Args:
        kinds: how many modes.
        per_kind: trajectories of each, on average.
        noise: standard deviation of the measured positions.
        starts: standard deviation of where trajectories begin.
        speeds: standard deviation of the logarithm of a trajectory's speed, and of the unevenness within it.
        cut: greatest share of a motion that may be missing, at its beginning and its end together.
        imbalance: frequency of the most frequent kind over that of the rarest; 1 for equal frequencies.
        shared: share of the motion, from its beginning, that every second kind has in common with the one before it.

    Raises:
        InputError: a setting is out of its range.
    """

    kinds: int
    per_kind: int
    noise: float = 0.01
    starts: float = 0.1
    speeds: float = 0.0
    cut: float = 0.0
    imbalance: float = 1.0
    shared: float = 0.0

    def __post_init__(self) -> None:
        for name in ("kinds", "per_kind", "imbalance"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("noise", "starts", "speeds"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")
        for name in ("cut", "shared"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a share from 0 to less than 1")

    def draw(self, seed: int) -> tuple[Demonstrations, NDArray[np.int64]]:
        """Return the demonstrations, in random order, and the mode of each, (trajectories,)."""
        rng = np.random.default_rng(seed)
        velocities = self._velocities(rng)
        labels = rng.permutation(np.repeat(np.arange(self.kinds), self._counts()))
        pairs = []
        for label in labels:
            positions = self._positions(velocities[label], rng)
            pairs.append((positions[:-1], _STEPS * np.diff(positions, axis=0)))
        return Demonstrations.from_arrays(pairs), labels

    def _counts(self) -> NDArray[np.int64]:
        """Return how many trajectories each kind has, at least two, in a geometric sequence."""
        shares = self.imbalance ** -np.linspace(0, 1, self.kinds)
        return np.maximum(2, np.round(self.kinds * self.per_kind * shares / shares.sum())).astype(np.int64)

    def _velocities(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return each kind's velocity over the motion, (kinds, grid, 2)."""
        time = np.linspace(0, 1, _GRID)
        drift = rng.normal(size=(self.kinds, 1, 2))
        swings = 2 * np.pi * rng.normal(size=(self.kinds, 1, 2, _HARMONICS)) / np.arange(1, _HARMONICS + 1)
        phases = rng.uniform(0, 2 * np.pi, (self.kinds, 1, 2, _HARMONICS))
        angles = 2 * np.pi * time[:, None, None] * np.arange(1, _HARMONICS + 1) / 2 + phases
        velocities: NDArray[np.float64] = drift + (swings * np.cos(angles)).sum(axis=-1) / 2
        if self.shared:
            # Every second kind begins as the one before it, and turns off over a twentieth of the motion.
            own = np.clip((time - self.shared) / 0.05, 0, 1)[:, None]
            for kind in range(1, self.kinds, 2):
                velocities[kind] = own * velocities[kind] + (1 - own) * velocities[kind - 1]
        return velocities

    def _positions(self, velocity: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return one trajectory's positions, (steps + 1, 2)."""
        speed = np.exp(self.speeds * rng.standard_normal())
        missing = self.cut * rng.random()
        first = missing * rng.random()
        steps = max(4, round(_STEPS * (1 - missing) / speed))
        bend = np.clip(self.speeds * rng.standard_normal(), -0.9, 0.9)
        along = np.linspace(0, 1, steps + 1)
        when = first + (1 - missing) * (along + bend * np.sin(2 * np.pi * along) / (2 * np.pi))
        path = np.cumsum(velocity, axis=0) / _GRID
        where = np.stack([np.interp(when, np.linspace(0, 1, _GRID), path[:, axis]) for axis in (0, 1)], axis=1)
        start = self.starts * rng.standard_normal(2)
        return where + start + self.noise * rng.standard_normal(where.shape)


def relations(
    kinds: int, per_kind: int, seed: int, *, size: int = 18, noise: float = 0.05
) -> tuple[Demonstrations, NDArray[np.int64]]:
    """Return kinds that differ only in how one of two action dimensions depends on one of `size` state dimensions.

    Args:
        kinds: up to three: the action dimension equals the state dimension, its negative, or 0.
        per_kind: trajectories of each.
        seed: of everything random.
        size: dimensions of a state.
        noise: standard deviation in the actions.

    Raises:
        InputError: there are more than three kinds.
    """
    if not 1 <= kinds <= 3:
        raise InputError(f"kinds is {kinds}; give 1 to 3")
    rng = np.random.default_rng(seed)
    labels = np.arange(kinds * per_kind) % kinds
    pairs = []
    for label in labels:
        states = rng.normal(size=(rng.integers(40, 120), size))
        actions = np.stack([(1, -1, 0)[label] * states[:, 0], np.sin(states[:, 1])], axis=1)
        pairs.append((states, actions + noise * rng.normal(size=actions.shape)))
    return Demonstrations.from_arrays(pairs), labels
