"""Codes that change within a trajectory: the best path through the losses of its steps (Viterbi 1967).

It is the search of hard EM in a hidden Markov model whose emissions are the policy's. A change of code has a price.
"""

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**24  # values of losses in memory, padded to the longest trajectory of a part

Floats = NDArray[np.floating]


def best_paths(losses: Floats, lengths: NDArray[np.int64], price: float) -> NDArray[np.int64]:
    """Return the codes of all steps, (steps,), with the least sum of losses and of prices of changes.

    The result is exact. Time is linear in steps and codes.

    Args:
        losses: (steps, codes), of trajectories end to end.
        lengths: (trajectories,).
        price: of a change of code, in units of the losses.
    """
    count = losses.shape[1]
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    paths = np.empty(len(losses), np.int64)
    first = 0
    while first < len(order):
        longest = int(lengths[order[first]])
        part = order[first : first + max(1, _AT_ONCE // (longest * count))]
        _paths_of(losses, starts[part], lengths[part], price, paths)
        first += len(part)
    return paths


def _paths_of(
    losses: Floats, starts: NDArray[np.int64], lengths: NDArray[np.int64], price: float, paths: NDArray[np.int64]
) -> None:
    """Write the paths of some trajectories, the longest first, into `paths` (steps,)."""
    longest, codes = int(lengths[0]), np.arange(losses.shape[1])
    running = np.searchsorted(-lengths, -np.arange(longest), side="left")  # trajectories longer than each step's number
    totals = losses[starts].astype(np.float64)
    before = np.empty((longest, len(starts), len(codes)), np.int32)
    for step in range(1, longest):
        rows = running[step]
        stay, best = totals[:rows], totals[:rows].argmin(axis=1)
        change = stay[np.arange(rows), best][:, None] + price
        changes = change < stay
        before[step, :rows] = np.where(changes, best[:, None], codes)
        totals[:rows] = np.where(changes, change, stay) + losses[starts[:rows] + step]
    code = totals.argmin(axis=1)
    for step in range(longest - 1, -1, -1):
        rows = running[step]
        paths[starts[:rows] + step] = code[:rows]
        if step:
            code[:rows] = before[step, np.arange(rows), code[:rows]]


def segments_of(path: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return the first step, the step after the last, and the code of each stretch of a trajectory's path (steps,)."""
    edges = np.flatnonzero(np.diff(path)) + 1
    return [
        (int(first), int(last), int(path[first])) for first, last in zip([0, *edges], [*edges, len(path)], strict=True)
    ]


def count_changes(path: NDArray[np.int64], starts: NDArray[np.int64]) -> int:
    """Return how often the code changes within trajectories that begin at `starts`, in a path (steps,)."""
    changed = np.diff(path) != 0
    changed[starts[1:] - 1] = False
    return int(changed.sum())
