"""Trajectories that cannot be learned from: too short, or with values that are not finite."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from manyways.demonstrations.formats.arrays import Names, Trajectories
from manyways.demonstrations.observations import entries
from manyways.demonstrations.stored import blocks

_MOST = 10  # bad trajectories that an error names; more would bury what to do


def find_bad(trajectories: Trajectories, places: Sequence[int] | None = None) -> dict[int, str]:
    """Return what is wrong with each bad trajectory, by its index, as a clause of a sentence.

    Args:
        trajectories: of which some may be bad.
        places: (trajectories,), by which they are called, such as their places in the file; their indices unless given.

    Nothing is found where rows and lengths do not fit together; `Demonstrations` refuses that with its own words.
    """
    lengths = trajectories.lengths
    arrays = [(f"observations {name}".strip(), array) for name, array in entries(trajectories.observations)]
    arrays.append(("actions", trajectories.actions))
    if not len(lengths) or lengths.min() < 0 or any(len(array) != lengths.sum() for _, array in arrays):
        return {}
    found = find_short(trajectories, places)
    ends = np.cumsum(lengths)
    for what, array in arrays:
        for row in _not_finite(array):
            index = int(np.searchsorted(ends, row, side="right"))
            if index not in found:
                place = [int(axis) for axis in np.argwhere(~np.isfinite(array[row]))[0]]
                column = column_name(trajectories.names, what, place)
                found[index] = (
                    f"{what} have {array[(row, *place)]} in {_called(trajectories, index, places)}, "
                    f"step {row - (ends[index] - lengths[index])}, column {column}"
                )
    return dict(sorted(found.items()))


def _not_finite(array: Any) -> Iterator[int]:
    """Yield the rows with a value that is not finite."""
    for start, block in blocks(array) if array.dtype.kind == "f" else ():
        finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
        yield from (start + np.flatnonzero(~finite)).tolist()


def find_short(trajectories: Trajectories, places: Sequence[int] | None = None) -> dict[int, str]:
    """Return the same of trajectories of less than two steps alone."""
    lengths = trajectories.lengths
    return {
        index: f"{_called(trajectories, index, places)} has length {lengths[index]}"
        for index in np.flatnonzero(lengths < 2).tolist()
    }


def _called(trajectories: Trajectories, index: int, places: Sequence[int] | None) -> str:
    identity = "" if trajectories.identities is None else f" ({trajectories.identities[index]})"
    return f"trajectory {index if places is None else places[index]}{identity}"


def column_name(names: Names | None, what: str, place: list[int]) -> str:
    """Return what a column is called: its name, or its place in the array `what`, such as "observations arm"."""
    columns = (names or {}).get(what.replace(" ", "/", 1))
    if columns is not None and len(place) == 1:
        return columns[place[0]]
    return str(place[0] if len(place) == 1 else tuple(place))


def full_name(names: Names | None, what: str, column: int) -> str:
    """Return the name of a column with its array, such as "observations 3" or "actions push"; once, if it says both."""
    name = column_name(names, what, [column])
    return name if name.startswith(what.split(" ")[0].removesuffix("s")) else f"{what} {name}"


def described(bad: dict[int, str]) -> str:
    """Return a list of what is wrong with bad trajectories for a sentence."""
    more = [f"and {len(bad) - _MOST:,} more"] if len(bad) > _MOST else []
    return "; ".join([*list(bad.values())[:_MOST], *more])
