"""A point that runs around a pole in one of four ways."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from families.base import NONE, STEP, Booleans, Family, Floats, Habits, Integers
from families.geometry import around, crossing, rotation, unit


@dataclass(frozen=True)
class Planar(Family):
    """A point mass on a plane that goes round a pole to a goal.

    Modes: anticlockwise and slow, clockwise and slow, anticlockwise and fast, clockwise and fast. Core: position (2),
    velocity (2), goal (2), pole (2). Actions: acceleration (2).
    """

    name: ClassVar[str] = "planar"
    modes: ClassVar[int] = 4
    columns: ClassVar[int] = 8
    limits: ClassVar[Floats] = np.array([3.0, 3.0])

    TOLERANCE: ClassVar[float] = 0.2

    @cached_property
    def _geometry(self) -> dict[str, float]:
        rng = self._rng("geometry")
        return {
            "turn": rng.uniform(-np.pi, np.pi),
            "radius": rng.uniform(0.15, 0.22),
            "aside": rng.uniform(0.4, 0.55),
            "slow": rng.uniform(0.32, 0.36),
            "fast": rng.uniform(0.75, 0.85),
            "gain": rng.uniform(3.0, 4.0),  # a second, from errors of velocity to acceleration
        }

    @cached_property
    def habits(self) -> Habits:
        """Errors of the acceleration."""
        rng = self._rng("habits")
        size = rng.uniform(0.06, 0.12) * np.ones(2)
        return Habits(
            size, 0.5 * size, rng.uniform(0.8, 0.92), (0.85, 1.15), rng.uniform(0.05, 0.15), (5, 12), linger=(1, 4)
        )

    def reset(self, count: int, rng: np.random.Generator) -> Floats:
        """Return cores at rest, with a random start, goal and pole."""
        turn = rotation(self._geometry["turn"]).T
        start = (np.array([-1.0, 0.0]) + rng.uniform(-1, 1, (count, 2)) * [0.15, 0.3]) @ turn
        goal = (np.array([1.0, 0.0]) + rng.uniform(-1, 1, (count, 2)) * [0.15, 0.3]) @ turn
        pole = rng.uniform(-0.1, 0.1, (count, 2)) @ turn
        return np.concatenate([start, np.zeros((count, 2)), goal, pole], axis=1)

    def advance(self, core: Floats, actions: Floats) -> Floats:
        """Change the velocity, then the position."""
        after = core.copy()
        after[:, 2:4] += STEP * actions
        after[:, :2] += STEP * after[:, 2:4]
        return after

    def ended(self, core: Floats) -> Booleans:
        """An episode ends when the mass is slow and near the goal."""
        near = np.linalg.norm(core[..., :2] - core[..., 4:6], axis=-1) < self.TOLERANCE
        return near & (np.linalg.norm(core[..., 2:4], axis=-1) < 0.2)

    def intent(self, core: Floats, modes: Integers, paces: Floats) -> Floats:
        """Bring the velocity to one that leads past the pole and to the goal."""
        place, velocity, goal, pole = np.split(core, 4, axis=1)
        ahead = unit(goal - pole)
        left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        detour = np.where(modes % 2 == 0, -1, 1)[:, None] * self._geometry["aside"] * left
        speed = np.where(modes < 2, self._geometry["slow"], self._geometry["fast"]) * paces
        speed = np.minimum(speed, 1.5 * np.linalg.norm(goal - place, axis=1)) * (paces > 0)
        wanted = speed[:, None] * around(place, pole, goal, detour, 0.35)
        return self._geometry["gain"] * (wanted - velocity)

    def judge(self, cores: Floats, last: Integers) -> Integers:
        """The mass never touched the pole; the side is that of its last passing, the speed its upper quartile."""
        each = np.arange(cores.shape[1])
        goal, pole = cores[0, :, 4:6], cores[0, :, 6:8]
        ahead = unit(goal - pole)
        relative = cores[..., :2] - pole
        progress = (relative * ahead).sum(axis=-1)
        left = ahead[:, 0] * relative[..., 1] - ahead[:, 1] * relative[..., 0]
        valid = np.arange(len(cores))[:, None] <= last
        touched = (valid & (np.linalg.norm(relative, axis=-1) < self._geometry["radius"])).any(axis=0)
        speeds = np.where(valid, np.linalg.norm(cores[..., 2:4], axis=-1), np.nan)
        fast = np.nanquantile(speeds, 0.75, axis=0) > np.sqrt(self._geometry["slow"] * self._geometry["fast"])
        clockwise = left[crossing(progress, last), each] > 0
        return np.where(touched, NONE, 2 * fast + clockwise)
