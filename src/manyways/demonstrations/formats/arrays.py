"""The arrays that every format is read into, and checks that the formats share."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.observations import Observations
from manyways.errors import InputError


class Trajectories(NamedTuple):
    """The fields of `Demonstrations`, in the same order."""

    observations: Observations
    actions: NDArray[Any]
    lengths: NDArray[np.int64]
    choices: tuple[int, ...] | None = None


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
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def require_memory(size: int, what: str) -> None:
    """Raise `InputError` where `size` bytes are more than this machine's memory.

    A header may claim any size, and a small archive may unpack to a large one. So call this before allocating.
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
