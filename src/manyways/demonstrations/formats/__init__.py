"""Demonstrations on disk: one module for each format. Reading a file never runs code from it."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from manyways.demonstrations.formats import minari, npz
from manyways.demonstrations.formats.arrays import Trajectories, as_modes
from manyways.errors import InputError


def read(source: str | Path) -> Trajectories:
    """Read trajectories; the caller checks their shapes. See `Demonstrations.load`."""
    path = _locate(source)
    return minari.read(path) if path.is_dir() else npz.read(path)


def load_modes(source: str | Path) -> NDArray[Any] | None:
    """Read the ground-truth labels beside demonstrations, for scoring; see `Demonstrations.load` for `source`.

    Returns:
        Whole numbers (trajectories,), -1 where a trajectory's mode is unknown; other labels are numbered in sorted
        order. For modes in a continuous range, (trajectories, dimensions). None where there are no labels.

    Raises:
        InputError: the source is missing or damaged, or has labels that do not fit its trajectories.
    """
    path = _locate(source)
    return minari.read_modes(path) if path.is_dir() else npz.read_modes(path)


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write an NPZ file or a Minari folder; see `Demonstrations.save`."""
    if modes is not None:
        modes = as_modes(modes, len(trajectories.lengths), path)
    if path.suffix == ".npz":
        npz.write(path, trajectories, modes)
    else:
        minari.write_minari(
            path,
            trajectories.observations,
            trajectories.actions,
            trajectories.lengths,
            choices=trajectories.choices,
            modes=modes,
        )


def _locate(source: str | Path) -> Path:
    """Return the file or folder that `source` names, looking among the local Minari data sets last."""
    path = Path(source)
    if path.exists():
        return path
    if not path.is_absolute() and path.suffix != ".npz":
        local = minari.local_folder(str(source))
        if local is not None:
            return local
        raise InputError(
            f"{source} is no file, no folder and no local Minari data set; check the path, or see `minari list local`"
        )
    raise InputError(f"{source} does not exist; check the path")
