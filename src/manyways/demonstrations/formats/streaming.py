"""Data sets of any format, some episodes at a time, so that memory does not grow with them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.contents import Contents
from manyways.demonstrations.formats.reading import input_errors
from manyways.demonstrations.stored import Stored, rows_at_once
from manyways.errors import InputError


def streamed(contents: Contents) -> Contents:
    """Return the same data set; what it reads stays on the disk until its rows are asked for."""

    def read(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, Any]:
        return {name: _entry(contents, name, episodes) for name in names}

    return replace(contents, read=read, mapped=True)


def _entry(contents: Contents, name: str, episodes: NDArray[np.int64]) -> Stored:
    """Return an entry of these episodes, end to end."""
    entry, lengths = contents.entries[name], contents.lengths[episodes]
    ends = np.cumsum(lengths)
    starts = ends - lengths

    def read(rows: Any) -> NDArray[Any]:
        wanted = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
        owners = np.searchsorted(ends, wanted, side="right")
        found = np.empty((len(wanted), *entry.shape), entry.dtype)
        for some in _parts(np.unique(owners), lengths, rows_at_once(entry.shape)):
            with input_errors(contents.path, "data set"):
                array = contents.read([name], episodes[some])[name]
            if not np.can_cast(array.dtype, entry.dtype, "same_kind"):
                raise InputError(f"{name} in {contents.path} has empty cells; fill them or leave those episodes out")
            own = np.isin(owners, some)
            first = np.cumsum(lengths[some]) - lengths[some]
            found[own] = array[first[np.searchsorted(some, owners[own])] + wanted[own] - starts[owners[own]]]
        return found

    return Stored(read, (int(lengths.sum()), *entry.shape), entry.dtype)


def _parts(episodes: NDArray[np.int64], lengths: NDArray[np.int64], rows: int) -> Iterator[NDArray[np.int64]]:
    """Yield some of the episodes after the other, of about so many rows each."""
    parts = np.cumsum(lengths[episodes]) // max(1, rows)
    yield from (part for part in np.split(episodes, np.flatnonzero(np.diff(parts)) + 1) if len(part))
