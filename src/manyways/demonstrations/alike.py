"""What is given of several trajectories: whether they are alike (entries, shapes, an action a step), and labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.observations import count_steps, entries
from manyways.errors import InputError


def as_labels(labels: "ArrayLike | Mapping[str, int]", identities: tuple[str, ...]) -> NDArray[np.int64]:
    """Return a label for each trajectory, -1 where there is none; see `Demonstrations.with_labels`."""
    if isinstance(labels, Mapping):
        places = {name: place for place, name in enumerate(identities)}
        unknown = [name for name in map(str, labels) if name not in places]
        if unknown:
            raise InputError(f"there is no trajectory {unknown[0]!r} to label; it is one of {listed(list(places))}")
        given: Any = np.full(len(identities), -1)
        given[[places[str(name)] for name in labels]] = list(labels.values())
    else:
        given = np.asarray(labels)
    if given.dtype.kind not in "iu" or given.ndim != 1 or (len(given) and given.min() < -1):
        raise InputError("the labels are not whole numbers, one a trajectory; give 0, 1, ..., and -1 for unknown")
    return given.astype(np.int64)


def steps_of(observations: Any) -> int | None:
    """Return how many steps all entries have; None where they differ."""
    counts = {len(array) if array.ndim else 0 for _, array in entries(observations)}
    return counts.pop() if len(counts) == 1 else None


def require_alike(observations: list[Any], actions: list[NDArray[Any]], index: int) -> None:
    """Raise `InputError` unless the last trajectory has the entries and shapes of the first, and an action a step."""
    if isinstance(observations[-1], Mapping) != isinstance(observations[0], Mapping) or (
        isinstance(observations[0], Mapping) and observations[-1].keys() != observations[0].keys()
    ):
        raise InputError(f"the observations of trajectory {index} have other entries than those of trajectory 0")
    pairs = [("actions", actions[0], actions[-1])]
    pairs += [
        (f"observations {name}".strip(), first, last)
        for (name, first), (_, last) in zip(
            sorted(entries(observations[0])), sorted(entries(observations[-1])), strict=True
        )
    ]
    for name, first, last in pairs:
        if last.ndim == 0 or (last.ndim < 2 and not (name == "actions" and last.dtype.kind == "i")):
            raise InputError(
                f"the {name} of trajectory {index} have shape {last.shape}; they need two dimensions, (steps, columns)"
            )
        if name == "actions" and last.ndim > 2:
            raise InputError(
                f"the actions of trajectory {index} have shape {last.shape}; give one trajectory at a time, (steps, n)"
            )
        if last.shape[1:] != first.shape[1:]:
            sizes = [shape[0] if len(shape) == 1 else shape for shape in (last.shape[1:], first.shape[1:])]
            raise InputError(
                f"{name} have {sizes[0]} columns in trajectory {index}, but {sizes[1]} in trajectory 0; make them alike"
            )
    length = count_steps(observations[-1])
    if length != len(actions[-1]):
        raise InputError(
            f"trajectory {index} has {length} observations but {len(actions[-1])} actions; "
            "give one action an observation, and at most one observation after the last action"
        )
