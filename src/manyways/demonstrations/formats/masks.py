"""Which steps of padded arrays (trajectories, steps, ...) are real: a mask, lengths, or rows of NaN say it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError

REAL = ("masks", "mask", "valid", "attention_mask")  # 1 where a step is real
PADDING = ("pad", "is_pad", "action_is_pad", "padding")  # 1 where it is not
NAMES = (*REAL, *PADDING)
_WORDS = {"mask", "masks", "pad", "pads", "padded", "padding"}

Bools = NDArray[np.bool_]


def require_clear(path: Path, shapes: Mapping[str, tuple[int, ...]], steps: tuple[int, ...]) -> None:
    """Raise `InputError` where an array looks like a mask, but may mean either: some call the padding `pad_mask`.

    Args:
        path: of the file.
        shapes: of the arrays that nothing else reads.
        steps: (trajectories, steps) of the actions.
    """
    for name, shape in shapes.items():
        if _WORDS & set(re.split("[^a-z]+", name.lower())) and shape in (steps, (*steps, 1)):
            raise InputError(
                f"{name} in {path} may say where a step is real or where it is padding; rename it to mask, 1 where a "
                "step is real, or to pad, 1 where it is padding"
            )


def of_mask(path: Path, name: str, values: NDArray[Any], steps: tuple[int, ...]) -> Bools:
    """Return which steps are real, (trajectories, steps), from an array of one of `NAMES`, perhaps below a group.

    Raises:
        InputError: it has another shape, other values than 0 and 1, or a gap in a trajectory.
    """
    if values.shape == (*steps, 1):
        values = values[..., 0]
    if values.shape != steps:
        raise InputError(f"{name} in {path} has shape {values.shape}; give {steps}, one a step")
    odd = np.ones(steps, bool) if values.dtype.kind not in "biuf" else ~np.isin(values, (0, 1))
    if odd.any():
        raise InputError(f"{name} in {path} has the value {values[odd][0]}; give 0 and 1 (or False and True) alone")
    real: Bools = values.astype(bool) ^ (name.rpartition("/")[2] in PADDING)
    begins = (np.diff(real, axis=1, prepend=False) & real).sum(axis=1)
    if (begins > 1).any():
        raise InputError(
            f"{name} in {path} has a gap in trajectory {int(np.argmax(begins > 1))}, and steps before and after it "
            "would become neighbours; split that trajectory"
        )
    return real


def require_upright(path: Path, name: str, real: Bools, arrays: Iterable[NDArray[Any]]) -> None:
    """Raise `InputError` where a mask seems inverted: all that is real stands still, and what is padding moves."""
    moves = False
    if not real.any() or real.all():
        return
    for array in arrays:
        if _moves(array, real):
            return
        moves = moves or _moves(array, ~real)
    if moves:
        raise InputError(
            f"{name} in {path} seems inverted: no step that it calls real differs from another of its trajectory, but "
            "those that it calls padding do; turn it round"
        )


def _moves(array: NDArray[Any], steps: Bools) -> bool:
    """Return whether values change within a trajectory at these steps."""
    array = np.asarray(array[:, : steps.shape[1]])
    first = array[np.arange(len(array)), steps.argmax(axis=1)][:, None]
    differs = array != first
    if array.dtype.kind == "f":
        differs &= ~(np.isnan(array) & np.isnan(first))
    return bool((differs.reshape(*steps.shape, -1).any(axis=2) & steps).any())


def of_lengths(path: Path, lengths: NDArray[Any], steps: tuple[int, ...]) -> Bools:
    """Return which steps are real, (trajectories, steps), where trajectories begin at the first step.

    Raises:
        InputError: there is not a length for each trajectory, or one is longer than the arrays.
    """
    if len(lengths) != steps[0] or (len(lengths) and not 0 <= int(lengths.min()) <= int(lengths.max()) <= steps[1]):
        known = f"{len(lengths):,} values, up to {lengths.max():,}," if len(lengths) else "no values"
        raise InputError(
            f"lengths in {path} has {known} for actions of {steps[0]:,} trajectories and {steps[1]:,} steps; "
            "give each trajectory's number of steps"
        )
    real: Bools = np.arange(steps[1]) < lengths.astype(np.int64)[:, None]
    return real


def of_nan(actions: NDArray[Any], observations: Iterable[NDArray[Any]]) -> Bools | None:
    """Return which steps are real where trajectories end in rows of NaN; None where they do not.

    The observation after the last action may be there.
    """
    if actions.dtype.kind != "f" or not actions.shape[1] or not np.isnan(actions[:, -1]).any():
        return None
    empty = np.isnan(actions).reshape(*actions.shape[:2], -1).all(axis=2)
    padding: Bools = np.logical_and.accumulate(empty[:, ::-1], axis=1)[:, ::-1]
    later = padding[:, 1:] & padding[:, :-1]
    for array in observations:
        if array.dtype.kind == "f":
            there = ~np.isnan(array[:, 1 : actions.shape[1]]).reshape(*later.shape, -1).all(axis=2)
            if (there & later).any():
                return None
    return ~padding
