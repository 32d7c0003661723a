"""NumPy's NPZ files. Sizes and types are read from the headers first, and checked before anything is unpacked."""

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from manyways.demonstrations.columns import as_actions, as_numbers
from manyways.demonstrations.formats.arrays import Trajectories, as_modes, require_memory
from manyways.demonstrations.observations import entries
from manyways.errors import InputError
from manyways.files import replacing

_OBSERVATIONS = ("observations", "states")
_REAL_STEPS = ("masks", "mask", "valid")  # True, or 1, where a step is real
_PADDING = ("pad",)  # True where it is not
_ENTRY = "observations/"  # before the names of a dictionary's entries
_ALL = {*_OBSERVATIONS, *_REAL_STEPS, *_PADDING, "actions", "lengths", "modes", "choices"}


def read(path: Path) -> Trajectories:
    """Read trajectories.

    Raises:
        InputError: the file is no NPZ file, is damaged, or its arrays cannot be used.
    """
    with _open(path) as archive:
        names, mask_name = _array_names(archive)
        ends = "lengths" in archive.headers
        for name in names:
            _require_form(archive, name, ends)
        arrays = {name.removeprefix(_ENTRY): archive.read(name) for name in names}
        choices = tuple(int(count) for count in archive.read("choices")) if "choices" in archive.headers else None
        lengths = archive.read("lengths") if ends else None
        mask = None if mask_name is None else archive.read(mask_name).astype(bool)
    if lengths is not None and mask_name is not None:
        raise InputError(f"{path} has lengths and {mask_name}; either says where trajectories end: leave out one")
    if lengths is None:
        lengths = _join(arrays, path)
        if mask is not None:
            lengths = _without_padding(
                arrays, lengths, mask if mask_name in _REAL_STEPS else ~mask, f"{mask_name} in {path}"
            )
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise InputError(
            f"lengths in {path} are {lengths.dtype} of shape {lengths.shape}; "
            "give whole numbers of shape (trajectories,)"
        )
    actions = as_actions(arrays.pop("actions"), f"actions in {path}", None if choices is None else True)
    observations: Any = {name: as_numbers(array, f"{name} in {path}") for name, array in arrays.items()}
    if not names[0].startswith(_ENTRY):
        observations = next(iter(observations.values()))
    return Trajectories(observations, actions, lengths.astype(np.int64), choices)


def read_modes(path: Path) -> NDArray[Any] | None:
    """Read the labels; None where there are none."""
    with _open(path) as archive:
        if "modes" not in archive.headers:
            return None
        count = archive.shape("lengths" if "lengths" in archive.headers else "actions")[0]
        return as_modes(archive.read("modes"), count, path)


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write trajectories, with labels where there are any."""
    arrays: dict[str, Any] = {
        _ENTRY + name if name else "observations": array for name, array in entries(trajectories.observations)
    }
    arrays |= {"actions": trajectories.actions, "lengths": trajectories.lengths}
    if trajectories.choices is not None:
        arrays["choices"] = np.array(trajectories.choices)
    if modes is not None:
        arrays["modes"] = modes
    # To a name without its suffix NumPy would add it; an open file is used as it is.
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


class _Archive:
    """An open NPZ file: what its headers say, and its arrays one by one."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path = path
        self._file = file
        self.headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
        for member in file.infolist():
            name = member.filename.removesuffix(".npy")
            try:
                with file.open(member) as stream:
                    version = npy.read_magic(stream)
                    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    shape, _, dtype = reader(stream)
            except (ValueError, EOFError, NotImplementedError) as error:
                raise InputError(f"{name} in {path} is damaged ({error}); save it again") from error
            if not dtype.hasobject and math.prod(shape) * dtype.itemsize > member.file_size:
                raise InputError(
                    f"{name} in {path} claims the shape {shape}, but has {member.file_size:,} bytes; save it again"
                )
            self.headers[name] = shape, dtype
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.headers.values())
        require_memory(size, str(path))

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

    def read(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises:
            InputError: it is damaged, or holds Python objects.
        """
        self.require_plain(name)
        try:
            with self._file.open(f"{name}.npy") as stream:
                array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        except (ValueError, OSError, zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
            raise InputError(f"{name} in {self.path} is damaged ({error}); save it again") from error
        return array


@contextmanager
def _open(path: Path) -> Iterator[_Archive]:
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{path} is not an NPZ file, or is cut short; save one with numpy.savez, or give a Minari data set"
            )
        with zipfile.ZipFile(path) as file:
            yield _Archive(path, file)
    except (OSError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or cannot be read ({error}); save it again") from error


def _array_names(archive: _Archive) -> tuple[list[str], str | None]:
    """Return the names of the arrays of observations, then "actions"; and the name of the mask of real steps."""
    path, headers = archive.path, archive.headers
    names = [name for name in _OBSERVATIONS if name in headers][:1]
    names = names or [name for name in headers if name.startswith(_ENTRY)]
    for name, present in (("observations", bool(names)), ("actions", "actions" in headers)):
        if not present:
            raise InputError(
                f"{path} has no array {name}; it holds {', '.join(headers) or 'nothing'}: rename or add it"
            )
    others = [name for name in headers if name not in _ALL and name not in names]
    if others:
        warnings.warn(f"{path} also holds {', '.join(others)}, which are not used", stacklevel=2)
    mask = next((name for name in (*_REAL_STEPS, *_PADDING) if name in headers), None)
    return [*names, "actions"], mask


def _require_form(archive: _Archive, name: str, ends: bool) -> None:
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


def _join(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[np.int64]:
    """Put the steps of arrays (trajectories, steps, ...) end to end, in place, and return the lengths."""
    count, steps = arrays["actions"].shape[:2]
    for name, array in arrays.items():
        if array.shape[:2] != (count, steps):
            raise InputError(
                f"{path} has {name} {array.shape} but actions {arrays['actions'].shape}; "
                "their trajectories and steps must be the same"
            )
        arrays[name] = array.reshape(count * steps, *array.shape[2:])
    return np.full(count, steps, dtype=np.int64)


def _without_padding(
    arrays: dict[str, NDArray[Any]], lengths: NDArray[np.int64], real: NDArray[np.bool_], what: str
) -> NDArray[np.int64]:
    """Keep the real steps, in place, and return how many of them each trajectory has."""
    if real.shape != (len(lengths), lengths[0]):
        raise InputError(f"{what} has shape {real.shape}; give ({len(lengths)}, {lengths[0]}), one a step")
    for name, array in arrays.items():
        arrays[name] = array[real.ravel()]
    return real.sum(axis=1)
