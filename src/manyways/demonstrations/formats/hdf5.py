"""HDF5 files: what is safe to read in them; and flat arrays as D4RL keeps them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import flat
from manyways.demonstrations.formats.arrays import require_memory
from manyways.demonstrations.formats.contents import Contents
from manyways.demonstrations.formats.reading import input_errors, require_package
from manyways.demonstrations.formats.selection import listed
from manyways.errors import InputError

SUFFIXES = (".hdf5", ".h5", ".hdf")
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognises(path: Path) -> bool:
    """Return whether this is an HDF5 file, by its first bytes or its name."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE or path.suffix.lower() in SUFFIXES


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a file of flat arrays.

    Raises:
        InputError: it is damaged, or its arrays cannot be used.
    """
    with open_file(path) as file:
        arrays = datasets(file, path)
        if any(name.startswith("episode_0/") for name in arrays):
            raise InputError(f"{path} is a part of a Minari data set; give its folder")
        headers = {name: (dataset.shape, dataset.dtype) for name, dataset in arrays.items() if dataset.shape != ()}
        if not flat.is_flat(headers):
            raise InputError(
                f"{path} does not say where episodes end; give an array {listed(flat.ENDINGS)}, or groups data/demo_0 "
                f"and so on as robomimic does (it holds {listed(list(headers))})"
            )
        with input_errors(path, "HDF5 file"):
            yield flat.contents(path, headers, lambda name: read_array(arrays[name], path), path.stat().st_size)


@contextmanager
def open_file(path: Path, kind: str = "HDF5 file") -> Iterator[Any]:
    """Yield the open file, which is a `kind`, or a part of one.

    Raises:
        InputError: it is damaged, has links, or keeps numbers in another file.
    """
    h5py = require_package("h5py", path)
    with input_errors(path, kind), h5py.File(path, "r") as file:
        _require_own(file, path)
        yield file


def _require_own(file: Any, path: Path) -> None:
    """Raise `InputError` where something in a file is a link, or has its numbers elsewhere: that may be any file."""
    h5py = require_package("h5py", path)
    links: list[tuple[str, int]] = []
    file.id.links.visit(lambda name, info: links.append((name.decode(errors="replace"), info.type)), info=True)
    for name, kind in links:
        if kind != h5py.h5l.TYPE_HARD:
            raise InputError(f"{name} in {path} is a link, which may lead to another file; copy the data into this one")
        item = h5py.h5o.open(file.id, name.encode())
        if isinstance(item, h5py.h5d.DatasetID):
            layout = item.get_create_plist()
            if layout.get_external_count() or layout.get_layout() == h5py.h5d.VIRTUAL:
                raise InputError(f"{name} in {path} keeps its numbers in another file; copy them into this one")


def datasets(group: Any, path: Path, above: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Return the data sets below a group of a file, by their path from there; the group lies in those `above`.

    Raises:
        InputError: one holds nothing, or a group holds itself.
    """
    h5py = require_package("h5py", path)
    if group in above:
        raise InputError(f"the group {group.name} in {path} holds itself; remove that link")
    found: dict[str, Any] = {}
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            found |= {f"{name}/{inner}": part for inner, part in datasets(item, path, (*above, group)).items()}
        elif isinstance(item, h5py.Dataset):
            if item.shape is None:
                raise InputError(f"{name} in {path} holds nothing; fill it or leave it out")
            found[name] = item
    return found


def read_array(dataset: Any, path: Path) -> NDArray[Any]:
    """Return the numbers of a data set.

    Raises:
        InputError: it holds something else, or is cut short.
    """
    if dataset.dtype.kind not in "fiub":
        raise InputError(f"{dataset.name} in {path} is of type {dataset.dtype}, not real numbers; leave it out")
    if math.prod(dataset.shape) and dataset.chunks is None and dataset.id.get_storage_size() == 0:
        raise InputError(f"{dataset.name} in {path} claims the shape {dataset.shape}, but holds nothing; make it anew")
    require_memory(math.prod(dataset.shape) * dataset.dtype.itemsize, f"{dataset.name} of {path}", path.stat().st_size)
    return np.asarray(dataset[()])


def words(value: Any) -> Any:
    """Return an attribute of a file as a word or a number; None for anything else."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | int | float) else None
