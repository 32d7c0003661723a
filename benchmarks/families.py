"""Families of small simulated tasks with several modes, shown as people show them: few, noisy, of different lengths.

A variant of a family is a seed of its geometry, noise and nuisance columns. Even variants choose settings; odd ones are
for what is reported. All episodes of a call are simulated at once.

A `core` is the true state of n episodes, (n, columns). An observation is the core and three nuisance columns.
"""

import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

import manyways

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

NONE = -1  # the mode of an episode that does none rightly
NUISANCES = 3
STEP = 0.1  # seconds
_ROUNDS = 50  # of demonstrations, in which an operator may fail and try again


class Imitator(Protocol):
    """What can be rolled out: `manyways.Policy`, `Script`, or the yardstick."""

    def with_code(self, which: int) -> "Imitator":
        """Return this one in the mode of this code."""

    def predict(
        self, observation: Floats, state: Any = None, episode_start: ArrayLike | None = None, deterministic: bool = True
    ) -> tuple[Floats, Any]:
        """Return actions (n, actions) on observations (n, observations), and the state for the next step."""


@dataclass(frozen=True)
class Habits:
    """How a person differs from the script.

    Attributes:
        error: (actions,), standard deviation of the autocorrelated error, in units of the action.
        tremor: (actions,), of the error that is new at each step.
        persistence: correlation of the autocorrelated error between two steps.
        paces: range of a trajectory's speed, as a share of the script's.
        pause_chance: how likely a trajectory has a pause.
        pause_steps: range of its length.
        delay: steps between what the operator sees and what it does.
        linger: range of the steps that are recorded after the end.
    """

    error: Floats
    tremor: Floats
    persistence: float = 0.9
    paces: tuple[float, float] = (0.75, 1.25)
    pause_chance: float = 0.3
    pause_steps: tuple[int, int] = (5, 15)
    delay: int = 0
    linger: tuple[int, int] = (2, 8)


@dataclass(frozen=True)
class Family(ABC):
    """A family of tasks.

    Args:
        variant: a seed of geometry, noise and nuisance columns.

    Attributes:
        name: of the family.
        modes: how many there are.
        columns: of a core.
        horizon: steps of an episode at most.
        limits: (actions,), the greatest size of each action.
    """

    variant: int = 0

    name: ClassVar[str]
    modes: ClassVar[int]
    columns: ClassVar[int]
    horizon: ClassVar[int] = 200
    limits: ClassVar[Floats]

    # What a family defines

    @property
    @abstractmethod
    def habits(self) -> Habits:
        """How people differ from the script in this variant."""

    @abstractmethod
    def reset(self, count: int, rng: np.random.Generator) -> Floats:
        """Return the cores of new episodes, (count, columns)."""

    @abstractmethod
    def advance(self, core: Floats, actions: Floats) -> Floats:
        """Return the cores after actions (n, actions) within the limits."""

    @abstractmethod
    def ended(self, core: Floats) -> Booleans:
        """Return which episodes end at these cores, (..., columns) to (...)."""

    @abstractmethod
    def intent(self, core: Floats, modes: Integers, paces: Floats) -> Floats:
        """Return what the script does, (n, actions); a pace of 0 stands still."""

    @abstractmethod
    def judge(self, cores: Floats, last: Integers) -> Integers:
        """Return the mode that each episode does rightly, (n,), or `NONE`.

        Args:
            cores: (steps, n, columns).
            last: (n,), the index of each episode's last core.
        """

    # What all families share

    def demonstrations(
        self, count: int, seed: int, shares: Sequence[float] | None = None
    ) -> tuple[manyways.Demonstrations, Integers]:
        """Return demonstrations, all of which do their mode rightly, and the mode of each, (count,).

        Args:
            count: of trajectories.
            seed: of everything random.
            shares: (modes,), of each mode among the trajectories; equal by default.
        """
        rng = self._rng("demonstrations", seed)
        weights = np.ones(self.modes) if shares is None else np.asarray(shares, dtype=np.float64)
        edges = np.round(count * np.cumsum(weights) / weights.sum()).astype(int)
        labels = rng.permutation(np.repeat(np.arange(self.modes), np.diff(edges, prepend=0)))
        pairs: list[Any] = [None] * count
        missing = np.arange(count)
        for _ in range(_ROUNDS):
            tries = self._demonstrate(labels[missing], rng)
            for index, pair in zip(missing, tries, strict=True):
                pairs[index] = pair
            missing = np.array([index for index in missing if pairs[index] is None], dtype=int)
            if not len(missing):
                return manyways.Demonstrations.from_arrays(pairs), labels
        raise RuntimeError(f"the operator of {self} fails too often; lessen its noise")

    def success(self, policy: Imitator, codes: Sequence[int], episodes: int, seed: int) -> Floats:
        """Return the share of episodes in which each mode is done rightly, (modes,).

        Args:
            policy: acts without noise, with one code for the whole of an episode.
            codes: (modes,), the code of each mode.
            episodes: for each mode; they start alike in all modes, and unlike the demonstrations.
            seed: of the episodes.
        """
        done = [self.modes_done(policy.with_code(int(code)), episodes, seed) for code in codes]
        return np.array([(shown == mode).mean() for mode, shown in enumerate(done)])

    def modes_done(self, policy: Imitator, episodes: int, seed: int) -> Integers:
        """Return the mode that the policy does rightly in each episode, (episodes,), or `NONE`."""
        rng = self._rng("episodes", seed)
        core, nuisance = self.reset(episodes, rng), self._nuisance(episodes, rng)
        cores, ended, state = [core], self.ended(core), None
        for step in range(self.horizon):
            seen = np.concatenate([core, nuisance[step]], axis=1).astype(np.float32)
            starts = np.full(episodes, step == 0)
            actions, state = policy.predict(seen, state=state, episode_start=starts, deterministic=True)
            core = self.advance(core, np.clip(actions, -self.limits, self.limits))
            cores.append(core)
            ended |= self.ended(core)
            if ended.all():
                break
        return self._judge(np.array(cores))

    def modes_shown(self, demonstrations: manyways.Demonstrations) -> Integers:
        """Return the mode that each demonstration does rightly, (trajectories,), or `NONE`."""
        cores = np.empty((demonstrations.lengths.max(), len(demonstrations), self.columns))
        for index, (observations, _) in enumerate(demonstrations):
            cores[: len(observations), index] = observations[:, : self.columns]
            cores[len(observations) :, index] = observations[-1, : self.columns]
        return self._judge(cores)

    def script(self) -> "Script":
        """Return the demonstrator without noise, delay and pauses; its codes are the modes."""
        return Script(self)

    def _rng(self, what: str, seed: int = 0) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(f"{self.name} {what}".encode()), self.variant, seed])

    def _judge(self, cores: Floats) -> Integers:
        ended = self.ended(cores)
        modes = self.judge(cores, np.where(ended.any(axis=0), ended.argmax(axis=0), len(cores) - 1))
        return np.where(ended.any(axis=0), modes, NONE)

    def _nuisance(self, count: int, rng: np.random.Generator) -> Floats:
        """Return a slow random walk, pure noise and a nearly constant sensor, (horizon, count, 3)."""
        sizes = self._rng("nuisance").uniform(0.2, 5.0, NUISANCES)
        noise = rng.standard_normal((self.horizon, count, NUISANCES))
        walk = rng.standard_normal(count) + 0.1 * noise[..., 0].cumsum(axis=0)
        return np.stack([walk, noise[..., 1], 1 + 1e-4 * noise[..., 2]], axis=-1) * sizes

    def _demonstrate(self, modes: Integers, rng: np.random.Generator) -> list[tuple[Floats, Floats] | None]:
        """Return observations and actions of a try at each mode; None where it fails."""
        count, habits = len(modes), self.habits
        core, nuisance = self.reset(count, rng), self._nuisance(count, rng)
        paces = rng.uniform(*habits.paces, count)
        pause = rng.integers(5, 50, count)
        resume = pause + (rng.random(count) < habits.pause_chance) * rng.integers(*habits.pause_steps, count)
        linger = rng.integers(*habits.linger, count)
        error = np.zeros((count, len(habits.error)))
        ended = np.zeros(count, bool)
        seen = deque([core] * (habits.delay + 1), maxlen=habits.delay + 1)
        cores, actions = [], []
        for step in range(self.horizon):
            still = ended | ((step >= pause) & (step < resume))
            error *= habits.persistence
            error += np.sqrt(1 - habits.persistence**2) * habits.error * rng.standard_normal(error.shape)
            action = self.intent(seen[0], modes, np.where(still, 0, paces))
            action = (
                action + error * np.where(still, 0.2, 1)[:, None] + habits.tremor * rng.standard_normal(error.shape)
            )
            actions.append(np.clip(action, -self.limits, self.limits))
            cores.append(core)
            core = self.advance(core, actions[-1])
            seen.append(core)
            ended |= self.ended(core)
        track = np.array(cores)
        done, lengths = self._judge(track) == modes, self.ended(track).argmax(axis=0) + linger
        rows = np.concatenate([track, nuisance], axis=-1).astype(np.float32)
        taken = np.array(actions, dtype=np.float32)
        return [
            (rows[: lengths[i], i], taken[: lengths[i], i]) if done[i] and lengths[i] <= self.horizon else None
            for i in range(count)
        ]


@dataclass(frozen=True)
class Script:
    """The demonstrator without noise, delay and pauses, as something to roll out.

    Args:
        family: whose script it is.
        mode: that it does.
    """

    family: Family
    mode: int = 0

    def with_code(self, which: int) -> "Script":
        """Return the script of this mode."""
        return Script(self.family, which)

    def predict(
        self, observation: Floats, state: Any = None, episode_start: ArrayLike | None = None, deterministic: bool = True
    ) -> tuple[Floats, Any]:
        """Return what the script does, (n, actions), and no state."""
        count = len(observation)
        core = observation[:, : self.family.columns].astype(np.float64)
        return self.family.intent(core, np.full(count, self.mode), np.ones(count)), None


def around(place: Floats, pole: Floats, target: Floats, detour: Floats, width: float) -> Floats:
    """Return directions of unit length, (n, d), that lead past a pole and to a target.

    Far from the pole they lead to the line from the pole to the target; beside it, to the line moved by the detour.

    Args:
        place: (n, d), where one is.
        pole: (n, d).
        target: (n, d).
        detour: (n, d), from the pole to the point through which to pass.
        width: how far ahead of the pole the detour begins, in units of length.
    """
    ahead = _unit(target - pole)
    progress = ((place - pole) * ahead).sum(axis=1, keepdims=True)
    beside = place - pole - progress * ahead
    detour = detour - (detour * ahead).sum(axis=1, keepdims=True) * ahead  # else it could lead back
    bump = np.exp(-0.5 * (progress / width) ** 2)
    wanted = ahead + detour * bump * -progress / width**2 + 3 / width * (detour * bump - beside)
    past = 1 / (1 + np.exp(-(progress - 0.8 * width) / (0.2 * width)))
    return _unit((1 - past) * _unit(wanted) + past * _unit(target - place))


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _rotation(angle: float) -> Floats:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _crossing(progress: Floats, last: Integers) -> Integers:
    """Return the last step up to `last` at which the progress (steps, n) past a pole turns positive, (n,)."""
    steps = np.arange(len(progress))[:, None]
    before = (progress < 0) & (steps <= last)
    return np.minimum(np.where(before, steps, -1).max(axis=0) + 1, last)


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
        turn[:2, :2] = _rotation(self._geometry["turn"])
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
        ahead = _unit((target - post)[:, :2])
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
        ahead = _unit((target - post)[:, :2])
        relative = hand - post
        progress = (relative[..., :2] * ahead).sum(axis=-1)
        left = ahead[:, 0] * relative[..., 1] - ahead[:, 1] * relative[..., 0]
        height = self._geometry["height"]
        touching = (np.hypot(progress, left) < self._geometry["radius"]) & (relative[..., 2] < height)
        touched = (touching & (np.arange(len(cores))[:, None] <= last)).any(axis=0)
        when = _crossing(progress, last)
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
        turn = _rotation(self._geometry["turn"]).T
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
        ahead = _unit(goal - pole)
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
        ahead = _unit(goal - pole)
        relative = cores[..., :2] - pole
        progress = (relative * ahead).sum(axis=-1)
        left = ahead[:, 0] * relative[..., 1] - ahead[:, 1] * relative[..., 0]
        valid = np.arange(len(cores))[:, None] <= last
        touched = (valid & (np.linalg.norm(relative, axis=-1) < self._geometry["radius"])).any(axis=0)
        speeds = np.where(valid, np.linalg.norm(cores[..., 2:4], axis=-1), np.nan)
        fast = np.nanquantile(speeds, 0.75, axis=0) > np.sqrt(self._geometry["slow"] * self._geometry["fast"])
        clockwise = left[_crossing(progress, last), each] > 0
        return np.where(touched, NONE, 2 * fast + clockwise)


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
        turn, side = _rotation(self._geometry["turn"]).T, self._geometry["spread"]
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
        after[:, 2:4] += overlap * _unit(away)
        return after

    def ended(self, core: Floats) -> Booleans:
        """An episode ends when the puck is in a goal."""
        return self._distances(core).min(axis=-1) < self._geometry["tolerance"]

    def intent(self, core: Floats, modes: Integers, paces: Floats) -> Floats:
        """Go round the puck until behind it as seen from the goal, then push, and keep to the line."""
        finger, puck = core[:, :2], core[:, 2:4]
        goal = np.where((modes == 0)[:, None], core[:, 4:6], core[:, 6:8])
        ahead = _unit(goal - puck)
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
        wanted = turning[:, None] * tangent - inward[:, None] * _unit(relative)
        return (self._geometry["speed"] * paces)[:, None] * wanted

    def judge(self, cores: Floats, last: Integers) -> Integers:
        """The mode is the goal that the puck is in."""
        return self._distances(cores[last, np.arange(cores.shape[1])]).argmin(axis=-1)

    @staticmethod
    def _distances(core: Floats) -> Floats:
        """Return the puck's distances from both goals, (..., 2)."""
        return np.linalg.norm(core[..., None, 2:4] - core[..., 4:].reshape(*core.shape[:-1], 2, 2), axis=-1)


FAMILIES: dict[str, type[Family]] = {family.name: family for family in (Arm, Planar, Push)}
