"""Large sets of formats that can be read in parts: unpacked once into NPY files in the cache, and read from there.

Steps are drawn in any order, and a Parquet or HDF5 file can only be read in large pieces. The copy is the same numbers.
"""

import hashlib
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from manyways.demonstrations.formats import npy, npz
from manyways.demonstrations.formats.arrays import Trajectories, require_memory
from manyways.demonstrations.formats.contents import Contents, bytes_of_episodes
from manyways.demonstrations.formats.selection import Selection
from manyways.demonstrations.formats.streaming import streamed
from manyways.errors import InputError, WriteError
from manyways.files import cache_folder

LARGE = 2**30  # bytes in memory from which a set stays on the disk
_VERSION = 1  # of how a copy is made; another one makes it anew


def in_parts(contents: Contents, selection: Selection) -> Contents:
    """Return a data set that is read some episodes at a time, if it can be and what is selected is large.

    Raises:
        InputError: a single episode would not fit into memory.
    """
    if not contents.in_parts or contents.mapped:
        return contents
    sizes = bytes_of_episodes(contents, selection)
    if sizes.sum() < LARGE:
        return contents
    require_memory(sizes.max(), f"an episode of {contents.path}")
    return streamed(contents)


@contextmanager
def on_disk(contents: Contents, selection: Selection, trajectories: Trajectories) -> Iterator[Contents]:
    """Open the copy of trajectories that were assembled in parts; it is made unless it is there.

    Args:
        contents: the data set from which they come.
        selection: what was taken of it.
        trajectories: what to copy.

    Raises:
        InputError: the disk has no room for them.
        WriteError: the system refused to write; MANYWAYS_CACHE names another folder for copies.
    """
    source = cache_folder() / "unpacked" / _digest(contents.path.resolve())
    state = source / _digest(_VERSION, *_files(contents.path))
    folder = state / _digest(*sorted(selection.to_json().items()))
    if not npy.recognises(folder):
        _require_room(contents.path, sum(array.nbytes for array in npz.arrays_of(trajectories, None).values()))
        for old in source.iterdir() if source.is_dir() else ():
            if old != state:  # of files that have changed since
                shutil.rmtree(old, ignore_errors=True)
        warnings.warn(
            f"{contents.path} is large, so it is unpacked into {folder}, once; MANYWAYS_CACHE names another place",
            stacklevel=2,
        )
        try:
            npy.write(folder, trajectories, None)
        except (InputError, WriteError):
            if not npy.recognises(folder):  # else another process has made the same copy meanwhile
                raise
    with npy.contents(folder) as copy:
        yield replace(copy, path=contents.path)


def _require_room(path: Path, size: int) -> None:
    place = cache_folder().absolute()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise InputError(
            f"{path} would take {size / 1e9:,.1f} GB in {place}, where {free / 1e9:,.1f} GB are free; "
            "give fewer episodes or columns, or another place with MANYWAYS_CACHE"
        )


def _files(path: Path) -> list[tuple[str, int, int]]:
    """Return the name, the size and the time of change of each file."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [(file, file.stat()) for file in files if file.is_file()]
    return [(file.relative_to(path).as_posix(), state.st_size, state.st_mtime_ns) for file, state in found]


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
