"""The steps around a step of the same trajectory: observations before it, actions after it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.trajectories import Demonstrations


def around(demonstrations: Demonstrations, rows: NDArray[np.integer[Any]], before: int, after: int) -> NDArray[Any]:
    """Return the rows from `before` steps before each of `rows` to `after` steps after it, (..., before + 1 + after).

    Before a trajectory's start its first row is repeated, after its end its last one.

    Args:
        demonstrations: of any lengths.
        rows: (...), of steps.
        before: steps before each.
        after: steps after each.
    """
    trajectories = demonstrations.trajectory_of(rows)
    first = demonstrations.starts[trajectories][..., None]
    last = first + demonstrations.lengths[trajectories][..., None] - 1
    return np.clip(rows[..., None] + np.arange(-before, after + 1), first, last)


def window_and_chunk(
    demonstrations: Demonstrations, rows: NDArray[np.integer[Any]], window: int, chunk: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rows of the observations that a policy sees at each of `rows`, and of the actions that it plans there.

    Args:
        demonstrations: of any lengths.
        rows: (...), of steps.
        window: observations, the current one included.
        chunk: actions, the current one included.

    Returns:
        (..., window) and (..., chunk); just (...) where the number is 1.
    """
    if window == chunk == 1:
        return rows, rows
    steps = around(demonstrations, rows, window - 1, chunk - 1)
    observed, planned = steps[..., :window], steps[..., window - 1 :]
    return observed[..., 0] if window == 1 else observed, planned[..., 0] if chunk == 1 else planned
