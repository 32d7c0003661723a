"""A policy's state between two steps, one vector for each environment.

    the code | observations before the current one | actions that wait to be executed | how many of them there are

A policy with a window of one observation that executes one action has the code alone as its state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.observations import apply
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.errors import InputError

if TYPE_CHECKING:
    from manyways.policies.acting import Shape

Floats = NDArray[np.floating[Any]]


@dataclass(eq=False)
class Memory:
    """Past observations and waiting actions of n environments.

    Attributes:
        past: observations before the current one, (n, window - 1, ...), or a dictionary of such arrays.
        waiting: actions to execute, (n, executed, ...), of which the first `remaining` count.
        remaining: (n,), how many actions wait.
    """

    past: Any
    waiting: NDArray[Any]
    remaining: NDArray[np.int64]


class StateLayout:
    """The layout of a policy's state.

    Args:
        network: of the policy, or what it sees and does.
        code_size: dimensions of a code; 0 without codes.
    """

    def __init__(self, network: "Shape", code_size: int) -> None:
        self.code_size = code_size
        self._window, self._executed = network.window, network.executed
        self._boxes = entry_spaces(network.observation_space)
        self._is_dict = "" not in self._boxes
        space = network.action_space
        self._action_shape = tuple(space.shape or ())
        self._action_type: Any = space.dtype
        self.remembers = self._window > 1 or self._executed > 1
        self._past = (self._window - 1) * sum(int(np.prod(box.shape)) for box in self._boxes.values())
        self._waiting = (self._executed - 1) * int(np.prod(self._action_shape))
        self.size = code_size + (self._past + self._waiting + 1 if self.remembers else 0)

    def fresh(self, current: Any, count: int) -> Memory:
        """Return the memory at an episode's start: the current observation, repeated, is the past."""
        past = apply(lambda array: np.repeat(array[:, None], self._window - 1, axis=1), current)
        waiting = np.zeros((count, self._executed, *self._action_shape), self._action_type)
        return Memory(past, waiting, np.zeros(count, np.int64))

    def unpack(self, states: Floats, memory: Memory, continuing: NDArray[np.bool_]) -> None:
        """Write the rows of `states` (n, size) into `memory` for episodes that continue.

        Raises:
            InputError: a state is not from `pack`.
        """
        if not self.remembers or not continuing.any():
            return
        rows = states[continuing][:, self.code_size :]
        remaining = rows[:, -1]
        if not np.isin(remaining, np.arange(self._executed)).all():
            raise InputError("the state is not one that this policy's predict returned; give that, or None")
        start = 0
        for name, box in self._boxes.items():
            size = (self._window - 1) * int(np.prod(box.shape))
            part = rows[:, start : start + size].reshape(len(rows), self._window - 1, *box.shape)
            past = memory.past[name] if self._is_dict else memory.past
            past[continuing] = part
            start += size
        waiting = rows[:, start : start + self._waiting]
        memory.waiting[continuing, :-1] = waiting.reshape(len(rows), self._executed - 1, *self._action_shape)
        memory.remaining[continuing] = remaining

    def act_at_once(
        self, plan: Callable[[Floats, Floats], Floats], observation: Floats, state: Floats
    ) -> tuple[Floats, Floats]:
        """Return the action for one observation, and the next state; as the other methods do, without their checks.

        Args:
            plan: from a window (1, [window,] size) and a code (1, code size) to actions (1, executed, action size).
            observation: an array (size,).
            state: (state size,), from `pack`, or a code alone.
        """
        code = self.code_size
        if not self.remembers:
            return plan(observation[None], state[None])[0, 0], state
        actions, size = code + self._past, self._action_shape[0]
        if len(state) == code:
            past, remaining = np.tile(observation, self._window - 1), 0
        else:
            past, remaining = state[code:actions], int(state[-1])
        seen = np.concatenate([past, observation])
        following = np.empty(self.size, state.dtype)
        following[:code] = state[:code]
        following[code:actions] = seen[len(observation) :]
        if remaining:
            action = state[actions : actions + size].copy()
            following[actions : -1 - size] = state[actions + size : -1]
            following[-1 - size : -1] = 0
        else:
            remaining = self._executed
            window = seen.reshape(1, self._window, -1) if self._window > 1 else seen[None]
            planned = plan(window, state[None, :code])[0]
            action = planned[0]
            following[actions:-1] = planned[1:].reshape(-1)
        following[-1] = remaining - 1
        return action, following

    def pack(self, codes: Floats, windows: Any, memory: Memory) -> Floats:
        """Return the states (n, size) after a step, from codes (n, code size) and windows (n, window, ...)."""
        if not self.remembers:
            return codes
        count = len(codes)
        parts: list[NDArray[Any]] = [codes]
        for name in self._boxes:
            window = windows[name] if self._is_dict else windows
            parts.append(window[:, 1:].reshape(count, -1))
        parts += [memory.waiting[:, 1:].reshape(count, -1), memory.remaining[:, None] - 1]
        # In double precision if an observation or an action needs it.
        dtype = np.float64 if any(part.dtype == np.float64 for part in parts[1:-1]) else np.float32
        return np.concatenate(parts, axis=1, dtype=dtype)


def as_batch(observation: Any, space: Space, precise: bool) -> tuple[Any, int, bool]:
    """Return observations (n, ...), how many there are, and whether the input was a single one.

    Args:
        observation: one or many, of the space.
        space: of one observation.
        precise: whether double precision is needed.

    Raises:
        InputError: they have another shape, an entry is missing, or a value is not finite.
    """
    boxes = entry_spaces(space)
    if ("" in boxes) == isinstance(observation, dict):
        expected = "an array" if "" in boxes else f"a dictionary of {', '.join(boxes)}"
        raise InputError(f"the observation is a {type(observation).__name__}; this policy takes {expected}")
    arrays, counts = {}, set()
    for name, box in boxes.items():
        what = f"the entry {name!r} of the observation" if name else "the observation"
        if name and name not in observation:
            raise InputError(f"{what} is missing; it has {', '.join(observation) or 'nothing'}")
        array = _as_array(observation[name] if name else observation, box.dtype, precise, what)
        single = array.shape == box.shape
        if not single and array.shape[1:] != box.shape:
            raise InputError(
                f"{what} has shape {array.shape}; this policy acts on {box.shape} or (environments, "
                f"{', '.join(map(str, box.shape))})"
            )
        arrays[name] = array[None] if single else array
        counts.add((len(arrays[name]), single))
    if len(counts) > 1:
        raise InputError(
            "the entries of the observation are of different numbers of environments; give as many of each"
        )
    count, single = counts.pop()
    return (arrays if "" not in boxes else arrays[""]), count, single


def _as_array(value: ArrayLike, dtype: Any, precise: bool, what: str) -> NDArray[Any]:
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"of type {array.dtype}")
        whole = array.dtype.kind != "f"
        exact = array.dtype == np.uint8 or (precise and array.dtype == np.float64)
        array = array if exact and array.dtype in (dtype, np.float64) else array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} is a {type(value).__name__}, not numbers ({error}); give an array") from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{what} has {array[place]} at {place}; mend the environment, or reset it")
    if dtype == np.uint8 and array.dtype != np.uint8 and array.size:
        low, high = array.min(), array.max()
        if low < 0 or high > 255:
            raise InputError(f"{what} has values from {low:g} to {high:g}; give a picture of 0 to 255")
        return array.astype(np.uint8) if whole else array
    return array
