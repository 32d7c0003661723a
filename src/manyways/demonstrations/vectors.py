"""Demonstrations as vectors, for words and pictures: what columns are called, their spread, values at given times."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.cleaning import full_name
from manyways.demonstrations.observations import entries, flat
from manyways.demonstrations.trajectories import Demonstrations

Floats = NDArray[np.floating[Any]]

_ROWS = 100_000  # from which the columns' spread is measured


def identities_of(demonstrations: Demonstrations) -> tuple[str, ...]:
    """Return what each trajectory is called: its identity, or its place where there are none."""
    return demonstrations.identities or tuple(map(str, range(len(demonstrations))))


def column_names(demonstrations: Demonstrations, what: str) -> list[str]:
    """Return what the columns of `Demonstrations.vectors` ("observations") or `action_vectors` ("actions") are called.

    The columns of an image, and of a choice, are numbered. A name that occurs once stands alone.
    """
    given = [column for columns in (demonstrations.names or {}).values() for column in columns]
    arrays: list[tuple[str, Any]] = [("", demonstrations.actions)]
    width = demonstrations.action_vectors(slice(0, 1)).shape[1]
    if what == "observations":
        arrays = list(entries(demonstrations.observations))
        width = demonstrations.vectors(slice(0, 1)).shape[1]
    found: list[str] = []
    for name, array in arrays:
        whole = f"{what} {name}".strip()
        columns = array.shape[1] if array.ndim == 2 and array.dtype.kind == "f" else 0
        if not columns:
            found += [f"{whole} {place}" for place in range(width if len(arrays) == 1 else flat(array[:1]).shape[1])]
        own = (demonstrations.names or {}).get(whole.replace(" ", "/", 1), ("",) * columns)
        for place in range(columns):
            alone = own[place] and given.count(own[place]) == 1
            found.append(own[place] if alone else full_name(demonstrations.names, whole, place))
    return found if len(found) == width else [f"{what} {place}" for place in range(width)]


def spread(demonstrations: Demonstrations) -> tuple[Floats, Floats]:
    """Return the standard deviations of observation and action vectors; infinite for constant columns."""
    rows = np.arange(0, demonstrations.steps, max(1, demonstrations.steps // _ROWS))
    found = []
    for vectors in (demonstrations.vectors(rows), demonstrations.action_vectors(rows)):
        deviations = vectors.std(axis=0, dtype=np.float64)
        scale = np.abs(vectors).max(axis=0)
        found.append(np.where(deviations > 1e-6 * scale, deviations, np.inf))
    return found[0], found[1]


def at_times(values: Floats, times: Floats) -> Floats:
    """Return a trajectory's values (steps, n) at normalised times (t,) from 0 to 1, (t, n), between steps linearly."""
    places = times * (len(values) - 1)
    low = np.minimum(places.astype(np.int64), len(values) - 2)
    weight = (places - low)[:, None]
    return (1 - weight) * values[low] + weight * values[low + 1]
