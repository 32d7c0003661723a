"""The arrays that every format is read into, and checks that the formats share."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.observations import Observations, apply
from manyways.demonstrations.pairs import Pairs
from manyways.demonstrations.stored import stretches
from manyways.errors import InputError

Names = Mapping[str, tuple[str, ...]]
"""Of the columns of each array: "observations" or "observations/ENTRY", and "actions"."""
Attributes = Mapping[str, NDArray[Any]]
"""By name, what is known of each trajectory, (trajectories,): whole numbers, real numbers or words."""

_SMALL = 10**9  # bytes that may be taken without asking what they weigh on the disk
_GREATEST_RATIO = 1100  # deflate, the strongest that NPZ and HDF5 have by default, reaches 1032 on zeros


class Trajectories(NamedTuple):
    """The fields of `Demonstrations`, in the same order."""

    observations: Observations
    actions: NDArray[Any]
    lengths: NDArray[np.int64]
    choices: tuple[int, ...] | None = None
    names: Names | None = None
    identities: tuple[str, ...] | None = None
    attributes: Attributes | None = None
    labels: NDArray[np.int64] | None = None
    pairs: Pairs | None = None

    def select(self, trajectories: NDArray[np.integer[Any]]) -> "Trajectories":
        """Return the trajectories at these indices (n,), in this order."""
        starts, lengths = np.cumsum(self.lengths) - self.lengths, self.lengths
        own = np.asarray(trajectories, np.int64)
        identities, attributes, labels = self.identities, self.attributes, self.labels
        return Trajectories(
            apply(lambda array: stretches(array, starts[own], lengths[own]), self.observations),
            stretches(self.actions, starts[own], lengths[own]),
            lengths[own],
            self.choices,
            self.names,
            None if identities is None else tuple(identities[index] for index in own),
            None if attributes is None else {name: values[own] for name, values in attributes.items()},
            None if labels is None else labels[own],
            None if self.pairs is None else self.pairs.select(own),
        )


def rows_of_trajectories(lengths: NDArray[np.int64], trajectories: Iterable[Any]) -> NDArray[np.int64]:
    """Return the rows of these trajectories, one after the other, where trajectories of `lengths` lie end to end."""
    starts = np.cumsum(lengths) - lengths
    rows = [np.arange(starts[index], starts[index] + lengths[index]) for index in trajectories]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)


def column_names(name: str, size: int) -> tuple[str, ...]:
    """Return names for the columns of an array that has no names for them."""
    return (name,) if size == 1 else tuple(f"{name}.{column}" for column in range(size))


def as_text(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array in which bytes have become text; anything else as it is."""
    if values.dtype.kind != "S":
        return values
    return np.array([word.decode(errors="replace") for word in values.reshape(-1)], dtype=str).reshape(values.shape)


def is_missing(value: Any) -> bool:
    """Return whether a cell of a table or a label says nothing: it is empty, None, or NaN."""
    if isinstance(value, str | bytes):
        return not value.strip()
    if isinstance(value, list | tuple | np.ndarray):
        return False
    return value is None or str(value) in ("nan", "<NA>", "NaT")


def as_words(values: Iterable[Any]) -> NDArray[Any]:
    """Return cells as words, "" where one is missing."""
    return np.array(["" if is_missing(value) else str(value) for value in values], dtype=str)


def as_attributes(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """Return arrays (trajectories,) of what is known of each; what is missing is NaN among numbers and "" elsewhere."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        present = np.array([value for value in values if value is not None])
        if present.dtype.kind in "iufb":
            arrays[str(name)] = (
                present if len(present) == len(rows) else np.array([np.nan if v is None else float(v) for v in values])
            )
        else:
            arrays[str(name)] = np.array(["" if value is None else str(value) for value in values])
    return arrays


def as_modes(labels: NDArray[Any], trajectories: int, path: Path) -> NDArray[Any]:
    """Return labels as `load_modes` does.

    Raises:
        InputError: there is not one for each trajectory.
    """
    if labels.ndim == 2 and len(labels) == trajectories and labels.dtype.kind == "f":
        return labels.astype(np.float64)
    if labels.shape != (trajectories,):
        raise InputError(f"the modes for {path} have shape {labels.shape}; give one a trajectory, ({trajectories},)")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    labels = as_text(labels)
    missing = np.array([is_missing(label) for label in labels.tolist()], bool)
    if labels.dtype.kind == "f" and missing.any() and not np.any(labels % 1 > 0):
        return np.where(missing, -1, labels).astype(np.int64)  # whole numbers, and empty cells
    if labels.dtype.kind == "O":
        labels = as_words(labels)
    codes = np.full(trajectories, -1)
    codes[~missing] = np.unique(labels[~missing], return_inverse=True)[1]
    return codes.astype(np.int64)


def require_memory(size: int, what: str, stored: int | None = None) -> None:
    """Raise `InputError` where `size` bytes are more than this machine's memory, or than the file can mean.

    A header may claim any size, and a small archive may unpack to a large one. So call this before allocating.

    Args:
        size: in bytes, unpacked.
        what: the file, for the error.
        stored: its size on the disk in bytes, where that is known.
    """
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        memory = 2**40
    if size > memory:
        raise InputError(
            f"{what} would need {size / 1e9:,.1f} GB of memory, and this machine has {memory / 1e9:,.1f} GB; "
            "check the file, or give fewer trajectories"
        )
    if stored is not None and size > _SMALL and size > _GREATEST_RATIO * stored:
        raise InputError(
            f"{what} has {stored:,} bytes but would unpack to {size / 1e9:,.1f} GB, which is no real data; "
            "check where the file comes from"
        )


def without_last(array: NDArray[Any], length: int, what: str) -> NDArray[Any]:
    """Return the observations that have an action: all, or all but the one after the last action.

    Args:
        array: (length, ...) or (length + 1, ...).
        length: how many actions there are.
        what: the observations, for the error.

    Raises:
        InputError: there is another number of observations.
    """
    if len(array) - length not in (0, 1):
        raise InputError(
            f"{what} has {len(array):,} rows, but there are {length:,} actions; give an observation for each "
            "action, and at most one after the last"
        )
    return array[:length]
