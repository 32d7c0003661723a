"""Diffusion Policy's replay buffers in zarr 2: data/ENTRY, all episodes end to end, and meta/episode_ends."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import require_memory, rows_of_trajectories
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import input_errors, require_package, stored_size
from manyways.demonstrations.formats.selection import listed
from manyways.errors import InputError

_ENDS = "meta/episode_ends"
_HEADER = "/.zarray"
# A codec such as "pickle" runs what it reads; these only unpack bytes.
_COMPRESSORS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"}


def recognises(path: Path) -> bool:
    """Return whether this is a zarr store, a folder or a .zip."""
    if path.is_dir():
        return any((path / name).is_file() for name in (".zgroup", "zarr.json", _ENDS + _HEADER))
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith((".zgroup", ".zarray")) for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a store.

    Raises:
        InputError: it is damaged, of another version, or holds what could run code.
    """
    with input_errors(path, "zarr store"):
        stored = stored_size(path) if path.is_dir() else path.stat().st_size
        root, headers = _folder_headers(path) if path.is_dir() else _zip_headers(path)
        if _ENDS not in headers:
            raise InputError(f"{path} has no {_ENDS}; give a replay buffer of zarr version 2 with data/ and meta/")
        entries, ignored = {}, []
        for name, header in headers.items():
            if not name.startswith("data/"):
                continue
            entry = _entry(header)
            if entry is None:
                ignored.append(name.removeprefix("data/"))
            else:
                entries[name.removeprefix("data/")] = entry
        if _entry(headers[_ENDS]) is None:
            raise InputError(f"{_ENDS} of {path} are no plain numbers ({_problem(headers[_ENDS])}); save them again")
        with _opened(path, root) as read_array:

            def plain(name: str) -> NDArray[Any]:
                header = headers[name]
                size = max(math.prod(header["shape"]), math.prod(header["chunks"])) * np.dtype(header["dtype"]).itemsize
                require_memory(size, f"{name} of {path}", stored)
                return read_array(name)

            lengths = _lengths(path, plain(_ENDS), {n: headers[f"data/{n}"]["shape"] for n in entries})

            def read(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
                rows = rows_of_trajectories(lengths, episodes)
                return {name: plain(f"data/{name}")[rows] for name in names}

            actions = tuple(name for name in ("action", "actions") if name in entries)[:1]
            yield Contents(
                path,
                entries,
                tuple(name for name in entries if name not in actions),
                actions,
                lengths,
                read,
                ignored=tuple(ignored),
                stored=stored,
                in_parts=True,
            )


def _problem(header: dict[str, Any]) -> str:
    """Return why an array is not read; "" for a plain one."""
    dtype, compressor = header.get("dtype"), header.get("compressor")
    if not isinstance(dtype, str) or np.dtype(dtype).kind not in "fiub":
        return f"the type {dtype}"
    if header.get("filters"):
        return f"the filters {header['filters']}"
    if compressor is not None and compressor.get("id") not in _COMPRESSORS:
        return f"the compressor {compressor.get('id')}"
    return ""


def _entry(header: dict[str, Any]) -> Entry | None:
    """Return what an array holds; None where it is not read."""
    return (
        None
        if _problem(header) or not header["shape"]
        else Entry(tuple(header["shape"][1:]), np.dtype(header["dtype"]))
    )


def _lengths(path: Path, ends: NDArray[Any], shapes: dict[str, Sequence[int]]) -> NDArray[np.int64]:
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or bool((np.diff(ends.astype(np.int64), prepend=0) < 0).any()):
        raise InputError(f"{_ENDS} of {path} is {listed(ends.reshape(-1).tolist(), 4)}; give whole numbers in order")
    steps = int(ends[-1]) if len(ends) else 0
    for name, shape in shapes.items():
        if shape[0] != steps:
            raise InputError(
                f"data/{name} of {path} has {shape[0]:,} rows, but the last episode ends at {steps:,}; cut it"
            )
    return np.diff(np.concatenate([np.zeros(1, np.int64), ends.astype(np.int64)]))


def _folder_headers(path: Path) -> tuple[str, dict[str, Any]]:
    if (path / "zarr.json").is_file():
        raise InputError(f"{path} is of zarr version 3; replay buffers are of version 2: save it with zarr_format=2")
    places = [*path.glob(f"data/*{_HEADER}"), *path.glob(f"meta/*{_HEADER}")]
    return "", {place.parent.relative_to(path).as_posix(): json.loads(place.read_text()) for place in sorted(places)}


def _zip_headers(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the folder of the store inside the archive, and the headers of its arrays."""
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        root = next((name.removesuffix(_ENDS + _HEADER) for name in names if name.endswith(_ENDS + _HEADER)), "")
        if any(file.getinfo(name).file_size > 2**20 for name in names if name.endswith(_HEADER)):
            raise InputError(f"{path} has a header of more than a megabyte, which is no real data; check its origin")
        headers = {
            name.removeprefix(root).removesuffix(_HEADER): json.loads(file.read(name))
            for name in sorted(names)
            if name.startswith(root) and name.endswith(_HEADER) and name.removeprefix(root).count("/") == 2
        }
    return root, headers


@contextmanager
def _opened(path: Path, root: str) -> Iterator[Callable[[str], NDArray[Any]]]:
    """Yield a function that reads an array of a store whose header has been checked."""
    zarr = require_package("zarr", path)
    store: Any = path if path.is_dir() else zarr.storage.ZipStore(path, mode="r")
    try:
        yield lambda name: np.asarray(zarr.open_array(store, path=root + name, mode="r", zarr_format=2)[...])
    finally:
        if store is not path:
            store.close()
