"""A folder of NPY files, one for each array of an NPZ file: an NPZ file unpacked.

The arrays stay on the disk and are read by rows, so a set may be much larger than the memory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from manyways.demonstrations.formats import npz
from manyways.demonstrations.formats.arrays import Trajectories
from manyways.demonstrations.formats.contents import Contents
from manyways.demonstrations.formats.flat import ACTIONS
from manyways.demonstrations.formats.reading import files_in, input_errors
from manyways.demonstrations.stored import blocks
from manyways.errors import InputError
from manyways.files import replacing, require_empty

_SUFFIX = ".npy"


def recognises(path: Path) -> bool:
    """Return whether this is a folder with actions in an NPY file."""
    return any((path / f"{name}{_SUFFIX}").is_file() for name in ACTIONS)


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a folder.

    Raises:
        InputError: a file is damaged or leads out of the folder, or the arrays do not fit.
    """
    with input_errors(path, "folder of NPY files"):
        arrays = _Folder(path)
        stored = sum(file.stat().st_size for file in arrays.files.values())
        yield replace(npz.contents_of(arrays, stored), mapped=True)


class _Folder(npz.Arrays):
    """The files of a folder; what has a row for each step stays on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = {
            file.relative_to(path).as_posix().removesuffix(_SUFFIX): file for file in files_in(path, f"**/*{_SUFFIX}")
        }
        self.headers = {}
        for name, file in self.files.items():
            self.headers[name] = _header(file)

    def read(self, name: str) -> NDArray[Any]:
        """Return an array; one of steps is mapped to its file."""
        self.require_plain(name)
        array: NDArray[Any] = np.load(self.files[name], mmap_mode="r", allow_pickle=False)
        return array if array.ndim > 1 or name in ACTIONS else np.array(array)


def _header(file: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type of a file's array, which must have just the size that they mean."""
    if not file.is_file():
        raise InputError(f"{file} is no file; remove it")
    with open(file, "rb") as stream:
        try:
            shape, dtype = npz.read_header(stream)
        except (ValueError, EOFError) as error:
            raise InputError(f"{file} is damaged ({error}); save it again with numpy.save") from error
        there = file.stat().st_size - stream.tell()
    claimed = int(np.prod([*map(int, shape), dtype.itemsize], dtype=object))
    if not dtype.hasobject and claimed != there:
        raise InputError(
            f"{file} claims the shape {shape}, {claimed:,} bytes, but has {there:,}; save it again with numpy.save"
        )
    return shape, dtype


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write trajectories block by block, with labels where there are any.

    Raises:
        InputError: the folder holds something, or a name cannot be that of a file.
    """
    require_empty(path)
    arrays = npz.arrays_of(trajectories, modes)
    for name in arrays:
        if PurePosixPath(name).as_posix() != name or ".." in name.split("/") or "\\" in name or "\0" in name:
            raise InputError(f"{name!r} cannot be the name of a file; rename it, or write NPZ")
    with replacing(path) as partial:
        partial.mkdir()
        for name, array in arrays.items():
            file = partial / f"{name}{_SUFFIX}"
            file.parent.mkdir(parents=True, exist_ok=True)
            _write_array(file, array)


def _write_array(file: Path, array: Any) -> None:
    dtype = array.dtype.newbyteorder("=")
    with open(file, "wb") as stream:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(array.shape)}
        npy.write_array_header_2_0(stream, header)
        for _, block in blocks(array):
            stream.write(np.ascontiguousarray(block, dtype=dtype).data)
        stream.flush()
        os.fsync(stream.fileno())
