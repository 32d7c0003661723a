"""Owns `convert`: from any format into a folder that is read from the disk, some episodes at a time."""

from pathlib import Path

from manyways.demonstrations.formats import ALL, cleaned, modes_of, opened
from manyways.demonstrations.formats.contents import assemble
from manyways.demonstrations.formats.selection import Selection
from manyways.demonstrations.formats.streaming import streamed
from manyways.demonstrations.trajectories import Demonstrations


def convert(source: str | Path, out: str | Path, selection: Selection = ALL) -> None:
    """Write demonstrations of any format into a folder of NPY files, which stays on the disk when it is loaded.

    Memory does not grow with a data set that can be read in parts: LeRobot, zarr, robomimic, Minari, a folder of
    episodes, and NPY files themselves. Others must fit into memory.

    Args:
        source: where they are; see `Demonstrations.load`.
        out: the folder, which must not exist yet or be empty.
        selection: what to take of them.

    Raises:
        InputError: the source is missing or damaged, or its arrays cannot be used; the folder holds something.
        WriteError: the system refused to write.
    """
    with opened(source) as contents:
        parts = streamed(contents) if contents.in_parts else contents
        found = Demonstrations(*cleaned(assemble(parts, selection), selection, contents))
        found.with_rotations(selection.angles, selection.quaternions)  # which must be there
        found.save(out, modes_of(parts, selection), "npy")
