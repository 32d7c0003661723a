"""Observations and actions as Gymnasium spaces, and these spaces as JSON for a policy's file."""

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from manyways.demonstrations.columns import limits
from manyways.demonstrations.observations import Observations
from manyways.errors import InputError

Space = gym.Space[Any]


class NamedBox(spaces.Box):
    """A box that knows what its columns are called; `names` is (columns,), or None."""

    names: tuple[str, ...] | None = None


MOST_CHOICES = 2**16  # of an action: a network has an output for each
_LARGEST = 2**27  # dimensions of an observation, or choices, that a file may claim


def observation_space(observations: Observations, names: Mapping[str, tuple[str, ...]] | None = None) -> Space:
    """Return the space of one step: an unbounded box, or a dictionary of boxes. Images (uint8) are from 0 to 255.

    Args:
        observations: (steps, ...), or a dictionary of such arrays.
        names: of the columns, by array, as in `Demonstrations`.
    """
    names = names or {}
    if isinstance(observations, Mapping):
        return spaces.Dict({name: _box(a, names.get(f"observations/{name}")) for name, a in observations.items()})
    return _box(observations, names.get("observations"))


def action_space(
    actions: NDArray[Any], choices: tuple[int, ...] | None = None, names: tuple[str, ...] | None = None
) -> Space:
    """Return the space of one step's action.

    Args:
        actions: real numbers (steps, n), an unbounded box; whole numbers (steps,), `Discrete`; or (steps, parts),
            `MultiDiscrete`.
        choices: how many there are for each part of a discrete action; None for as many as occur.
        names: of the columns of real numbers.

    Raises:
        InputError: there are too many choices.
    """
    if actions.dtype.kind == "f":
        return _box(actions, names)
    counts = np.atleast_1d(limits(actions)[1] + 1) if choices is None else np.array(choices)
    if sum(map(int, counts)) > MOST_CHOICES:
        raise InputError(
            f"an action is one of {max(map(int, counts)):,} choices, more than {MOST_CHOICES:,}; number those that "
            "occur from 0, or give numbers with a decimal point if they are no choices"
        )
    return spaces.Discrete(int(counts[0])) if actions.ndim == 1 else spaces.MultiDiscrete(counts)


def choices_of(space: Space) -> NDArray[np.int64] | None:
    """Return how many choices each part of a discrete action has, (parts,); None for an action of real numbers."""
    if isinstance(space, spaces.Discrete):
        return np.array([space.n], dtype=np.int64)
    if isinstance(space, spaces.MultiDiscrete):
        return np.asarray(space.nvec, dtype=np.int64)
    return None


def require_continuous(space: Space, algorithm: str) -> None:
    """Raise `InputError` where actions are choices, which `algorithm` cannot learn."""
    if choices_of(space) is not None:
        raise InputError(f"{algorithm} cannot learn discrete actions, but an action is {space}; take sog-bc, bc or mdn")


def box(size: int) -> spaces.Box:
    """Return the space of a vector of `size` real numbers."""
    return _unbounded((size,), np.float32)


def is_flat(space: Space) -> bool:
    """Return whether values of the space are vectors of real numbers."""
    return isinstance(space, spaces.Box) and len(space.shape) == 1


def entry_spaces(space: Space) -> dict[str, spaces.Box]:
    """Return the boxes of a dictionary by name; a box alone has the name "".

    Raises:
        InputError: the space is, or holds, something else than a box.
    """
    boxes: dict[str, Any] = dict(space.spaces) if isinstance(space, spaces.Dict) else {"": space}
    for name, box in boxes.items():
        if not isinstance(box, spaces.Box):
            where = f"the entry {name!r} of an observation" if name else "an observation"
            raise InputError(f"{where} is {box}; only boxes and dictionaries of boxes can be observed: convert it")
    return boxes


def fits(space: Space, other: Space) -> bool:
    """Return whether values of `space` have the shape of those of `other`; bounds and precision may differ.

    A discrete action of `space` may have fewer choices, since the last ones may be absent from demonstrations.
    """
    if isinstance(space, spaces.Dict) and isinstance(other, spaces.Dict):
        return space.keys() == other.keys() and all(fits(space[name], other[name]) for name in space)
    choices, others = choices_of(space), choices_of(other)
    if choices is not None and others is not None:
        return bool(space.shape == other.shape and np.all(choices <= others))
    return isinstance(space, spaces.Box) and isinstance(other, spaces.Box) and space.shape == other.shape


def require_same_names(own: Space, other: Space, what: str) -> None:
    """Raise `InputError` where columns of a policy's space, `own`, and of `what`, `other`, have names that differ."""
    if isinstance(own, spaces.Dict) and isinstance(other, spaces.Dict):
        for entry in own:
            require_same_names(own[entry], other[entry], what)
        return
    names, others = (getattr(space, "names", None) or () for space in (own, other))
    for name, theirs in zip(names, others, strict=False):
        if name != theirs:
            raise InputError(
                f"{what} has the column {theirs!r} where the policy has {name!r}; "
                "choose the same columns in the same order, or rename them"
            )


def describe(space: Space) -> str:
    """Return a short description of the space's values, for an error."""
    if isinstance(space, spaces.Dict):
        return "a dictionary of " + ", ".join(f"{name} {box.shape}" for name, box in space.items())
    choices = choices_of(space)
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n} choice{'s' if space.n != 1 else ''}"
    if choices is not None:
        return f"choices among {choices.tolist()}"
    return f"numbers of shape {space.shape}"


def to_json(space: Space) -> dict[str, Any]:
    """Return a description of the space for `from_json`."""
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "entries": {name: to_json(entry) for name, entry in space.items()}}
    choices = choices_of(space)
    if choices is not None:
        kind = "discrete" if isinstance(space, spaces.Discrete) else "multidiscrete"
        return {"kind": kind, "choices": choices.tolist()}
    names = getattr(space, "names", None)
    named = {} if names is None else {"names": list(names)}
    return {"kind": "box", "shape": list(space.shape or ()), "dtype": str(space.dtype)} | named


def from_json(value: Any) -> Space:
    """Return the space that `to_json` described.

    Raises:
        KeyError, TypeError, ValueError: this describes no space.
    """
    kind = value["kind"]
    if kind == "dict":
        return spaces.Dict({str(name): from_json(entry) for name, entry in value["entries"].items()})
    if kind in ("discrete", "multidiscrete"):
        choices = [int(number) for number in value["choices"]]
        if not 0 < sum(choices) <= _LARGEST or min(choices) < 1:
            raise ValueError(f"no action has {choices} choices")
        return spaces.Discrete(choices[0]) if kind == "discrete" else spaces.MultiDiscrete(choices)
    if kind != "box":
        raise ValueError(f"no space is of the kind {kind!r}")
    shape, dtype = tuple(int(size) for size in value["shape"]), np.dtype(str(value["dtype"]))
    if dtype.kind not in "fiu" or any(size < 1 for size in shape) or math.prod(shape) > _LARGEST:
        raise ValueError(f"no box has the shape {shape} and the type {dtype}")
    names = value.get("names")
    if names is not None and shape != (len(names),):
        raise ValueError(f"no box of shape {shape} has {len(names)} names")
    return _unbounded(shape, dtype, None if names is None else tuple(str(name) for name in names))


def with_columns(space: Space, entry: str, before: int, after: int, names: tuple[str, ...] | None) -> Space:
    """Return the space with a vector of `after` columns in place of one of `before`.

    Args:
        space: of a vector, or a dictionary of boxes.
        entry: of the dictionary; "" for a vector alone.
        before: how many columns the vector has.
        after: how many it has in the new space.
        names: of the new ones.

    Raises:
        ValueError: there is no such vector.
    """
    if entry and isinstance(space, spaces.Dict) and entry in space.spaces:
        changed = with_columns(space[entry], "", before, after, names)
        return spaces.Dict({name: changed if name == entry else box for name, box in space.items()})
    if entry or not isinstance(space, spaces.Box) or space.shape != (before,):
        raise ValueError(f"{describe(space)} has no {before} columns {entry}".rstrip())
    return _unbounded((after,), space.dtype, names)


def _box(array: NDArray[Any], names: tuple[str, ...] | None) -> spaces.Box:
    return _unbounded(array.shape[1:], array.dtype, names)


def _unbounded(shape: tuple[int, ...], dtype: Any, names: tuple[str, ...] | None = None) -> spaces.Box:
    # A box's bounds are arrays of its shape: for an image they should be bytes.
    if dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    if names is None:
        return spaces.Box(-np.inf, np.inf, shape, np.dtype(dtype).type)
    box = NamedBox(-np.inf, np.inf, shape, np.dtype(dtype).type)
    box.names = names
    return box
