"""LeRobot's folders, versions 2 and 3: Parquet files in data/, their description in meta/. Videos are not read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import arrow
from manyways.demonstrations.formats.arrays import rows_of_trajectories
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import files_in, input_errors, require_inside
from manyways.errors import InputError

VERSIONS = ("v2.0", "v2.1", "v3.0")
_INFO = Path("meta", "info.json")
_EPISODE = "episode_index"


def recognises(path: Path) -> bool:
    """Return whether this is a folder with meta/info.json."""
    return (path / _INFO).is_file()


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a folder.

    Raises:
        InputError: it is of an unknown version, files are missing or damaged, or paths lead out of it.
    """
    with input_errors(path, "LeRobot data set"):
        info = json.loads(require_inside(path, path / _INFO).read_text())
        version = info.get("codebase_version")
        if version not in VERSIONS:
            raise InputError(
                f"{path} is of LeRobot's version {version!r}; only {', '.join(VERSIONS)} are read: "
                "convert it with LeRobot"
            )
        _require_data_path(path, info)
        files = files_in(path, "data/**/*.parquet")
        if not files:
            raise InputError(f"{path} has no Parquet files in data/; download them")
        sources = [arrow.open_table(file) for file in files]
        indices = [source.read([_EPISODE])[_EPISODE] for source in sources]
        numbers, lengths = np.unique(np.concatenate(indices), return_counts=True)
        described = _described(path, version)
        _require_whole(path, info, dict(zip(numbers.tolist(), lengths.tolist(), strict=True)), described)
        entries = _entries(info["features"], sources[0].entries)
        numeric = [name for name, entry in entries.items() if entry.is_numeric]

        def read(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            wanted = numbers[episodes]
            parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
            found = []
            for source, own in zip(sources, indices, strict=True):
                rows = np.flatnonzero(np.isin(own, wanted))
                if len(rows):
                    found.append(own[rows])
                    for name, array in source.read(names).items():
                        parts[name].append(array[rows])
            there, counts = np.unique(np.concatenate(found), return_counts=True)
            order = np.argsort(np.concatenate(found), kind="stable")
            order = order[rows_of_trajectories(counts, np.searchsorted(there, wanted))]
            return {name: np.concatenate(own)[order] for name, own in parts.items()}

        yield Contents(
            path,
            {name: entries[name] for name in numeric},
            tuple(name for name in numeric if name.startswith("observation")),
            tuple(name for name in numeric if name.split(".")[0] == "action"),
            lengths,
            read,
            identities=tuple(f"episode_{number}" for number in numbers.tolist()),
            attributes=_tasks(described, numbers.tolist()),
            parts=_parts(info.get("splits"), len(numbers)),
            ignored=tuple(name for name in entries if name not in numeric),
            in_parts=True,
        )


def _require_data_path(path: Path, info: Mapping[str, Any]) -> None:
    """Raise `InputError` unless the files are said to lie in data/, where they are looked for."""
    place = PurePosixPath(str(info.get("data_path", "data/")))
    if place.is_absolute() or ".." in place.parts or place.parts[:1] != ("data",):
        raise InputError(f"{path / _INFO} has the data_path {str(place)!r}, which is not in data/; put the files there")


def _entries(features: Mapping[str, Any], columns: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return what the features are; those that are no columns of numbers have the type object."""
    entries = {}
    for name, feature in features.items():
        entry = columns.get(name)
        if entry is None or not entry.is_numeric:
            entries[name] = Entry((), np.dtype(object))
            continue
        labels = _labels(feature.get("names"))
        own = tuple(f"{name}.{label}" for label in labels) if len(labels) == entry.size > 1 else None
        entries[name] = Entry(entry.shape, entry.dtype, own)
    return entries


def _labels(names: Any) -> list[str]:
    """Return the names of a feature's columns: a list, or a dictionary of lists."""
    if isinstance(names, Mapping):
        return [label for part in names.values() for label in _labels(part)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _described(path: Path, version: str) -> dict[int, dict[str, Any]]:
    """Return what meta/ says of each episode: its length and tasks."""
    if version.startswith("v2"):
        file = require_inside(path, path / "meta" / "episodes.jsonl")
        if not file.is_file():
            raise InputError(f"{path} has no meta/episodes.jsonl; download it")
        lines = [json.loads(line) for line in file.read_text().splitlines() if line.strip()]
        return {int(line[_EPISODE]): line for line in lines}
    described: dict[int, dict[str, Any]] = {}
    files = files_in(path, "meta/episodes/**/*.parquet")
    if not files:
        raise InputError(f"{path} has no Parquet files in meta/episodes/; download them")
    for file in files:
        columns = arrow.rows(file, [_EPISODE, "length", "tasks"])
        described |= {int(row[_EPISODE]): row for row in columns}
    return described


def _require_whole(
    path: Path, info: Mapping[str, Any], found: dict[int, int], described: dict[int, dict[str, Any]]
) -> None:
    """Raise `InputError` where the data are not the episodes that meta/ describes."""
    total = int(info.get("total_episodes", len(found)))
    if total != len(found) or set(described) != set(found):
        missing = sorted(set(described) - set(found))
        what = f" (episode {missing[0]} is missing)" if missing else ""
        raise InputError(
            f"{path} describes {total} episodes in meta/, but has {len(found)} in data/{what}; download all"
        )
    for number, length in found.items():
        said = int(described[number]["length"])
        if said != length:
            raise InputError(f"episode {number} of {path} has {length} rows, but meta/ says {said}; download it anew")


def _tasks(described: dict[int, dict[str, Any]], numbers: list[int]) -> dict[str, NDArray[Any]]:
    """Return the task of each episode in words, where it is said."""
    tasks = [described[number].get("tasks") or [] for number in numbers]
    words = ["; ".join(str(task) for task in ([each] if isinstance(each, str) else each)) for each in tasks]
    return {"task": np.array(words)} if any(words) else {}


def _parts(splits: Any, count: int) -> dict[str, list[int]]:
    """Return the indices of the episodes of each split, such as {"train": "0:40"}."""
    parts = {}
    for name, text in (splits or {}).items():
        first, _, last = str(text).partition(":")
        parts[str(name)] = list(range(count)[slice(int(first or 0), int(last or count))])
    return parts
