"""Acting with a code, whatever computes the network: codes and their names, memory, and what `predict` promises."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations import spaces
from manyways.demonstrations.observations import apply, count_steps
from manyways.demonstrations.rotations import Rotations
from manyways.demonstrations.spaces import Space
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior
from manyways.policies import modes
from manyways.policies.ensemble import Ensemble
from manyways.policies.modes import Mode
from manyways.policies.novelty import Guard, Novelty
from manyways.policies.start_gate import StartGate
from manyways.policies.state import StateLayout, as_batch
from manyways.policies.watch import Watch

Floats = NDArray[np.floating[Any]]

FEW = 16  # environments, up to which NumPy is faster than PyTorch


class Shape(Protocol):
    """What a network sees and does."""

    observation_space: Space
    action_space: Space
    window: int
    executed: int


class Actor(ABC):
    """A policy with a code, which stays the same through an episode.

    Args:
        shape: what the network sees and does.
        prior: of the codes; None without codes.
        counts: (codes,), how many demonstrations have each code; empty for continuous codes.
        seed: of everything that `predict` draws.
        start_gate: how likely each code is at an episode's first observation; None for the prior.
        novelty: how far observations are from the demonstrations; None where that was not measured.
        precise: whether raw observations must be in double precision.
        moments: mean and inverse standard deviation of a flat observation, to look at what the caller gives; or None.
        fast: the network in NumPy, for flat observations; or None.
        rotations: which of the caller's columns are angles and quaternions. The network, and all that is between
            `predict`'s first and last lines, sees them as they are learned. None for none.
        ensemble: how overlapping plans are averaged; None where one plan is done after the other.
    """

    def __init__(
        self,
        shape: Shape,
        prior: Prior | None,
        counts: tuple[int, ...],
        seed: int,
        start_gate: StartGate | None,
        novelty: Novelty | None,
        precise: bool,
        moments: tuple[Floats, Floats] | None,
        fast: Callable[..., NDArray[Any]] | None,
        rotations: Rotations | None = None,
        ensemble: Ensemble | None = None,
    ) -> None:
        self.prior = prior
        self.counts = counts
        self.start_gate = start_gate
        self.novelty_model = novelty
        self.names: dict[int, str] = {}
        self.chosen_code: Floats | None = None
        self._own, self._ensemble = shape, ensemble
        self.rotations = rotations and rotations.of(encoded=False)
        self._observation_space, self._action_space = shape.observation_space, shape.action_space
        if rotations is not None:
            self._observation_space = rotations.raw_space(shape.observation_space, "observations")
            self._action_space = rotations.raw_space(shape.action_space, "actions")
        self._layout = StateLayout(shape, 0 if prior is None else prior.dimension)
        self._needs_state = self._layout.remembers or (prior is not None and prior != Categorical(1))
        self._discrete = isinstance(prior, Categorical)
        self._precise = precise
        self._fast = fast
        self._shape = self._observation_space.shape
        self._state_shapes = {(self._layout.size,), (self._layout.code_size,)}
        boxes = spaces.entry_spaces(self._observation_space)
        self._watch = Watch(moments, [name for name, box in boxes.items() if box.dtype == np.uint8])
        self._guard: Guard | None = None
        self._choose_path()
        self.seed(seed)

    def _choose_path(self) -> None:
        """Decide whether `predict` may act at once: for one array, with the code as its state, and without a guard."""
        plain = self._guard is None and self._ensemble is None
        # Actions that wait in the state must be in its precision.
        plain = plain and not (self._layout.remembers and self._own.action_space.dtype == np.float64)
        self._quick = self._fast is not None and not self._precise and plain and self.chosen_code is None

    @abstractmethod
    def _answer(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return the network's actions (n, executed, ...) of windows (n, window, ...)."""

    @abstractmethod
    def _features(self, observations: Any) -> Floats:
        """Return the encoder's features (n, features) of single raw observations (n, ...)."""

    def __repr__(self) -> str:
        codes = "no codes" if self.prior is None else str(self.prior)
        if self.chosen_code is not None:
            one = isinstance(self.prior, Categorical)
            codes += f", always {int(self.chosen_code.argmax()) if one else self.chosen_code.tolist()}"
        seen, done = spaces.describe(self.observation_space), spaces.describe(self.action_space)
        return f"{type(self).__name__}({codes}; from {seen} to {done})"

    def seed(self, seed: int) -> None:
        """Seed the codes and the action noise."""
        self._rng = np.random.default_rng(seed)

    @property
    def observation_space(self) -> Space:
        """The space of one step."""
        return self._observation_space

    @property
    def action_space(self) -> Space:
        """The space of one step."""
        return self._action_space

    @property
    def ensemble(self) -> float | None:
        """How fast the weight of a plan falls with its age, where overlapping plans are averaged; else None."""
        return None if self._ensemble is None else self._ensemble.decay

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes, one for each code; empty for continuous codes, see `encode`."""
        total = max(1, sum(self.counts))
        return tuple(Mode(code, n, n / total, self.names.get(code)) for code, n in enumerate(self.counts))

    @property
    def state_size(self) -> int:
        """The dimensions of a state: those of the code, and of the memory."""
        return self._layout.size

    @property
    def discrete_prior(self) -> Categorical:
        """The prior of discrete codes.

        Raises:
            InputError: the policy has no codes, or continuous ones.
        """
        if self.prior is None:
            raise InputError("this policy has no codes, so none can be chosen or listed; train one with sog-bc")
        if not isinstance(self.prior, Categorical):
            raise InputError(
                f"this policy's codes have {self.prior.dimension} continuous dimensions, so they cannot be listed; "
                "see `encode` for those of trajectories"
            )
        return self.prior

    def name(self, code: int, name: str | None) -> None:
        """Give a mode a name, by which `code` and `with_code` find it; `save` keeps it.

        Args:
            code: the index of a discrete code.
            name: a few words; None takes the name away.

        Raises:
            InputError: there is no such code, or the name is another code's, or a number.
        """
        self.names = modes.named(self.names, code, name, self.discrete_prior.size)

    def code(self, which: int | str | ArrayLike) -> NDArray[np.float32]:
        """Return a code, (code size,), as a state for `predict`.

        Args:
            which: a discrete code's index or name; for a continuous code the prior's CDF of each of its dimensions, 0
                to 1.

        Raises:
            InputError: there is no such code.
        """
        if isinstance(self.prior, Gaussian) and not isinstance(which, str):
            return self.prior.quantile(np.atleast_1d(np.asarray(which, dtype=np.float64)))
        prior = self.discrete_prior
        if isinstance(which, str):
            which = modes.find(self.names, which)
        if not isinstance(which, int | np.integer):
            raise InputError(f"{which!r} is no index and no name of a code; give 0 to {prior.size - 1}")
        return prior.code(int(which))

    def with_code(self, which: int | str | ArrayLike) -> Self:
        """Return this policy with a fixed code, for callers that pass no state at an episode's start.

        Args:
            which: as for `code`.

        Raises:
            InputError: there is no such code.
        """
        return self._with_fixed_code(self.code(which))

    def _with_fixed_code(self, code: Floats) -> Self:
        if self.prior is None or not self.prior.has(code):
            raise ValueError(f"{code.tolist()} is no code")
        policy = copy.copy(self)  # with the same network and the same source of randomness
        policy.chosen_code = code
        policy._choose_path()
        return policy

    def novelty(self, observation: Any) -> Any:
        """Return how unusual an observation is: which share of demonstrated ones lie nearer to what was learned from.

        About 0.5 is usual, 0.99 is as one demonstrated step in a hundred, and 1 is farther than all. Columns that never
        varied are not looked at. See `policies.novelty`.

        Args:
            observation: one, or one for each environment, (environments, ...), as for `predict`.

        Returns:
            From 0 to 1, a number or (environments,).

        Raises:
            InputError: the policy has no such measure, or the observation cannot be used.
        """
        batch, _, single = self._batch(observation)
        scores = self._require_novelty().score(self._features(batch))
        return float(scores[0]) if single else scores

    def guard(self, action: str = "warn", level: float = 0.999) -> None:
        """Let `predict` look out for observations that are far from the demonstrations.

        Args:
            action: "warn"; "refuse" raises `manyways.NovelObservationError`; "off", a new policy's, keeps `predict`
                fastest.
            level: of `novelty`, from which on an observation is too far: about 1 - level of the steps of further
                demonstrations would be.

        Raises:
            InputError: the action or the level is unknown, or the policy has no such measure.
        """
        if action not in ("warn", "refuse", "off") or not 0 < level <= 1:
            raise InputError(f"guard({action!r}, {level}) is unknown; give warn, refuse or off, and a level of 0 to 1")
        self._guard = None if action == "off" else Guard(self._require_novelty(), action == "refuse", level)
        self._choose_path()

    def _require_novelty(self) -> Novelty:
        if self.novelty_model is None:
            raise InputError(
                "this policy does not know how far an observation may be from its demonstrations (it learned from a "
                "single trajectory, or an earlier version trained it); train it again"
            )
        return self.novelty_model

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Floats]:
        """Return an action, and the state for the next step.

        Args:
            observation: one, or one for each environment, (environments, ...); a dictionary if the demonstrations'
                observations are dictionaries.
            state: the code, (code size,) or (environments, code size), or the state from the last call. None draws a
                code: by how likely each is at the first observation, where training learned that, else from the prior.
                Pass the returned state at every step; without it every step draws a new code.
            episode_start: (environments,); True draws a new code and clears the memory. Without it `state` stays.
            deterministic: True for the mean or likeliest action; False adds Gaussian noise with the demonstrations'
                residual size, or draws the action.

        Returns:
            The action, within the range of the demonstrated ones, and the next `state`; each (environments, ...), or a
            single one for a single observation.

        Raises:
            InputError: the observation or the state has the wrong shape, a value is not finite, or a guard refuses.
        """
        if deterministic and episode_start is None and self._quick:
            done = self._act_at_once(observation, state)
            if done is not None:
                return done
        batch, count, single = self._batch(observation)
        lost = state is None and episode_start is None and self.chosen_code is None
        self._watch.lost_state(lost and self._needs_state)
        if not self._watch.looked:
            self._watch.look(batch)
        if self._guard is not None:
            self._guard.check(self._features(batch))
        codes, states, continuing = self._codes(batch, state, episode_start, count)
        rng = None if deterministic else self._rng
        if not self._layout.remembers:
            actions = self._act(batch, codes, rng)
            next_states: Floats = codes
        else:
            actions, next_states = self._act_from_memory(batch, codes, states, continuing, rng)
        if self.rotations is not None:
            actions = self.rotations.decode_actions(actions)
        return (actions[0], next_states[0]) if single else (actions, next_states)

    def _batch(self, observation: Any) -> tuple[Any, int, bool]:
        """Return observations (n, ...) as the network sees them, how many there are, and whether it was a single one.

        Raises:
            InputError: as `as_batch`.
        """
        batch, count, single = as_batch(observation, self.observation_space, self._precise)
        return batch if self.rotations is None else self.rotations.encode_observations(batch), count, single

    def _act_at_once(self, observation: Any, state: Any) -> tuple[NDArray[Any], Floats] | None:
        """Return the action for one array and the next state, or None where `predict` has to look closer."""
        if type(observation) is not np.ndarray or type(state) is not np.ndarray or not self._watch.looked:
            return None
        if observation.dtype != np.float32 or observation.shape != self._shape or state.dtype != np.float32:
            return None
        if state.shape not in self._state_shapes or not math.isfinite(observation.sum()):
            return None
        code = state[: self._layout.code_size]
        # A one-hot code has length 1; what is not finite has no length.
        if (self._discrete and code.dot(code) != 1) or not math.isfinite(state.dot(state)):
            return None
        assert self._fast is not None
        if self.rotations is None:
            return self._layout.act_at_once(self._fast, observation, state)
        seen = self.rotations.encode_observations(observation)
        action, following = self._layout.act_at_once(self._fast, seen, state)
        return self.rotations.decode_actions(action), following

    def _act(self, batch: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return one action for each observation, for a policy without memory."""
        if self._fast is not None and rng is None and len(codes) <= FEW:
            return self._fast(batch, codes)[:, 0]
        return self._draw(_windows(batch, None), codes, rng)[:, 0]

    def _act_from_memory(
        self, batch: Any, codes: Floats, states: Floats | None, continuing: NDArray[np.bool_], rng: Any
    ) -> tuple[NDArray[Any], Floats]:
        memory = self._layout.fresh(batch, len(codes))
        if states is not None:
            self._layout.unpack(states, memory, continuing)
        windows = _windows(batch, memory.past)
        if self._ensemble is not None:
            actions = self._ensemble.act(self._draw(windows, codes, rng), memory)
            return actions, self._layout.pack(codes, windows, memory)
        empty = memory.remaining == 0
        if empty.any():
            some = {n: w[empty] for n, w in windows.items()} if isinstance(windows, dict) else windows[empty]
            memory.waiting[empty] = self._draw(some, codes[empty], rng)
            memory.remaining[empty] = self._own.executed
        return memory.waiting[:, 0].copy(), self._layout.pack(codes, windows, memory)

    def _draw(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return actions (n, executed, ...) of windows (n, window, ...)."""
        if self._fast is not None and rng is None and len(codes) <= FEW:
            return self._fast(windows if self._own.window > 1 else windows[:, 0], codes)
        return self._answer(windows, codes, rng)

    def _codes(
        self, batch: Any, state: Any, episode_start: ArrayLike | None, count: int
    ) -> tuple[NDArray[np.float32], Floats | None, NDArray[np.bool_]]:
        """Return each environment's code, its whole state if there is one, and whether its episode continues."""
        size, whole = self._layout.code_size, self._layout.size
        continuing = np.ones(count, bool)
        if episode_start is not None:
            starts = np.asarray(episode_start, dtype=bool)
            if starts.shape not in ((), (1,), (count,)):
                raise InputError(f"episode_start has shape {starts.shape}; give one for each of {count} observations")
            continuing = ~np.broadcast_to(starts, (count,))
        states: Floats | None = None
        codes = np.zeros((count, size), np.float32)
        if state is not None:
            rows = np.asarray(state)
            if rows.dtype.kind not in "fiu" or rows.shape not in ((size,), (count, size), (whole,), (count, whole)):
                code = f"a code ({size},), as from policy.code(0), or " if size else ""
                raise InputError(
                    f"the state has shape {rows.shape}; give {code}the state that predict returned, {whole} numbers "
                    f"for each of the {count} observations, or None"
                )
            rows = np.broadcast_to(rows, (count, rows.shape[-1]))
            if not np.isfinite(rows[continuing]).all():
                raise InputError("the state has values that are not finite; give what predict returned, or None")
            codes[:] = rows[:, :size]
            if rows.shape[1] == whole:
                states = rows
        if self.chosen_code is not None:
            codes[:] = self.chosen_code
        elif self.prior is not None:
            new = ~continuing if state is not None else np.ones(count, bool)
            if new.any():
                codes[new] = self._draw_codes(batch, new)
            if state is not None and not (known := self.prior.has(codes)).all():
                raise InputError(
                    f"the state has the code {codes[~known][0].tolist()}, which is none; give policy.code(0), or the "
                    "state that predict returned"
                )
        return codes, states, continuing & (states is not None)

    def _draw_codes(self, batch: Any, new: NDArray[np.bool_]) -> Floats:
        """Return codes for the episodes that start, (starting, code size), by the gate or from the prior."""
        assert self.prior is not None
        if self.start_gate is None or not isinstance(self.prior, Categorical):
            return self.prior.sample(int(new.sum()), self._rng)
        likely = self.start_gate.probabilities(self._features(apply(lambda array: array[new], batch)).astype(float))
        drawn = (np.log(likely) + self._rng.gumbel(size=likely.shape)).argmax(axis=1)
        return np.eye(self.prior.size, dtype=np.float32)[drawn]

    def start_probabilities(self, observations: Any) -> Floats:
        """Return how likely each code is at the first observations of episodes (n, ...), (n, codes).

        Raises:
            InputError: the policy has no discrete codes.
        """
        prior = self.discrete_prior
        if self.start_gate is None:
            return np.full((count_steps(observations), prior.size), 1 / prior.size)
        if self.rotations is not None:
            observations = self.rotations.encode_observations(observations)
        return self.start_gate.probabilities(self._features(observations).astype(np.float64))


def _windows(batch: Any, past: Any) -> Any:
    """Return windows (n, window, ...) from current observations (n, ...) and past ones (n, window - 1, ...)."""
    if isinstance(batch, dict):
        return {name: _windows(array, None if past is None else past[name]) for name, array in batch.items()}
    current = batch[:, None]
    return current if past is None else np.concatenate([past, current], axis=1)
