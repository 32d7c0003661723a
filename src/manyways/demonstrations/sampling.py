"""Parts of large sets, drawn at random: what they take does not grow with the set."""

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.trajectories import Demonstrations

_PERMUTED = 2**24  # rows; a permutation of more takes much memory


def some_trajectories(demonstrations: Demonstrations, most: int, values: int, seed: int) -> Demonstrations:
    """Return so many trajectories at most, and about so many values; and all that have a label or are in a pair.

    Args:
        demonstrations: of any lengths; all of them, if they are few enough.
        most: trajectories.
        values: of observations and actions together.
        seed: of the draw.
    """
    size = sum(array[:1].size for array in demonstrations.arrays.values())
    order = np.random.default_rng(seed).permutation(len(demonstrations))[:most]
    fits = int(np.searchsorted(np.cumsum(demonstrations.lengths[order]) * size, values, side="right"))
    if fits >= len(demonstrations):
        return demonstrations
    known = np.zeros(0, np.int64) if demonstrations.labels is None else np.flatnonzero(demonstrations.labels >= 0)
    tied = np.zeros(0, np.int64) if demonstrations.pairs is None else demonstrations.pairs.tied
    return demonstrations.select(np.union1d(order[: max(fits, 1)], np.union1d(known, tied)))


def some_rows(rng: np.random.Generator, count: int, most: int) -> NDArray[np.int64]:
    """Return at most so many different rows among `count`, (n,), in random order."""
    return rng.permutation(count)[:most] if count <= _PERMUTED else rng.choice(count, most, replace=False)
