"""An arm that passes a post on one of three sides."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from families.base import NONE, STEP, Booleans, Family, Floats, Habits, Integers
from families.geometry import around, crossing, rotation, unit


@dataclass(frozen=True)
class Arm(Family):
    """A robot arm that moves its hand past a post to a target and closes its gripper there.

    Modes: the hand passes the post on its left, on its right, or over it. Core: joint positions (6), hand (3), target
    (3), post (3), gripper (1: open, -1: closed). Actions: joint velocities (6), gripper command (-1 closes). Lengths
    are in metres, angles in radians. The last joint turns the hand about itself: its velocity is nearly constant.
    """

    name: ClassVar[str] = "arm"
    modes: ClassVar[int] = 3
    columns: ClassVar[int] = 16
    limits: ClassVar[Floats] = np.array([1.5] * 6 + [1.0])

    TOLERANCE: ClassVar[float] = 0.11
    _GRIP: ClassVar[float] = 0.1  # by which the gripper moves in a step
    _CLOSED: ClassVar[float] = -0.99

    @cached_property
    def _geometry(self) -> dict[str, Any]:
        rng = self._rng("geometry")
        return {
            "links": np.array([0.4, 0.35, 0.15]) * rng.uniform(0.95, 1.15, 3),
            "shoulder": rng.uniform(0.25, 0.35),
            "turn": rng.uniform(-0.8, 0.8),  # of the scene about the arm's foot
            "radius": rng.uniform(0.03, 0.045),
            "height": rng.uniform(0.07, 0.09),  # of the post above the point of it that is observed
            "aside": rng.uniform(0.14, 0.17),
            "speed": rng.uniform(0.15, 0.19),  # metres a second
        }

    @cached_property
    def habits(self) -> Habits:
        """Errors of joint velocities; none of the gripper's command."""
        rng = self._rng("habits")
        size = rng.uniform(0.02, 0.03)
        error = size * np.array([1, 1, 1, 1, 1, 0, 0]) * rng.uniform(0.8, 1.2, 7)
        tremor = np.array([0.4 * size] * 5 + [1e-3, 0])
        return Habits(error, tremor, rng.uniform(0.85, 0.95), pause_chance=rng.uniform(0.1, 0.25))

    @cached_property
    def _wrist_speed(self) -> float:
        return float(self._rng("wrist").uniform(-0.02, 0.02))

    def reset(self, count: int, rng: np.random.Generator) -> Floats:
        """Return cores with a random start, target, post and posture."""
        turn = np.eye(3)
        turn[:2, :2] = rotation(self._geometry["turn"])
        hand = (np.array([0.5, -0.34, 0.17]) + rng.uniform(-1, 1, (count, 3)) * [0.08, 0.06, 0.04]) @ turn.T
        target = (np.array([0.5, 0.34, 0.15]) + rng.uniform(-1, 1, (count, 3)) * [0.1, 0.08, 0.04]) @ turn.T
        post = (np.array([0.5, 0.0, 0.16]) + rng.uniform(-1, 1, (count, 3)) * [0.04, 0.04, 0.01]) @ turn.T
        joints = self._home + [0.06, 0.06, 0.06, 0.06, 0.06, 0.3] * rng.standard_normal((count, 6))
        for _ in range(30):
            joints = joints + self._follow(joints, hand - self._hand(joints), 0.0)
        return np.concatenate([joints, self._hand(joints), target, post, np.ones((count, 1))], axis=1)

    def advance(self, core: Floats, actions: Floats) -> Floats:
        """Move the joints, and open or close the gripper."""
        after = core.copy()
        after[:, :6] += STEP * actions[:, :6]
        after[:, 6:9] = self._hand(after[:, :6])
        after[:, 15] = np.clip(core[:, 15] + self._GRIP * np.where(actions[:, 6] < 0, -1, 1), -1, 1)
        return after

    def ended(self, core: Floats) -> Booleans:
        """An episode ends when the gripper is closed."""
        return core[..., 15] < self._CLOSED

    def intent(self, core: Floats, modes: Integers, paces: Floats) -> Floats:
        """Move the hand past the post and to the target; close the gripper there, then stay."""
        joints, hand, target, post, gripper = np.split(core, [6, 9, 12, 15], axis=1)
        to_target = target - hand
        distance = np.linalg.norm(to_target, axis=1)
        ahead = unit((target - post)[:, :2])
        left = np.stack([-ahead[:, 1], ahead[:, 0], np.zeros(len(core))], axis=1)
        aside = self._geometry["aside"]
        over = np.array([0, 0, self._geometry["height"] + 0.13])
        detour = np.where((modes == 2)[:, None], over, np.where(modes == 0, aside, -aside)[:, None] * left)
        speed = self._geometry["speed"] * paces * np.minimum(1, distance / 0.08)
        velocity = speed[:, None] * around(hand, post, target, detour, 0.12)
        closing = distance < np.where(gripper[:, 0] < 0.9, 0.08, 0.05)
        actions = np.empty((len(core), 7))
        actions[:, :6] = self._follow(joints, velocity, 0.3 * paces)
        actions[:, 5] = self._wrist_speed
        actions[:, 6] = np.where(closing | (gripper[:, 0] < self._CLOSED), -1, 1)
        return actions

    def judge(self, cores: Floats, last: Integers) -> Integers:
        """The hand ends near the target, and never touched the post; the side is that of its last passing."""
        each = np.arange(cores.shape[1])
        hand, target, post = cores[..., 6:9], cores[0, :, 9:12], cores[0, :, 12:15]
        ahead = unit((target - post)[:, :2])
        relative = hand - post
        progress = (relative[..., :2] * ahead).sum(axis=-1)
        left = ahead[:, 0] * relative[..., 1] - ahead[:, 1] * relative[..., 0]
        height = self._geometry["height"]
        touching = (np.hypot(progress, left) < self._geometry["radius"]) & (relative[..., 2] < height)
        touched = (touching & (np.arange(len(cores))[:, None] <= last)).any(axis=0)
        when = crossing(progress, last)
        passing = left[when, each]
        above = (relative[when, each, 2] > height) & (np.abs(passing) < 0.6 * self._geometry["aside"])
        mode = np.where(above, 2, np.where(passing > 0, 0, 1))
        near = np.linalg.norm(hand[last, each] - target, axis=1) < self.TOLERANCE
        return np.where(near & ~touched, mode, NONE)

    def _bearings(self, joints: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the directions outward, sideways and upward of the plane in which the arm stands, (n, 3) each."""
        cos, sin, zero = np.cos(joints[:, 0]), np.sin(joints[:, 0]), np.zeros(len(joints))
        up = np.broadcast_to([0.0, 0.0, 1.0], (len(joints), 3))
        return np.stack([cos, sin, zero], axis=1), np.stack([-sin, cos, zero], axis=1), up

    def _hand(self, joints: Floats) -> Floats:
        """Return the hand's position, (n, 3)."""
        return self._shoulder + self._links(joints).sum(axis=1)

    @property
    def _home(self) -> Floats:
        """The joint positions at rest, (6,)."""
        return np.array([self._geometry["turn"], 0.9, -1.3, -0.6, 0.0, 0.0])

    @property
    def _shoulder(self) -> Floats:
        return np.array([0.0, 0.0, self._geometry["shoulder"]])

    def _links(self, joints: Floats) -> Floats:
        """Return the vectors along the upper arm, the forearm and the hand, (n, 3, 3)."""
        outward, sideways, up = self._bearings(joints)
        pitch = np.cumsum(joints[:, 1:4], axis=1)[..., None]  # (n, links, 1)
        links = np.cos(pitch) * outward[:, None] + np.sin(pitch) * up[:, None]
        yaw = joints[:, 4, None]
        links[:, 2] = np.cos(yaw) * links[:, 2] + np.sin(yaw) * sideways
        return links * self._geometry["links"][:, None]

    def _follow(self, joints: Floats, velocity: Floats, relax: ArrayLike) -> Floats:
        """Return joint velocities (n, 6) for a hand velocity (n, 3), by damped least squares.

        Args:
            joints: (n, 6).
            velocity: (n, 3), metres a second.
            relax: how fast the joints go back to rest, a second, where the hand's motion leaves them free.
        """
        links = self._links(joints)
        outward, sideways, _ = self._bearings(joints)
        arms = np.cumsum(links[:, ::-1], axis=1)[:, ::-1]  # (n, 3, 3): from each pitch joint to the hand
        jacobian = np.zeros((len(joints), 3, 6))
        jacobian[:, :, 0] = np.cross([0.0, 0.0, 1.0], arms[:, 0])
        jacobian[:, :, 1:4] = np.cross(-sideways[:, None], arms).transpose(0, 2, 1)
        pitch = joints[:, 1:4].sum(axis=1)[:, None]
        axis = np.cos(pitch) * np.array([0.0, 0.0, 1.0]) - np.sin(pitch) * outward
        jacobian[:, :, 4] = np.cross(axis, links[:, 2])
        wanted = np.broadcast_to(np.asarray(relax)[..., None], joints.shape) * (self._home - joints)
        wanted = wanted * [0, 1, 1, 1, 1, 0]
        rest_of_it = velocity - np.einsum("nij,nj->ni", jacobian, wanted)
        square = jacobian @ jacobian.transpose(0, 2, 1) + 1e-3 * np.eye(3)
        return wanted + np.einsum("nji,nj->ni", jacobian, np.linalg.solve(square, rest_of_it[..., None])[..., 0])
