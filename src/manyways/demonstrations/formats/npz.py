"""NumPy's NPZ files. Sizes and types are read from the headers first, and checked before anything is unpacked."""

import math
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from manyways.demonstrations.alike import as_labels
from manyways.demonstrations.formats import flat, masks
from manyways.demonstrations.formats.arrays import Trajectories, as_text, require_memory
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.flat import ENTRY, OBSERVATIONS, OF_MODES
from manyways.demonstrations.formats.reading import input_errors
from manyways.demonstrations.observations import entries
from manyways.demonstrations.pairs import as_pairs
from manyways.demonstrations.stored import stretches
from manyways.errors import InputError, ManywaysError
from manyways.files import replacing

_VERSIONS = ((1, 0), (2, 0), (3, 0))  # of NPY
_NAMES, _ATTRIBUTES = "names/", "attributes/"  # before the names of arrays, and of what is known of trajectories
_ALL = {*OBSERVATIONS, *masks.NAMES, *OF_MODES, "actions", "lengths", "modes", "choices", "identities"}


def recognises(path: Path) -> bool:
    """Return whether this is an NPZ file; any file that nothing else reads is taken for one, and refused then."""
    return path.is_file()


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: the file is no NPZ file, is damaged, or its arrays cannot be used.
    """
    with input_errors(path, "NPZ file"), open_archive(path) as archive:
        yield contents_of(archive, path.stat().st_size)


def contents_of(archive: "Arrays", stored: int) -> Contents:
    """Return what arrays offer; `stored` is their size on the disk in bytes."""
    if flat.is_flat(archive.headers):
        found = flat.contents(archive.path, archive.headers, archive.read, stored)
    else:
        found = _own(archive, stored)
    modes = (lambda: archive.read("modes")) if "modes" in archive.headers else (lambda: None)
    about = _about(archive)
    return replace(found, modes=modes, **about, **_known(archive, len(found.lengths), about.get("identities")))


def _own(archive: "Arrays", stored: int) -> Contents:
    """Return what arrays (trajectories, steps, ...), or end to end with `lengths`, offer."""
    path = archive.path
    names, mask_name, ignored = _array_names(archive)
    lengths, real = None, None
    if "lengths" in archive.headers:
        lengths = archive.read("lengths")
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            raise InputError(
                f"lengths in {path} are {lengths.dtype} of shape {lengths.shape}; "
                "give whole numbers of shape (trajectories,)"
            )
    ends = lengths is not None and not _is_padded(archive, names, lengths)
    for name in names:
        _require_form(archive, name, ends)
    if lengths is not None and mask_name is not None:
        raise InputError(f"{path} has lengths and {mask_name}; either says where trajectories end: leave out one")
    if lengths is None or not ends:
        lengths, real = _padded_lengths(archive, names, mask_name, lengths, ignored)
    rows = archive.shape("actions")[0]
    if ends and sum(lengths.tolist()) != int(lengths.astype(np.int64).sum()):  # 64 bits do not hold it
        raise InputError(f"lengths in {path} has {int(lengths.max()):,}, but there are {rows:,} actions; mend it")
    lengths = lengths.astype(np.int64)

    def read(chosen: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        arrays = {}
        for name in chosen:
            array = archive.read(name if name in archive.headers else ENTRY + name)
            if not ends:
                array = array[:, : archive.shape("actions")[1]]
                array = (
                    array.reshape(array.shape[0] * array.shape[1], *array.shape[2:]) if real is None else array[real]
                )
            # Each trajectory may have an observation after its last action.
            extra = ends and len(array) == lengths.sum() + len(lengths) and name != "actions"
            whole = len(episodes) == len(lengths) and bool((np.diff(episodes) == 1).all())
            starts = np.cumsum(lengths + extra) - (lengths + extra)
            arrays[name] = array if whole and not extra else stretches(array, starts[episodes], lengths[episodes])
        return arrays

    columns = {name: archive.words(f"{_NAMES}{name}") for name in names if f"{_NAMES}{name}" in archive.headers}
    axes = 1 if ends else 2
    steps = {archive.shape(name)[:axes] for name in names}
    others = [n for n in ignored if archive.shape(n)[:axes] in steps and archive.headers[n][1].kind in "fiub"]
    entries = {
        name.removeprefix(ENTRY): Entry(archive.shape(name)[axes:], archive.headers[name][1], columns.get(name))
        for name in (*names, *others)
    }
    choices = _choices(path, archive.read("choices")) if "choices" in archive.headers else None
    return Contents(
        path,
        entries,
        tuple(name.removeprefix(ENTRY) for name in names if name != "actions"),
        ("actions",),
        lengths,
        read,
        choices=choices,
        discrete=None if choices is None else True,
        form="dictionary" if names[0].startswith(ENTRY) else "array",
        ignored=ignored,
        stored=stored,
    )


def _choices(path: Path, values: NDArray[Any]) -> tuple[int, ...]:
    """Return how many choices each part of an action has; of a single part also as a single number."""
    if values.ndim > 1 or values.dtype.kind not in "iuf" or (values != np.round(values)).any():
        raise InputError(f"choices in {path} are {values.tolist()}; give a whole number for each part of an action")
    return tuple(int(count) for count in np.atleast_1d(values))


def _about(archive: "Arrays") -> dict[str, Any]:
    """Return the identities and attributes of the trajectories, as fields of `Contents`."""
    about: dict[str, Any] = {}
    if "identities" in archive.headers:
        shape = archive.shape("identities")
        if len(shape) != 1:
            raise InputError(f"identities in {archive.path} have the shape {shape}; give one for each trajectory")
        about["identities"] = archive.words("identities")
    names = [name for name in archive.headers if name.startswith(_ATTRIBUTES)]
    if names:
        about["attributes"] = {name.removeprefix(_ATTRIBUTES): as_text(archive.read(name)) for name in names}
    return about


def _known(archive: "Arrays", count: int, identities: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the known modes and the pairs of trajectories, as fields of `Contents`."""
    about: dict[str, Any] = {}
    names = identities or tuple(map(str, range(count)))
    if "known_modes" in archive.headers:
        about["labels"] = as_labels(archive.read("known_modes"), names)
        if len(about["labels"]) != count:
            raise InputError(f"known_modes has {len(about['labels'])} values for {count} trajectories; give one each")
    pairs: dict[str, list[Any]] = {"same": [], "different": []}
    for name in (name for name in pairs if name in archive.headers):
        shape, dtype = archive.headers[name]
        if len(shape) != 2 or shape[1] != 2 or dtype.kind not in "iuU":
            raise InputError(
                f"{name} in {archive.path} is {dtype} of shape {shape}; give places or identities of two trajectories "
                "in each row, (pairs, 2)"
            )
        pairs[name] = archive.read(name).tolist()
    found = as_pairs(pairs["same"], pairs["different"], names)
    return about | ({} if found is None else {"pairs": found})


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write trajectories, with labels where there are any."""
    # To a name without its suffix NumPy would add it; an open file is used as it is.
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays_of(trajectories, modes))


def arrays_of(trajectories: Trajectories, modes: NDArray[Any] | None) -> dict[str, Any]:
    """Return the arrays of a file by name."""
    arrays: dict[str, Any] = {
        ENTRY + name if name else "observations": array for name, array in entries(trajectories.observations)
    }
    arrays |= {"actions": trajectories.actions, "lengths": trajectories.lengths}
    if trajectories.choices is not None:
        arrays["choices"] = np.array(trajectories.choices)
    arrays |= {_NAMES + name: np.array(names) for name, names in (trajectories.names or {}).items()}
    if trajectories.identities is not None:
        arrays["identities"] = np.array(trajectories.identities)
    arrays |= {_ATTRIBUTES + name: values for name, values in (trajectories.attributes or {}).items()}
    if modes is not None:
        arrays["modes"] = modes
    if trajectories.labels is not None:
        arrays["known_modes"] = trajectories.labels
    if trajectories.pairs is not None:
        arrays |= {"same": trajectories.pairs.links(), "different": trajectories.pairs.different}
    return arrays


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and the type that an NPY file begins with.

    Raises:
        ValueError, EOFError: it is damaged, or of an unknown version.
    """
    version = npy.read_magic(stream)
    if version not in _VERSIONS:
        raise ValueError(f"of the unknown version {version[0]}.{version[1]} of NPY")
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = reader(stream)
    if any(size < 0 for size in shape):
        raise ValueError(f"it claims the shape {shape}")
    return shape, dtype


class Arrays(ABC):
    """Arrays by name: what their headers say, and each one.

    Attributes:
        path: of the file or folder.
        headers: shape and type of each array.
    """

    path: Path
    headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an array's shape."""
        return self.headers[name][0]

    def require_plain(self, name: str) -> None:
        """Raise `InputError` where an array holds Python objects."""
        if self.headers[name][1].hasobject:
            raise InputError(
                f"{name} in {self.path} holds Python objects, which only a pickle could restore and which could run "
                "code; save plain numbers instead: trajectories end to end, (steps, n), with `lengths`"
            )

    @abstractmethod
    def read(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises:
            InputError: it is damaged, or holds Python objects.
        """

    def words(self, name: str) -> tuple[str, ...]:
        """Return an array of words."""
        return tuple(str(word) for word in as_text(self.read(name)).reshape(-1))


class _Archive(Arrays):
    """An open NPZ file."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.headers = {}
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            try:
                with file.open(member) as stream:
                    shape, dtype = read_header(stream)
            except (ValueError, EOFError, NotImplementedError) as error:
                raise InputError(f"{name} in {path} is damaged ({error}); save it again") from error
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > member.file_size:
                raise InputError(
                    f"{name} in {path} claims the shape {shape}, but has {member.file_size:,} bytes; save it again"
                )
            self.headers[name] = shape, dtype
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.headers.values())
        require_memory(size, str(path), path.stat().st_size)

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, unpacked."""
        self.require_plain(name)
        try:
            with self._file.open(f"{name}.npy") as stream:
                array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except (ValueError, OSError, zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise InputError(f"{name} in {self.path} is damaged ({error}); save it again") from error
        return array


@contextmanager
def open_archive(path: Path) -> Iterator[_Archive]:
    """Yield the open file.

    Raises:
        InputError: it is no NPZ file, is damaged, or claims more than there is.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(_not_an_archive(path))
        with zipfile.ZipFile(path) as file:
            yield _Archive(path, file)
    except ManywaysError:
        raise
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or cannot be read ({error}); save it again") from error


def _not_an_archive(path: Path) -> str:
    """Return what is wrong with a file that is no archive, by its name."""
    suffix, known = path.suffix.lower(), "an NPZ, HDF5, CSV or Parquet file"
    if suffix == ".zip":
        return f"{path} is no zip archive, or is cut short; copy or pack it again"
    if suffix == ".npy":
        return f"{path} is a single array; give the folder with actions.npy and the others, or save with numpy.savez"
    if suffix in (".pkl", ".pickle", ".pt", ".pth"):
        return f"{path} may be a pickle, which could run code and is not read; save its arrays with numpy.savez"
    if suffix not in ("", ".npz"):
        return f"{path} is of no format that is read, or is cut short; give {known}, or a folder of a data set"
    return f"{path} is not an NPZ file, or is cut short; save one with numpy.savez, or give a Minari data set"


def _array_names(archive: Arrays) -> tuple[list[str], str | None, tuple[str, ...]]:
    """Return the names of the arrays of observations, then "actions"; of the mask of steps; and of all others."""
    path, headers = archive.path, archive.headers
    names = [name for name in OBSERVATIONS if name in headers][:1]
    names = names or [name for name in headers if name.startswith(ENTRY)]
    for name, present in (("observations", bool(names)), ("actions", "actions" in headers)):
        if not present:
            raise InputError(
                f"{path} has no array {name}; it holds {', '.join(headers) or 'nothing'}: rename or add it"
            )
    about = (_NAMES, _ATTRIBUTES)
    others = [name for name in headers if name not in _ALL and name not in names and not name.startswith(about)]
    mask = next((name for name in masks.NAMES if name in headers), None)
    return [*names, "actions"], mask, tuple(others)


def _require_form(archive: Arrays, name: str, ends: bool) -> None:
    """Raise `InputError` unless an array is (steps, ...), where there are `lengths`, or (trajectories, steps, ...)."""
    archive.require_plain(name)
    shape, dtype = archive.headers[name]
    least = 1 if ends else 2
    least += not (name == "actions" and dtype.kind in "iub")
    if len(shape) < least or (name == "actions" and len(shape) > (2 if ends else 3)):
        raise InputError(
            f"{name} in {archive.path} have shape {shape}; give (trajectories, steps, n), "
            "or (steps, n) together with lengths (trajectories,)"
        )


def _is_padded(archive: Arrays, names: list[str], lengths: NDArray[Any]) -> bool:
    """Return whether arrays that have `lengths` are (trajectories, steps, ...) all the same, not end to end."""
    shape = archive.shape("actions")
    own = all(archive.shape(name)[:1] == (len(lengths),) for name in names) and sum(lengths.tolist()) != len(lengths)
    return len(shape) == 3 or (len(shape) == 2 and own)


def _padded_lengths(
    archive: Arrays, names: list[str], mask_name: str | None, lengths: NDArray[Any] | None, others: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """Return the lengths where arrays are (trajectories, steps, ...), and which steps are real; None for all."""
    path, (count, steps) = archive.path, archive.shape("actions")[:2]
    for name in names:
        # There may be an observation after the last action.
        if archive.shape(name)[0] != count or archive.shape(name)[1] - steps not in (0, 1):
            raise InputError(
                f"{path} has {name} {archive.shape(name)} but actions {archive.shape('actions')}; "
                "their trajectories and steps must be the same"
            )
    actions_first = (archive.read(name) for name in reversed(names))
    if lengths is not None:
        real = masks.of_lengths(path, lengths, (count, steps))
    elif mask_name is not None:
        real = masks.of_mask(path, mask_name, archive.read(mask_name), (count, steps))
        for other in (name for name in masks.NAMES if name in archive.headers and name != mask_name):
            if (masks.of_mask(path, other, archive.read(other), (count, steps)) != real).any():
                raise InputError(f"{mask_name} and {other} in {path} contradict each other; leave out one")
        masks.require_upright(path, mask_name, real, actions_first)
    else:
        masks.require_clear(path, {name: archive.shape(name) for name in others}, (count, steps))
        found = masks.of_nan(next(actions_first), actions_first)
        if found is None:
            return np.full(count, steps, dtype=np.int64), None
        real = found
    return real.sum(axis=1), real
