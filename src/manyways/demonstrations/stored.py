"""Arrays that stay on the disk: their rows are read when somebody asks for them.

A memory-mapped array is the whole file. `Stored` is what is made of it: some of its trajectories, another precision,
some of its columns. Both are read in blocks, so memory does not grow with the file.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VALUES = 2**24  # in a block, 128 MB in double precision; arrays of one block are measured as a whole


class Stored:
    """An array whose rows are read from the disk on demand.

    Args:
        read: takes a slice or an index array (n,), returns these rows (n, ...).
        shape: of the whole, (rows, ...).
        dtype: of its values.
    """

    def __init__(self, read: Callable[[Any], NDArray[Any]], shape: tuple[int, ...], dtype: Any) -> None:
        self._read = read
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """The size in memory, if it were there."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        """Return rows as an array in memory: by a number, a slice, an index array or a mask, and then other axes."""
        if isinstance(index, tuple):
            found = self[index[0]]
            every = (slice(None),) * (found.ndim - self.ndim + 1)
            return found[(*every, *index[1:])]
        if index is Ellipsis:
            index = slice(None)
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            return self._read(slice(first, last) if step == 1 else np.arange(first, last, step))
        rows = np.asarray(index)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        flat = rows.reshape(-1)
        return self._read(np.where(flat < 0, flat + len(self), flat)).reshape(*rows.shape, *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return everything as an array in memory."""
        return np.asarray(self[:], dtype=dtype)


def on_disk(array: Any) -> bool:
    """Return whether an array stays on the disk."""
    return isinstance(array, Stored | np.memmap)


def mapped(function: Callable[[NDArray[Any]], NDArray[Any]], *arrays: Any) -> Any:
    """Return a function of the rows of arrays, on demand where one of them stays on the disk.

    Args:
        function: takes these rows of each array, (n, ...), and returns as many rows. What it makes of a row must not
            depend on the others.
        arrays: of equally many rows.
    """
    if not any(on_disk(array) for array in arrays):
        return function(*arrays)

    def read(rows: Any) -> NDArray[Any]:
        return function(*(np.asarray(array[rows]) for array in arrays))

    first = read(slice(0, 1))
    return Stored(read, (len(arrays[0]), *first.shape[1:]), first.dtype)


def stretches(array: Any, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Any:
    """Return stretches of an array's rows, one after the other; on demand where it stays on the disk.

    Args:
        array: (rows, ...).
        starts: (stretches,), the first row of each.
        lengths: (stretches,), how many rows each has.
    """
    ends = np.cumsum(lengths)
    shifts = starts - (ends - lengths)  # from a row of the result to one of the array

    def rows_at(rows: Any) -> NDArray[np.int64]:
        return rows + shifts[np.searchsorted(ends, rows, side="right")]

    total = int(ends[-1]) if len(ends) else 0
    if not on_disk(array):
        return array[np.arange(total) + np.repeat(shifts, lengths)]

    def read(rows: Any) -> NDArray[Any]:
        if isinstance(rows, slice):
            if rows.stop <= rows.start:
                return np.asarray(array[:0])
            place = int(np.searchsorted(ends, rows.start, side="right"))
            if rows.stop <= ends[place]:  # of one stretch
                return np.asarray(array[rows.start + shifts[place] : rows.stop + shifts[place]])
            rows = np.arange(rows.start, rows.stop)
        return np.asarray(array[rows_at(rows)])

    return Stored(read, (total, *array.shape[1:]), array.dtype)


def blocks(array: Any, rows: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield an array's rows in blocks, each with the place of its first row.

    Args:
        array: (rows, ...), in memory or on the disk.
        rows: of a block; as many as have 2^24 values unless given.
    """
    at_once = rows or rows_at_once(array.shape[1:])
    for start in range(0, len(array), at_once):
        yield start, np.asarray(array[start : start + at_once])


def rows_at_once(shape: Sequence[int]) -> int:
    """Return how many rows of this shape are in memory at once."""
    return max(1, _VALUES // max(1, math.prod(shape)))
