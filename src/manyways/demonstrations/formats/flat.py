"""Flat arrays, all episodes end to end, as NPZ and HDF5 files hold them: where episodes end, and what is what.

D4RL marks ends by `terminals` and `timeouts`, Stable-Baselines by `dones` or `episode_starts`, others by
`episode_ends`, and the imitation library by `indices`.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import require_memory
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.stored import stretches
from manyways.errors import InputError

Headers = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and type of each array."""

OBSERVATIONS = ("observations", "states", "obs")
ACTIONS = ("actions", "acts", "action")
ENTRY = "observations/"  # before the names of a dictionary's entries
OF_MODES = ("known_modes", "same", "different")  # what somebody knows of trajectories' modes, and training keeps
_FLAGS = ("terminals", "timeouts", "dones", "done")  # true at an episode's last step
_STARTS = ("episode_starts",)  # true at its first step
_ENDS = ("episode_ends",)  # one past its last step
_INDICES = ("indices",)  # the first step of each episode but the first one
ENDINGS = (*_FLAGS, *_STARTS, *_ENDS, *_INDICES)
_ABOUT = (ENTRY, "names/", "attributes/", "metadata/")
_KNOWN = {"rewards", "rews", "next_observations", "terminal"}  # what such files hold besides, without a word on it


def is_flat(headers: Headers) -> bool:
    """Return whether one of these arrays says in one of these ways where episodes end."""
    return "lengths" not in headers and any(
        name in headers and (len(headers[name][0]) == 1 or headers[name][0][1:] == (1,)) for name in ENDINGS
    )


def contents(
    path: Path,
    headers: Headers,
    read: Callable[[str], NDArray[Any]],
    stored: int,
) -> Contents:
    """Return what arrays end to end offer.

    Args:
        path: of the file.
        headers: shape and type of each array.
        read: returns one of them.
        stored: bytes on the disk.

    Raises:
        InputError: arrays are missing or do not fit.
    """
    observations = [name for name in OBSERVATIONS if name in headers][:1]
    observations = observations or [name for name in headers if name.startswith(ENTRY)]
    actions = [name for name in ACTIONS if name in headers][:1]
    for what, found in (("observations", observations), ("actions", actions)):
        if not found:
            raise InputError(f"{path} has no array {what}; it holds {listed(list(headers))}: rename or add it")
    steps = headers[actions[0]][0][0] if headers[actions[0]][0] else 0
    for name in (name for name in (*actions, *ENDINGS) if name in headers):  # before the ends are read
        shape, dtype = headers[name]
        require_memory(math.prod(shape) * dtype.itemsize, f"{name} of {path}", stored)
    notes: list[str] = []
    ends = _ends(path, headers, read, steps, notes)
    lengths = np.diff(ends, prepend=0)
    extra = {name: _extra(path, name, headers[name][0], steps, len(lengths)) for name in (*observations, *actions)}
    for name, (shape, dtype) in headers.items():  # what may be chosen besides, such as infos/qpos
        own = shape[:1] in ((steps,), (steps + len(lengths),)) and dtype.kind in "fiub"
        if own and name not in extra and name not in (*ENDINGS, *OF_MODES, "modes") and not name.startswith(_ABOUT):
            extra[name] = shape[0] != steps
    entries = {
        name.removeprefix(ENTRY): Entry(shape[1:], dtype) for name, (shape, dtype) in headers.items() if name in extra
    }

    def read_entries(names: Any, episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        arrays = {}
        for name in names:
            full = name if name in headers else ENTRY + name
            # Where each episode has an observation more, those before it shift it by one each.
            starts = ends[episodes] - lengths[episodes] + (episodes if extra[full] else 0)
            arrays[name] = stretches(read(full), starts, lengths[episodes])
        return arrays

    used = {*observations, *actions, *ENDINGS, *_KNOWN, *OF_MODES, "modes"}
    return Contents(
        path,
        entries,
        tuple(name.removeprefix(ENTRY) for name in observations),
        tuple(actions),
        lengths,
        read_entries,
        form="dictionary" if observations[0].startswith(ENTRY) else "array",
        ignored=tuple(name for name in headers if name not in used and not name.startswith(_ABOUT)),
        notes=tuple(notes),
        stored=stored,
    )


def _ends(
    path: Path, headers: Headers, read: Callable[[str], NDArray[Any]], steps: int, notes: list[str]
) -> NDArray[np.int64]:
    """Return one past the last step of each episode, the last one being `steps`; add what is odd to `notes`."""
    flags = [name for name in _FLAGS if name in headers]
    if flags:
        last = np.zeros(steps, bool)
        for name in flags:
            last |= _flags(path, name, read(name), steps)
        ends = np.flatnonzero(last) + 1
    elif name := next((name for name in _STARTS if name in headers), ""):
        flags = [name]
        ends = np.flatnonzero(_flags(path, name, read(name), steps)[1:]) + 1
    else:
        name = next(name for name in (*_ENDS, *_INDICES) if name in headers)
        ends = read(name)
        if ends.dtype == bool:
            ends = np.flatnonzero(_flags(path, name, ends, steps)) + 1
    if flags and not len(ends):
        notes.append(f"{' and '.join(flags)} in {path} mark no end, so its {steps:,} steps are one trajectory")
    if ends.ndim != 1 or ends.dtype.kind not in "iu":
        raise InputError(
            f"{name if not flags else flags[0]} in {path} are {ends.dtype} of shape {ends.shape}; "
            "give whole numbers, one an episode"
        )
    ends = ends.astype(np.int64)
    if len(ends) and (ends[0] < 0 or ends[-1] > steps or bool((np.diff(ends) < 0).any())):
        raise InputError(
            f"the episodes of {path} end at {listed(ends.tolist(), 4)}, but there are {steps:,} actions; "
            "give ends in order"
        )
    if "episode_ends" in headers and not flags and len(ends) and ends[-1] != steps:
        raise InputError(f"the last episode of {path} ends at {ends[-1]:,}, but there are {steps:,} actions; cut them")
    return ends if len(ends) and ends[-1] == steps else np.append(ends, steps)


def _flags(path: Path, name: str, values: NDArray[Any], steps: int) -> NDArray[np.bool_]:
    if values.dtype.kind not in "biuf" or values.size != steps:
        raise InputError(
            f"{name} in {path} are {values.dtype} of shape {values.shape}; give a flag for each of the "
            f"{steps:,} actions"
        )
    return values.reshape(-1) != 0


def _extra(path: Path, name: str, shape: tuple[int, ...], steps: int, episodes: int) -> bool:
    """Return whether an array has one row more an episode than there are actions."""
    rows = shape[0] if shape else 0
    if rows == steps + episodes and rows != steps and name not in ACTIONS:
        return True
    if rows != steps or not shape:
        raise InputError(
            f"{name} in {path} has {rows:,} rows, but there are {steps:,} actions in {episodes:,} episodes; give an "
            "observation for each action, and at most one after the last of each episode"
        )
    return False
