"""Demonstrations on disk: one module for each format. Reading a file never runs code from it.

Each module says what it `recognises` and opens its `contents`; some also write.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import (
    arrow,
    folder,
    hdf5,
    lerobot,
    minari,
    npy,
    npz,
    replay_buffer,
    robomimic,
    table,
    unpacked,
    writing,
    writing_robots,
)
from manyways.demonstrations.formats.arrays import Trajectories, as_modes
from manyways.demonstrations.formats.cleaning import described, find_bad, find_short
from manyways.demonstrations.formats.contents import Contents, as_choices, assemble, episodes_of, require_different
from manyways.demonstrations.formats.selection import Selection
from manyways.errors import InputError

_FORMATS: tuple[ModuleType, ...] = (robomimic, hdf5, table, replay_buffer, npz)
_FOLDERS: tuple[ModuleType, ...] = (npy, lerobot, replay_buffer, minari, folder)
SUFFIXES = (".npz", ".zip", *hdf5.SUFFIXES, ".csv", ".tsv", ".parquet")
ALL = Selection()
_LONGEST_SHOWN = 100  # characters of a path that is none


def read(source: str | Path, selection: Selection = ALL) -> Trajectories:
    """Read trajectories; the caller checks their shapes. See `Demonstrations.load`."""
    with opened(source) as contents:
        return _taken(contents, selection)


def read_with_bad(source: str | Path, selection: Selection = ALL) -> tuple[Trajectories, dict[int, str]]:
    """Read trajectories of which some may hold values that are not finite, and what is wrong with these, by index.

    Raises:
        InputError: as `read`, and some are shorter than two steps.
    """
    with opened(source) as contents:
        found = _taken(contents, selection, good=False)
        bad = {} if selection.drop_bad else find_bad(found, episodes_of(contents, selection).tolist())
        if bad and find_short(found):
            raise InputError(f"{described(bad)}; {remedy_for(bad, found)}")
        return found, bad


def _taken(contents: Contents, selection: Selection, good: bool = True) -> Trajectories:
    parts = unpacked.in_parts(contents, selection)
    found = cleaned(assemble(parts, selection), selection, contents, good)
    if parts is contents:
        return found
    with unpacked.on_disk(contents, selection, found) as copy:
        return assemble(copy, ALL)


def opened(source: str | Path) -> AbstractContextManager[Contents]:
    """Open what is there."""
    path = _locate(source)
    contents: AbstractContextManager[Contents] = _format_of(path).contents(path)
    return contents


def require_apart(source: str | Path, out: Path) -> None:
    """Raise `InputError` where writing to `out` would replace what is read from `source`, or a part of it."""
    path = _locate(source)
    same = out.exists() and out.samefile(path)
    if same or out.resolve().is_relative_to(path.resolve()):
        where = "is the source itself" if same or out.resolve() == path.resolve() else f"lies in the source {source}"
        raise InputError(f"{out} {where}, which writing would damage; give another place")


def cleaned(trajectories: Trajectories, selection: Selection, contents: Contents, good: bool = True) -> Trajectories:
    """Return trajectories without the bad ones, if the selection asks for that.

    Raises:
        InputError: all are bad; or some are, though all must be `good`. The message lists them.
    """
    places = episodes_of(contents, selection).tolist()
    bad = find_bad(trajectories, places) if selection.drop_bad or good else {}
    if not bad:
        return trajectories
    if not selection.drop_bad:
        raise InputError(f"{described(bad)}; {remedy_for(bad, trajectories)}")
    what = str(contents.path)
    if len(bad) == len(trajectories.lengths):
        raise InputError(f"all trajectories of {what} are bad: {described(bad)}; check the data")
    warnings.warn(f"left out of {what}: {described(bad)}", stacklevel=2)
    kept = trajectories.select(_without(len(trajectories.lengths), bad))
    return as_choices(contents, selection, kept)


def _without(count: int, bad: dict[int, str]) -> NDArray[np.int64]:
    return np.array([index for index in range(count) if index not in bad], dtype=np.int64)


def remedy_for(bad: dict[int, str], trajectories: Trajectories) -> str:
    """Return what to do about bad trajectories, as a clause of a sentence."""
    if len(bad) == len(trajectories.lengths):
        return "no trajectory is good: check the data, and which columns are chosen"
    return (
        "leave out trajectories of less than two steps and with values that are not finite "
        "(drop_bad=True, --drop-bad), or mend them"
    )


def load_modes(source: str | Path, selection: Selection = ALL) -> NDArray[Any] | None:
    """Read the ground-truth labels beside demonstrations, for scoring; see `Demonstrations.load` for `source`.

    Args:
        source: where the demonstrations are.
        selection: what was taken of them.

    Returns:
        Whole numbers (trajectories,), -1 where a trajectory's mode is unknown; other labels are numbered in sorted
        order. For modes in a continuous range, (trajectories, dimensions). None where there are no labels.

    Raises:
        InputError: the source is missing or damaged, or has labels that do not fit its trajectories.
    """
    with opened(source) as contents:
        return modes_of(contents, selection)


def modes_of(contents: Contents, selection: Selection) -> NDArray[Any] | None:
    """Return the labels in an open data set; see `load_modes`."""
    labels = contents.modes()
    if labels is None:
        return None
    labels = as_modes(labels, len(contents.lengths), contents.path)[episodes_of(contents, selection)]
    return np.asarray(labels[_good(contents, selection)])


def _good(contents: Contents, selection: Selection) -> Any:
    """Return which of the selected trajectories are kept."""
    if not selection.drop_bad:
        return slice(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reading the demonstrations has said it
        trajectories = assemble(unpacked.in_parts(contents, selection), selection)
    return _without(len(trajectories.lengths), find_bad(trajectories))


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None, format: str | None = None) -> None:
    """Write a file or folder; see `Demonstrations.save`."""
    if modes is not None:
        modes = as_modes(modes, len(trajectories.lengths), path)
    suffix = path.suffix.lower()
    if format is None and suffix in (*arrow.SUFFIXES, ".zip", ".zarr") and suffix not in _WRITTEN:
        raise InputError(
            f"{path} would be a {suffix} file, which is not written; CSV is a folder with a file for each episode: "
            "give a folder's name and the format csv (--format csv)"
        )
    name = format or _WRITTEN.get(suffix, "minari")
    if name not in _WRITERS:
        raise InputError(f"there is no format {name!r} to write; give one of {', '.join(_WRITERS)}")
    if _WRITTEN.get(suffix, name) != name or (name == "parquet" and suffix != ".parquet"):
        raise InputError(f"{path} would be read as another format than {name}; give it the suffix of {name}, or none")
    if trajectories.actions.dtype.kind == "i" and trajectories.actions.ndim == 2 and name not in _OF_PARTS:
        raise InputError(
            f"{name} cannot say that several parts of an action are choices; write NPZ or Minari to {path}"
        )
    if name not in _OF_KNOWN and (trajectories.labels is not None or trajectories.pairs is not None):
        warnings.warn(f"{name} has no place for known modes and pairs, which are left out; write NPZ", stacklevel=3)
    require_different(trajectories.identities or (), "these demonstrations")
    _WRITERS[name](path, trajectories, modes)


def _write_minari(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    observations, actions, lengths, choices, names, identities, attributes, *_ = trajectories
    if isinstance(observations, Mapping):  # in HDF5 a slash would make groups of an entry
        plain = {name.replace("/", "."): array for name, array in observations.items()}
        if len(plain) < len(observations):
            raise InputError(f"two entries of {path} would have the same name without a slash; rename one")
        observations = plain
        names = {n.replace("/", ".").replace("observations.", "observations/", 1): c for n, c in (names or {}).items()}
    minari.write_minari(
        path,
        observations,
        actions,
        lengths,
        choices=choices,
        modes=modes,
        names=names or None,
        identities=identities,
        attributes=attributes,
    )


_OF_KNOWN = ("npz", "npy")  # formats for what is known of modes
_OF_PARTS = ("npz", "npy", "minari")  # formats for actions of several choices
_WRITERS = {
    "npz": npz.write,
    "npy": npy.write,
    "minari": _write_minari,
    "robomimic": robomimic.write,
    "parquet": writing.write_parquet,
    "csv": writing.write_csv,
    "lerobot": writing_robots.write_lerobot,
    "zarr": writing_robots.write_zarr,
}
_WRITTEN = {".npz": "npz", ".parquet": "parquet", ".zarr": "zarr", **dict.fromkeys(hdf5.SUFFIXES, "robomimic")}


def _format_of(path: Path) -> ModuleType:
    """Return the module that reads what is there."""
    for module in _FOLDERS if path.is_dir() else _FORMATS:
        if module.recognises(path):
            return module
    raise InputError(
        f"{path} is a folder but no Minari data set, no LeRobot data set, no zarr store, has no actions.npy, and no "
        "CSV, Parquet or NPZ files, one an episode; give one of these, or a file"
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        shown = str(path) if len(str(path)) <= _LONGEST_SHOWN else f"{str(path)[:_LONGEST_SHOWN]}..."
        raise InputError(f"{shown} cannot be a path or cannot be looked at ({reason}); check it") from error


def _locate(source: str | Path) -> Path:
    """Return the file or folder that `source` names, looking on the Hub and among the local Minari data sets last."""
    path = Path(source)
    if _is_there(path):
        if not path.is_file() and not path.is_dir():
            raise InputError(f"{source} is no file and no folder, but a pipe or a device, say; copy its data to a file")
        return path
    remote = lerobot.downloaded(source)
    if remote is not None:
        return remote
    if not path.is_absolute() and path.suffix.lower() not in SUFFIXES:
        local = minari.local_folder(str(source))
        if local is not None:
            return local
        raise InputError(
            f"{source} is no file, no folder and no local Minari data set; check the path, or see `minari list local`"
        )
    raise InputError(f"{source} does not exist; check the path")
