"""Diffusion Policy's replay buffers in zarr 2 or 3: data/ENTRY, all episodes end to end, and meta/episode_ends."""

import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import require_memory
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import input_errors, require_package, stored_size
from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.stored import stretches
from manyways.errors import InputError

_ENDS = "meta/episode_ends"
_HEADERS = {2: "/.zarray", 3: "/zarr.json"}  # by zarr's version
_LARGEST_HEADER = 2**20  # bytes
# A codec such as "pickle" runs what it reads; these only unpack bytes.
_COMPRESSORS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"}
_CODECS = {"bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"}  # of version 3
_TYPES = {
    "bool",
    "float16",
    "float32",
    "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
}


@dataclass(frozen=True)
class Header:
    """What a store says of an array.

    Attributes:
        version: of zarr, 2 or 3.
        shape: of the whole.
        dtype: of its values.
        chunk: values in a chunk.
        problem: why it is not read; "" for a plain array.
    """

    version: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int
    problem: str

    @property
    def entry(self) -> Entry | None:
        """What the array holds; None where it is not read."""
        return None if self.problem or not self.shape else Entry(self.shape[1:], self.dtype)


def recognises(path: Path) -> bool:
    """Return whether this is a zarr store, a folder or a .zip."""
    if path.is_dir():
        ends = (_ENDS + header for header in _HEADERS.values())
        return any((path / name).is_file() for name in (".zgroup", "zarr.json", *ends))
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith((".zgroup", ".zarray", "zarr.json")) for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a store.

    Raises:
        InputError: it is damaged, or holds what could run code.
    """
    with input_errors(path, "zarr store"):
        stored = stored_size(path) if path.is_dir() else path.stat().st_size
        root, headers = _folder_headers(path) if path.is_dir() else _zip_headers(path)
        if _ENDS not in headers:
            raise InputError(f"{path} has no {_ENDS}; give a replay buffer with data/ and meta/, of zarr 2 or 3")
        entries, ignored = {}, []
        for name, header in headers.items():
            if not name.startswith("data/"):
                continue
            if header.entry is None or name.count("/") > 1:
                ignored.append(name.removeprefix("data/"))
            else:
                entries[name.removeprefix("data/")] = header.entry
        if headers[_ENDS].entry is None:
            raise InputError(f"{_ENDS} of {path} are no plain numbers ({headers[_ENDS].problem}); save them again")
        checked: set[str] = set()
        with _opened(path, root) as open_array:

            def plain(name: str, rows: slice) -> NDArray[Any]:
                header = headers[name]
                count = len(range(*rows.indices(header.shape[0])))
                size = max(count * math.prod(header.shape[1:]), header.chunk) * header.dtype.itemsize
                require_memory(size, f"{name} of {path}", stored)
                array = open_array(name, header.version)
                if name not in checked:
                    checked.add(name)
                    _warn_of_holes(path, name, array)
                return np.asarray(array[rows])

            shapes = {name: headers[f"data/{name}"].shape for name in entries}
            lengths = _lengths(path, plain(_ENDS, slice(None)), shapes)
            starts = np.cumsum(lengths) - lengths

            def read(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
                first, own = starts[episodes], lengths[episodes]
                rows = slice(int(first.min()), int((first + own).max())) if len(own) else slice(0, 0)
                return {name: stretches(plain(f"data/{name}", rows), first - rows.start, own) for name in names}

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


def _warn_of_holes(path: Path, name: str, array: Any) -> None:
    """Warn of chunks that are not there: zarr leaves out those of zeros, but a copy that broke off lacks them too."""
    absent = array.nchunks - array.nchunks_initialized
    if absent > 0:
        warnings.warn(
            f"{absent:,} of {array.nchunks:,} chunks of {name} in {path} are not there and are read as "
            f"{array.fill_value}; check that the store is whole",
            stacklevel=2,
        )


def _header(version: int, text: bytes | str, what: str) -> Header | None:
    """Return what a header says; None for that of a group."""
    if len(text) > _LARGEST_HEADER:
        raise InputError(f"{what} has a header of more than a megabyte, which is no real data; check its origin")
    header = json.loads(text)
    if version == 3 and header.get("node_type") != "array":
        return None
    name, problem = header.get("dtype"), ""
    if version == 2:
        chunks, compressor = header["chunks"], header.get("compressor")
        plain = isinstance(name, str) and np.dtype(name).kind in "fiub"
        if header.get("filters"):
            problem = f"the filters {header['filters']}"
        elif compressor is not None and compressor.get("id") not in _COMPRESSORS:
            problem = f"the compressor {compressor.get('id')}"
    else:
        name, chunks = header["data_type"], header["chunk_grid"]["configuration"]["chunk_shape"]
        plain = isinstance(name, str) and name in _TYPES
        unknown = [*_unknown(header["codecs"]), *header.get("storage_transformers", ())]
        if unknown:
            problem = f"the codec {unknown[0]}"
    problem = problem if plain else f"the type {name}"
    shape = tuple(int(size) for size in header["shape"])
    return Header(version, shape, np.dtype(name if plain else object), math.prod(map(int, chunks)), problem)


def _unknown(codecs: Sequence[Any]) -> list[str]:
    """Return the names of codecs of version 3 that are not read, those within codecs too."""
    found = []
    for codec in codecs:
        name, settings = (codec, {}) if isinstance(codec, str) else (codec["name"], codec.get("configuration") or {})
        found += [] if name in _CODECS else [str(name)]
        found += _unknown([*settings.get("codecs", ()), *settings.get("index_codecs", ())])
    return found


def _lengths(path: Path, ends: NDArray[Any], shapes: Mapping[str, Sequence[int]]) -> NDArray[np.int64]:
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or bool((np.diff(ends.astype(np.int64), prepend=0) < 0).any()):
        raise InputError(f"{_ENDS} of {path} is {listed(ends.reshape(-1).tolist(), 4)}; give whole numbers in order")
    steps = int(ends[-1]) if len(ends) else 0
    for name, shape in shapes.items():
        if shape[0] != steps:
            raise InputError(
                f"data/{name} of {path} has {shape[0]:,} rows, but the last episode ends at {steps:,}; cut it"
            )
    return np.diff(np.concatenate([np.zeros(1, np.int64), ends.astype(np.int64)]))


def _folder_headers(path: Path) -> tuple[str, dict[str, Header]]:
    found = {}
    for version, suffix in _HEADERS.items():
        for file in sorted([*path.glob(f"data/**/*{suffix[1:]}"), *path.glob(f"meta/*{suffix}")]):
            with open(file, "rb") as stream:
                header = _header(version, stream.read(_LARGEST_HEADER + 1), str(path))
            if header is not None:
                found[file.parent.relative_to(path).as_posix()] = header
    return "", found


def _zip_headers(path: Path) -> tuple[str, dict[str, Header]]:
    """Return the folder of the store inside the archive, and the headers of its arrays."""
    found = {}
    with zipfile.ZipFile(path) as file:
        names = sorted(file.namelist())
        ends = [_ENDS + suffix for suffix in _HEADERS.values()]
        root = next((name.removesuffix(end) for name in names for end in ends if name.endswith(end)), "")
        for version, suffix in _HEADERS.items():
            for name in names:
                inner = name.removeprefix(root)
                if not (name.startswith(root) and inner.endswith(suffix) and inner.startswith(("data/", "meta/"))):
                    continue
                with file.open(name) as stream:
                    header = _header(version, stream.read(_LARGEST_HEADER + 1), str(path))
                if header is not None:
                    found[inner.removesuffix(suffix)] = header
    return root, found


@contextmanager
def _opened(path: Path, root: str) -> Iterator[Callable[[str, int], Any]]:
    """Yield a function that opens an array, whose header of this version of zarr has been checked."""
    zarr = require_package("zarr", path)
    store: Any = path if path.is_dir() else zarr.storage.ZipStore(path, mode="r")
    try:
        yield lambda name, version: zarr.open_array(store, path=root + name, mode="r", zarr_format=version)
    finally:
        if store is not path:
            store.close()
