"""A finger that pushes a puck in one of two ways."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from families.base import STEP, Booleans, Family, Floats, Habits, Integers
from families.geometry import rotation, unit


@dataclass(frozen=True)
class Push(Family):
    """A finger that pushes a puck on a plane into one of two goals; the operator reacts two steps late.

    Modes: the first goal, the second. A puck slips off a finger that is not right behind it. Core: finger (2), puck
    (2), goals (2, 2). Actions: the finger's velocity (2). Velocities are not observed.
    """

    name: ClassVar[str] = "push"
    modes: ClassVar[int] = 2
    columns: ClassVar[int] = 8
    limits: ClassVar[Floats] = np.array([1.0, 1.0])

    @cached_property
    def _geometry(self) -> dict[str, float]:
        rng = self._rng("geometry")
        return {
            "turn": rng.uniform(-np.pi, np.pi),
            "radius": rng.uniform(0.1, 0.14),  # of the puck
            "spread": rng.uniform(0.45, 0.6),  # of a goal to its side
            "speed": rng.uniform(0.15, 0.19),
            "tolerance": rng.uniform(0.055, 0.065),
        }

    @cached_property
    def habits(self) -> Habits:
        """Errors of the finger's velocity, and the delay."""
        rng = self._rng("habits")
        size = rng.uniform(0.015, 0.025) * np.ones(2)
        return Habits(size, 0.5 * size, rng.uniform(0.8, 0.9), (0.8, 1.25), rng.uniform(0.1, 0.3), (5, 12), delay=2)

    def reset(self, count: int, rng: np.random.Generator) -> Floats:
        """Return cores with a random finger, puck and goals."""
        turn, side = rotation(self._geometry["turn"]).T, self._geometry["spread"]
        finger = (np.array([0.0, -0.35]) + rng.uniform(-1, 1, (count, 2)) * [0.25, 0.08]) @ turn
        puck = rng.uniform(-0.08, 0.08, (count, 2)) @ turn
        goals = [
            (np.array([where, 0.55]) + rng.uniform(-1, 1, (count, 2)) * [0.1, 0.1]) @ turn for where in (-side, side)
        ]
        return np.concatenate([finger, puck, *goals], axis=1)

    def advance(self, core: Floats, actions: Floats) -> Floats:
        """Move the finger; a puck that it touches is pushed off along the line between their centres."""
        after = core.copy()
        after[:, :2] += STEP * actions
        away = after[:, 2:4] - after[:, :2]
        overlap = np.maximum(0, self._geometry["radius"] - np.linalg.norm(away, axis=1, keepdims=True))
        after[:, 2:4] += overlap * unit(away)
        return after

    def ended(self, core: Floats) -> Booleans:
        """An episode ends when the puck is in a goal."""
        return self._distances(core).min(axis=-1) < self._geometry["tolerance"]

    def intent(self, core: Floats, modes: Integers, paces: Floats) -> Floats:
        """Go round the puck until behind it as seen from the goal, then push, and keep to the line."""
        finger, puck = core[:, :2], core[:, 2:4]
        goal = np.where((modes == 0)[:, None], core[:, 4:6], core[:, 6:8])
        ahead = unit(goal - puck)
        left = np.stack([-ahead[:, 1], ahead[:, 0]], axis=1)
        relative = finger - puck
        distance = np.linalg.norm(relative, axis=1)
        radius = self._geometry["radius"]
        angle = np.arctan2(-(relative * left).sum(axis=1), -(relative * ahead).sum(axis=1))  # 0 right behind
        tangent = np.stack([-relative[:, 1], relative[:, 0]], axis=1) / np.maximum(distance, 1e-9)[:, None]
        behind = np.exp(-0.5 * (angle / 0.3) ** 2)
        turning = np.clip(-3.0 * angle, -1, 1)  # towards angle 0, at most at full speed
        clear = radius * (1.3 - 0.3 * behind)  # how far from the puck to be
        inward = np.clip((distance - clear) / (0.3 * radius), -1, 1) * (1 - behind) + behind
        wanted = turning[:, None] * tangent - inward[:, None] * unit(relative)
        return (self._geometry["speed"] * paces)[:, None] * wanted

    def judge(self, cores: Floats, last: Integers) -> Integers:
        """The mode is the goal that the puck is in."""
        return self._distances(cores[last, np.arange(cores.shape[1])]).argmin(axis=-1)

    @staticmethod
    def _distances(core: Floats) -> Floats:
        """Return the puck's distances from both goals, (..., 2)."""
        return np.linalg.norm(core[..., None, 2:4] - core[..., 4:].reshape(*core.shape[:-1], 2, 2), axis=-1)
