"""A folder with a file for each episode: CSV, Parquet, or NPZ."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import arrow, npz
from manyways.demonstrations.formats.arrays import as_attributes, without_last
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import files_in, input_errors
from manyways.demonstrations.formats.table import EPISODE, default_columns
from manyways.errors import InputError

ATTRIBUTES = "attributes.csv"  # a row for each episode, with its file's name without suffix in the column `episode`
_SUFFIXES = (".npz", *arrow.SUFFIXES)

_Read = Callable[[Sequence[str]], dict[str, NDArray[Any]]]


def recognises(path: Path) -> bool:
    """Return whether this is a folder of such files."""
    return path.is_dir() and bool(_suffixes(path))


def _suffixes(path: Path) -> set[str]:
    return {file.suffix.lower() for file in path.iterdir() if file.name != ATTRIBUTES} & set(_SUFFIXES)


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a folder.

    Raises:
        InputError: a file is damaged, differs from the others, or is a link that leads out of the folder.
    """
    with input_errors(path, "folder of episodes"):
        suffixes = _suffixes(path)
        if len(suffixes) > 1:
            raise InputError(f"{path} has files of the kinds {', '.join(sorted(suffixes))}; give a folder of one kind")
        (suffix,) = suffixes
        files = [file for file in files_in(path, "*") if file.suffix.lower() == suffix and file.name != ATTRIBUTES]
        files.sort(key=lambda file: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.stem)])
        opened = [_open(file) for file in files]
        entries = opened[0][0]
        observations, actions, ignored = default_columns(entries, [n for n in entries if n.lower() in EPISODE])
        for file, (own, _) in zip(files, opened, strict=True):
            for name in (*observations, *actions):
                if name not in own or own[name].shape != entries[name].shape:
                    what = f"shape {own[name].shape}" if name in own else "nothing"
                    raise InputError(
                        f"{file} has {what} for {name}, but {files[0].name} has {entries[name].shape}; make them alike"
                    )
        named = tuple(file.stem for file in files)
        known, modes = _attributes(path, named)
        measure = actions[0] if actions else next(iter(entries))
        lengths = np.array([len(read([measure])[measure]) for _, read in opened], dtype=np.int64)

        def read_episodes(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
            for index in episodes:
                for name, array in opened[index][1](names).items():
                    arrays[name].append(without_last(array, int(lengths[index]), f"{name} in {files[index]}"))
            return {name: np.concatenate(own) for name, own in arrays.items()}

        yield Contents(
            path,
            entries,
            observations,
            actions,
            lengths,
            read_episodes,
            identities=named,
            attributes=known,
            ignored=tuple(ignored),
            modes=lambda: modes,
            in_parts=True,
        )


def _open(path: Path) -> tuple[dict[str, Entry], _Read]:
    """Return the columns or arrays of one episode, and what reads them."""
    if path.suffix.lower() != ".npz":
        source = arrow.open_table(path)
        return dict(source.entries), source.read
    with npz.open_archive(path) as archive:
        entries = {name: Entry(shape[1:], dtype) for name, (shape, dtype) in archive.headers.items() if shape}

    def read(names: Sequence[str]) -> dict[str, NDArray[Any]]:
        with npz.open_archive(path) as archive:
            missing = [name for name in names if name not in archive.headers]
            if missing:
                raise InputError(f"{path} has no array {missing[0]}, which the first file has; add it")
            return {name: archive.read(name) for name in names}

    return entries, read


def _attributes(path: Path, named: tuple[str, ...]) -> tuple[dict[str, NDArray[Any]], NDArray[Any] | None]:
    """Return what `ATTRIBUTES` says of the episodes, and their labels (column `mode`) apart from it."""
    file = path / ATTRIBUTES
    if not file.is_file():
        return {}, None
    source = arrow.open_table(files_in(path, ATTRIBUTES)[0])
    columns = source.read(list(source.entries))
    if "episode" not in columns:
        raise InputError(f"{file} has no column episode; add it, with the names of the files without their suffix")
    rows = {
        str(name): {key: values[index] for key, values in columns.items() if key != "episode"}
        for index, name in enumerate(columns["episode"].tolist())
    }
    missing = [name for name in named if name not in rows]
    if missing:
        raise InputError(f"{file} has no row for the episode {missing[0]}; add it, or remove the file")
    known = as_attributes([rows[name] for name in named])
    return known, known.pop("mode", None)
