"""Which demonstrations are held out of training, to measure the loss on."""

import math

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations

_LEAST_TO_HOLD_OUT = 20  # trajectories
_MANY_ALIKE = 10  # trajectories of a known mode, of which one at least is held out


def hold_out(demonstrations: Demonstrations, share: float, seed: int) -> tuple[Demonstrations, Demonstrations | None]:
    """Return the demonstrations to learn from, and those to measure the loss on; None where none are held out.

    The arguments are those of `held_out_of`.
    """
    chosen = held_out_of(demonstrations, share, seed)
    if not len(chosen):
        return demonstrations, None
    others = np.setdiff1d(np.arange(len(demonstrations)), chosen)
    return demonstrations.select(others), demonstrations.select(chosen)


def held_out_of(demonstrations: Demonstrations, share: float, seed: int) -> NDArray[np.int64]:
    """Return which trajectories are held out, in ascending order.

    They are those that the data declares for it (robomimic's mask `valid`), or else drawn, of 20 trajectories or more.
    Where modes are known (`Demonstrations.labels`), the same share of each is drawn, and of the trajectories without
    one; at least one of ten or more.

    Args:
        demonstrations: of any lengths.
        share: of the trajectories to draw, rounded up; 0 holds none out.
        seed: of the draw.
    """
    count, declared = len(demonstrations), (demonstrations.attributes or {}).get("mask valid")
    if share and declared is not None:
        chosen = np.flatnonzero(np.asarray(declared).astype(bool))
        if 0 < len(chosen) < count:
            return chosen
    if not share or count < _LEAST_TO_HOLD_OUT:
        return np.zeros(0, np.int64)
    order, wanted = np.random.default_rng(seed).permutation(count), math.ceil(share * count)
    if demonstrations.labels is not None:
        turns = _turns(demonstrations.labels[order])
        order, wanted = order[np.argsort(turns, kind="stable")], max(wanted, int((turns == 0).sum()))
    return np.sort(order[:wanted])


def _turns(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return when each of some trajectories is drawn, 0 to 1, so that all labels are drawn evenly, (trajectories,).

    The first of a label with ten or more comes at 0.
    """
    turns = np.empty(len(labels))
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turns[own] = (np.arange(len(own)) + 0.5) / len(own)
        if len(own) >= _MANY_ALIKE:
            turns[own[0]] = 0
    return turns
