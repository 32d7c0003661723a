"""A folder with a file for each episode: CSV, Parquet, or NPZ."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import arrow, npz, order, strays
from manyways.demonstrations.formats.arrays import as_attributes, as_text, as_words, without_last
from manyways.demonstrations.formats.contents import Contents, Entry, require_different
from manyways.demonstrations.formats.reading import files_in, input_errors
from manyways.demonstrations.formats.table import (
    ATTRIBUTE,
    EPISODE,
    MODES,
    default_columns,
    is_named,
    labels_of,
    words_in,
)
from manyways.errors import InputError

ATTRIBUTES = "attributes.csv"  # a row for each episode, with its file's name without suffix in the column `episode`
_SUFFIXES = (".npz", *arrow.SUFFIXES)


class _Episode(NamedTuple):
    """One file.

    Attributes:
        entries: its columns or arrays.
        read: returns some of them.
        same: words that are the same in all its rows, and single values, by name.
        varying: the names of other columns of words.
        broken: what is wrong with columns that hold numbers but for a few cells, as a sentence.
        clock: the column by which its rows were sorted; "" where they lie in order.
    """

    entries: dict[str, Entry]
    read: Callable[[Sequence[str]], dict[str, NDArray[Any]]]
    same: dict[str, Any]
    varying: tuple[str, ...]
    broken: Mapping[str, str] = {}
    clock: str = ""


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
        files.sort(key=lambda file: [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.stem)])
        opened = [_open(file) for file in files]
        entries = dict(opened[0].entries)
        broken = _broken(files, opened)
        observations, actions, ignored = default_columns(entries, [n for n in entries if n.lower() in EPISODE], broken)
        for name in (name for name in (*observations, *actions) if name not in broken):
            for file, own in zip(files, (episode.entries for episode in opened), strict=True):
                if name not in own or own[name].shape != entries[name].shape:
                    what = f"shape {own[name].shape}" if name in own else "nothing"
                    raise InputError(
                        f"{file} has {what} for {name}, but {files[0].name} has {entries[name].shape}; make them alike"
                    )
                if not own[name].is_numeric:
                    raise InputError(
                        f"{file} has words in {name}, but {files[0].name} has numbers; mend or leave out that file"
                    )
            entries[name] = _common([episode.entries[name] for episode in opened])
        named = tuple(file.stem for file in files)
        require_different(named, str(path))
        known, modes, named = _known(path, named, opened)
        ignored = [name for name in ignored if name.removeprefix(ATTRIBUTE) not in known]
        measure = actions[0] if actions else next(iter(entries))
        counts, read_as = [], []
        for episode in opened:
            array = episode.read([measure])[measure]
            counts.append(len(array))
            read_as.append(replace(entries[measure], dtype=array.dtype))
        lengths = np.array(counts, dtype=np.int64)
        if all(entry.is_numeric for entry in read_as):  # a header does not say that cells are empty
            entries[measure] = replace(_common(read_as), whole=entries[measure].is_whole)

        def read_episodes(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
            for index in episodes:
                for name, array in opened[index].read(names).items():
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
            broken=broken,
            notes=tuple(_sorted(path, named, opened)),
            modes=modes,
            in_parts=True,
        )


def _broken(files: Sequence[Path], episodes: Sequence[_Episode]) -> dict[str, str]:
    """Return what is wrong with columns of the first file that hold numbers but for a few cells, in any file."""
    broken = {name: sentence for episode in reversed(episodes) for name, sentence in episode.broken.items()}
    for name in (n for n, entry in episodes[0].entries.items() if not entry.is_numeric and is_named(n)):
        others = (file for file, each in zip(files, episodes, strict=True) if _is_numeric(each, name))
        if (other := next(others, None)) is not None:
            broken.setdefault(
                name, f"{files[0]} has words in {name}, but {other.name} has numbers; mend or leave out that file"
            )
    return {name: sentence for name, sentence in broken.items() if name in episodes[0].entries}


def _is_numeric(episode: _Episode, name: str) -> bool:
    return name in episode.entries and episode.entries[name].is_numeric


def _sorted(path: Path, named: Sequence[str], episodes: Sequence[_Episode]) -> list[str]:
    """Return a sentence for each clock by which the rows of files were sorted."""
    clocks = dict.fromkeys(episode.clock for episode in episodes if episode.clock)
    whose = {clock: [n for n, each in zip(named, episodes, strict=True) if each.clock == clock] for clock in clocks}
    return [order.moved(path, clock, names) for clock, names in whose.items()]


def _common(entries: Sequence[Entry]) -> Entry:
    """Return what a column is in all files: whole numbers only where it is that in each."""
    dtype = np.result_type(*(entry.dtype for entry in entries))
    return replace(entries[0], dtype=dtype, whole=all(entry.is_whole for entry in entries))


def _open(path: Path) -> _Episode:
    """Return the columns or arrays of one episode."""
    if path.suffix.lower() != ".npz":
        source = arrow.open_table(path)
        texts = words_in(source.entries)
        cells = source.read(texts) if texts else {}
        columns = {name: as_words(own) for name, own in cells.items()}
        same = {name: words[0] for name, words in columns.items() if len(set(words.tolist())) == 1}
        varying = tuple(name for name in texts if name not in same)
        broken = {}
        for name in varying:
            rows = strays.find_strays(cells[name])
            if rows is not None and (len(rows) or is_named(name)):
                broken[name] = strays.told(path, name, cells[name], rows, None)
        clocks = source.read(order.clocks_in(source.entries))
        sorting, clock, _ = order.in_time(path, clocks, np.array([source.rows]), [path.stem])

        def in_order(names: Sequence[str]) -> dict[str, NDArray[Any]]:
            found = source.read(names)
            return found if sorting is None else {name: array[sorting] for name, array in found.items()}

        return _Episode(dict(source.entries), in_order, same, varying, broken, "" if sorting is None else clock)
    with npz.open_archive(path) as archive:
        entries = {name: Entry(shape[1:], dtype) for name, (shape, dtype) in archive.headers.items() if shape}
        alone = [name for name, (shape, dtype) in archive.headers.items() if not shape and dtype.kind in "iufbUS"]
        same = {name: as_text(archive.read(name)).item() for name in alone}

    def read(names: Sequence[str]) -> dict[str, NDArray[Any]]:
        with npz.open_archive(path) as archive:
            missing = [name for name in names if name not in archive.headers]
            if missing:
                raise InputError(f"{path} has no array {missing[0]}, which the first file has; add it")
            return {name: archive.read(name) for name in names}

    return _Episode(entries, read, same, ())


def _known(
    path: Path, named: tuple[str, ...], episodes: Sequence[_Episode]
) -> tuple[dict[str, NDArray[Any]], Callable[[], NDArray[Any] | None], tuple[str, ...]]:
    """Return the attributes of the episodes, what reads their labels, and their identities.

    All may stand in the files, or in `ATTRIBUTES`, which counts first.
    """
    varying = {name for episode in episodes for name in episode.varying}
    rows = [{name: v for name, v in episode.same.items() if name not in varying} for episode in episodes]
    known = {name: values for name, values in as_attributes(rows).items() if name.lower() not in MODES}
    listed = _attributes(path, named)
    labels = listed.pop("mode", None)
    identities = listed.pop("identity", None)
    known = {name.removeprefix(ATTRIBUTE): values for name, values in (known | listed).items()}

    def modes() -> NDArray[Any] | None:
        if labels is not None:
            return labels
        name = next((n for e in episodes for n in (*e.entries, *e.same) if n.lower() in MODES), None)
        if name is None:
            return None
        cells = {}
        for identity, episode in zip(named, episodes, strict=True):
            alone = np.array([episode.same.get(name)], dtype=object)
            cells[identity] = episode.read([name])[name] if name in episode.entries else alone
        return labels_of(path, name, cells)

    if identities is not None and len(set(identities.tolist())) == len(named):
        named = tuple(map(str, identities.tolist()))
    return known, modes, named


def _attributes(path: Path, named: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return what `ATTRIBUTES` says of the episodes."""
    file = path / ATTRIBUTES
    if not file.is_file():
        return {}
    source = arrow.open_table(files_in(path, ATTRIBUTES)[0], ("episode", "identity"))
    columns = source.read(list(source.entries))
    if "episode" not in columns:
        raise InputError(f"{file} has no column episode; add it, with the names of the files without their suffix")
    require_different(columns["episode"].tolist(), str(file))
    rows = {
        str(name): {key: values[index] for key, values in columns.items() if key != "episode"}
        for index, name in enumerate(columns["episode"].tolist())
    }
    missing = [name for name in named if name not in rows]
    if missing:
        raise InputError(f"{file} has no row for the episode {missing[0]}; add it, or remove the file")
    return as_attributes([rows[name] for name in named])
