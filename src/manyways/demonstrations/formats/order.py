"""In which order the rows of an episode were made: a counter or a clock says it, where they lie in another one."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import as_words
from manyways.demonstrations.formats.contents import Entry
from manyways.demonstrations.formats.selection import listed
from manyways.errors import InputError

_CLOCKS = ("frame_index", "step", "timestep", "frame", "timestamp", "time", "t")  # the most trustworthy first
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d\S*)?")  # such words are in the order of time

Integers = NDArray[np.int64]


def clocks_in(entries: Mapping[str, Entry], episode: str | None = None) -> list[str]:
    """Return the names of the columns that may say the order of rows, the most trustworthy first; not `episode`."""
    found = [n for n, entry in entries.items() if n.lower() in _CLOCKS and not entry.shape and n != episode]
    return sorted(found, key=lambda name: _CLOCKS.index(name.lower()))


def in_time(
    path: Path, clocks: Mapping[str, NDArray[Any]], lengths: Integers, identities: Sequence[str]
) -> tuple[Integers | None, str, list[str]]:
    """Return how rows are brought into the order of time, which clock says it, and in which episodes it differs.

    Args:
        path: of the data set, for an error.
        clocks: columns (steps,), the rows of an episode one after the other. The first clear one decides.
        lengths: (episodes,), how many rows each has.
        identities: (episodes,).

    Returns:
        The places of the rows in their order, (steps,), None where they are in it; the clock's name, "" without one;
        the identities of the episodes whose rows move.

    Raises:
        InputError: rows are out of order, and no clock says clearly how they lie.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    same = owners[1:] == owners[:-1]
    unclear = ""
    for name, cells in clocks.items():
        values = _times(cells)
        if values is None or not (same & (values[1:] != values[:-1])).any():
            continue
        mixed = np.unique(owners[1:][same & (values[1:] < values[:-1])])
        if not len(mixed):
            return None, name, []
        order = np.lexsort((values, owners))
        twice = same & (values[order][1:] == values[order][:-1]) & np.isin(owners[1:], mixed)
        if not twice.any():
            return order, name, [identities[episode] for episode in mixed]
        place = int(np.argmax(twice))
        unclear = unclear or (
            f"the rows of the episode {identities[owners[place]]} in {path} are not in the order of {name}, and two of "
            f"them have the same {name} {cells[order[place]]}; give each row its own, each take an episode of its own, "
            f"or rename {name} if it is no counter and no clock"
        )
    if unclear:
        raise InputError(unclear)
    return None, "", []


def moved(path: Path, clock: str, episodes: Sequence[str]) -> str:
    """Return the sentence that warns of episodes whose rows were sorted."""
    which = f"the episode{'s' * (len(episodes) > 1)} {listed(episodes, 3)}"
    return f"the rows of {which} in {path} are not in the order of {clock}; they were sorted by it"


def _times(cells: NDArray[Any]) -> NDArray[Any] | None:
    """Return values that can be compared; None where a cell says no time."""
    if cells.dtype.kind == "O":
        words = as_words(cells)
        return words if all(_DATE.match(word) for word in words.tolist()) else None
    if cells.dtype.kind not in "iuf" or not np.isfinite(cells).all():
        return None
    return cells
