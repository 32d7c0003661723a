"""What the families have in common: their habits, how they are shown, and how they are rolled out."""

import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
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
        return manyways.Demonstrations.from_arrays(self._shown(np.tile(labels, (self.horizon, 1)), rng)), labels

    def changing(
        self, count: int, seed: int, steps: tuple[int, int] | None
    ) -> tuple[manyways.Demonstrations, list[Integers]]:
        """Return demonstrations in which a person may change its mind once, and the mode of each one's steps.

        Args:
            count: of trajectories.
            seed: of everything random.
            steps: between which half of the trajectories get another mode; None for no change.
        """
        rng = self._rng("changing", seed)
        modes = np.tile(rng.integers(self.modes, size=count), (self.horizon, 1))
        if steps is not None:
            for index in np.flatnonzero(rng.random(count) < 0.5):
                modes[rng.integers(*steps) :, index] += rng.integers(1, self.modes)
        modes %= self.modes
        pairs = self._shown(modes, rng)
        return manyways.Demonstrations.from_arrays(pairs), [modes[: len(pair[0]), i] for i, pair in enumerate(pairs)]

    def _shown(self, modes: Integers, rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
        """Return observations and actions that go rightly, of the modes of each step (horizon, trajectories)."""
        pairs: list[Any] = [None] * modes.shape[1]
        missing = np.arange(modes.shape[1])
        for _ in range(_ROUNDS):
            tries = self._demonstrate(modes[:, missing], rng)
            for index, pair in zip(missing, tries, strict=True):
                pairs[index] = pair
            missing = np.array([index for index in missing if pairs[index] is None], dtype=int)
            if not len(missing):
                return pairs
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
        """Return observations and actions of a try at the modes of each step (horizon, n); None where it fails.

        One whose mode changes may do any mode rightly.
        """
        count, habits = modes.shape[1], self.habits
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
            action = self.intent(seen[0], modes[step], np.where(still, 0, paces))
            action = (
                action + error * np.where(still, 0.2, 1)[:, None] + habits.tremor * rng.standard_normal(error.shape)
            )
            actions.append(np.clip(action, -self.limits, self.limits))
            cores.append(core)
            core = self.advance(core, actions[-1])
            seen.append(core)
            ended |= self.ended(core)
        track = np.array(cores)
        judged, lengths = self._judge(track), self.ended(track).argmax(axis=0) + linger
        done = np.where(np.ptp(modes, axis=0) > 0, judged != NONE, judged == modes[0])
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
