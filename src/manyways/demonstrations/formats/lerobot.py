"""LeRobot's folders, versions 2 and 3: Parquet files in data/, their description in meta/, videos in videos/.

Pictures, in videos or in the Parquet files, are read where they are asked for.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import arrow, order, pictures
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import files_in, input_errors, require_inside
from manyways.demonstrations.stored import stretches
from manyways.errors import InputError
from manyways.files import cache_folder
from manyways.hub import HUB_NAME, hub_client

VERSIONS = ("v2.0", "v2.1", "v3.0")
_INFO = Path("meta", "info.json")
_EPISODE, _FRAME = "episode_index", "frame_index"


_ON_THE_HUB = re.compile(rf"hf:/{{1,2}}datasets/({HUB_NAME.pattern})")


def downloaded(source: str | Path) -> Path | None:
    """Return the folder of a data set on the Hub, hf://datasets/USER/NAME, in the user's cache; None of other sources.

    What is there and has not changed is not downloaded again. Videos are not downloaded.

    Raises:
        InputError: the extra `hub` is missing, or there is no such data set that this user may read.
    """
    found = _ON_THE_HUB.fullmatch(str(source))
    if found is None:
        return None
    folder = cache_folder() / "hub" / found[1]
    with hub_client(f"reading {found[1]} from the Hub") as hub:
        hub.snapshot_download(
            found[1],
            repo_type="dataset",
            local_dir=folder,
            allow_patterns=["meta/*", "data/*"],
            library_name="manyways",
        )
    return folder


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
        if not isinstance(info, Mapping):
            raise ValueError(f"{_INFO} is no object")
        version = info.get("codebase_version")
        if version not in VERSIONS:
            raise InputError(
                f"{path} is of LeRobot's version {version!r}; only {', '.join(VERSIONS)} are read: "
                "convert it with LeRobot"
            )
        if not isinstance(info.get("features"), Mapping):
            raise ValueError(f"{_INFO} has no features")
        _require_data_path(path, info)
        files = files_in(path, "data/**/*.parquet")
        if not files:
            raise InputError(f"{path} has no Parquet files in data/; download them")
        shards = _Shards(files)
        numbers, lengths = shards.episodes
        described = _described(path, version, info["features"])
        _require_whole(path, info, dict(zip(numbers.tolist(), lengths.tolist(), strict=True)), described)
        entries = _entries(info["features"], arrow.open_table(files[0]).entries)
        videos = Videos(path, info, described)
        filmed = {name for name, feature in info["features"].items() if feature.get("dtype") == "video"}

        def read(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            wanted = numbers[episodes]
            arrays = shards.read([name for name in names if name not in filmed], wanted)
            for name, array in arrays.items():
                if array.dtype == object:
                    arrays[name] = pictures.decoded(array, entries[name].shape, f"{name} of {path}")
            for name in filmed & set(names):
                shape = entries[name].shape
                parts = [
                    videos.read(name, int(n), int(lengths[e]), shape) for n, e in zip(wanted, episodes, strict=True)
                ]
                arrays[name] = np.concatenate(parts) if parts else np.zeros((0, *shape), np.uint8)
            return arrays

        numeric = [name for name, entry in entries.items() if entry.is_numeric]
        yield Contents(
            path,
            {name: entries[name] for name in numeric},
            tuple(name for name in numeric if name.startswith("observation")),
            tuple(name for name in numeric if name.split(".")[0] == "action"),
            lengths,
            read,
            identities=tuple(f"episode_{number}" for number in numbers.tolist()),
            attributes=_tasks(described, numbers.tolist()),
            parts=_parts(path, info.get("splits") or {}, len(numbers)),
            ignored=tuple(name for name in entries if name not in numeric),
            notes=shards.notes(path),
            in_parts=True,
        )


class _Shards:
    """Parquet files in which episodes lie, each mostly in one stretch of rows.

    Attributes:
        episodes: the number and the length of each, in the order of their numbers.
        mixed: the numbers of those whose rows do not lie in the order of their frames.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files, self._entries = files, arrow.open_table(files[0]).entries
        numbers, lengths, starts, shards = [], [], [], []
        self.mixed: set[int] = set()
        last: dict[int, float] = {}  # frame of each episode so far
        for shard, file in enumerate(files):
            table = arrow.open_table(file)
            if _EPISODE not in table.entries:
                raise InputError(f"{file} has no column {_EPISODE}; download it anew")
            columns = table.read([name for name in (_EPISODE, _FRAME) if name in table.entries])
            own, frames = columns[_EPISODE], columns.get(_FRAME)
            if own.dtype.kind not in "iuf" or not (own % 1 == 0).all():
                raise InputError(f"{_EPISODE} in {file} is not a whole number in each row; download the file anew")
            own = own.astype(np.int64)
            begins = np.flatnonzero(np.diff(own, prepend=own[:1] - 1))
            numbers.append(own[begins])
            starts.append(begins)
            lengths.append(np.diff(begins, append=len(own)))
            shards.append(np.full(len(begins), shard))
            if frames is not None and frames.shape == own.shape and frames.dtype.kind in "iuf":
                self.mixed |= set(own[1:][(np.diff(own) == 0) & (np.diff(frames) < 0)].tolist())
                for first, end in zip(begins.tolist(), [*begins[1:].tolist(), len(own)], strict=True):
                    number = int(own[first])
                    if frames[first] < last.get(number, -math.inf):
                        self.mixed.add(number)
                    last[number] = frames[end - 1]
        self._numbers, self._starts, self._lengths, self._shards = map(
            np.concatenate, (numbers, starts, lengths, shards)
        )
        there, place = np.unique(self._numbers, return_inverse=True)
        self.episodes = there, np.bincount(place, self._lengths, len(there)).astype(np.int64)

    def notes(self, path: Path) -> tuple[str, ...]:
        """Return the sentence about episodes that are sorted, if there are any."""
        return (
            (order.moved(path, _FRAME, [f"episode_{number}" for number in sorted(self.mixed)]),) if self.mixed else ()
        )

    def read(self, names: Sequence[str], wanted: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return the columns of the episodes of these numbers, end to end in this order, frames in theirs."""
        if not names or not len(wanted):
            return {name: np.zeros(0) for name in names}
        if self.mixed.isdisjoint(wanted.tolist()):
            return self._as_they_lie(names, wanted)
        found = self._as_they_lie([*dict.fromkeys([*names, _FRAME])], wanted)
        owners = self._as_they_lie([_EPISODE], wanted)[_EPISODE]
        places = np.cumsum(np.diff(owners, prepend=owners[:1]) != 0)
        rows = np.lexsort((found[_FRAME], places))
        twice = (np.diff(found[_FRAME][rows]) == 0) & (np.diff(places) == 0)
        if twice.any():
            row = rows[int(np.argmax(twice))]
            raise InputError(
                f"episode {int(owners[row])} in {self._files[0].parents[1]} has the {_FRAME} {found[_FRAME][row]} "
                "twice; download it anew"
            )
        return {name: found[name][rows] for name in names}

    def _as_they_lie(self, names: Sequence[str], wanted: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        chosen = np.flatnonzero(np.isin(self._numbers, wanted))
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        found = []
        for own in np.split(chosen, np.flatnonzero(np.diff(self._shards[chosen])) + 1):
            starts, lengths = self._starts[own], self._lengths[own]
            first, last = int(starts[0]), int(starts[-1] + lengths[-1])
            source = arrow.open_table(self._files[self._shards[own[0]]])
            self._require_alike(self._files[self._shards[own[0]]], source.entries, names)
            for name, array in source.read(names, slice(first, last)).items():
                parts[name].append(stretches(array, starts - first, lengths))
            found.append(np.repeat(self._numbers[own], lengths))
        there, counts = np.unique(np.concatenate(found), return_counts=True)
        order = np.argsort(np.concatenate(found), kind="stable")
        place = np.searchsorted(there, wanted)
        order = stretches(order, (np.cumsum(counts) - counts)[place], counts[place])
        return {name: np.concatenate(own)[order] for name, own in parts.items()}

    def _require_alike(self, file: Path, entries: Mapping[str, Entry], names: Sequence[str]) -> None:
        """Raise `InputError` unless a file has these columns in the type and the shape of the first file."""
        for name in names:
            kind = self._entries.get(name)
            if name not in entries or kind is None:
                raise InputError(f"{file} has no column {name}, which others have; download it anew")
            own = entries[name]
            if (own.dtype, own.shape) != (kind.dtype, kind.shape):
                raise InputError(
                    f"{name} in {file} is {own.dtype} of shape {own.shape}, but {kind.dtype} of shape {kind.shape} in "
                    f"{self._files[0].name}; download it anew"
                )


class Videos:
    """The videos of a data set: an episode in each file (version 2), or several one after the other (version 3).

    Args:
        path: the folder.
        info: meta/info.json.
        described: what meta/ says of each episode, by its number.
    """

    def __init__(self, path: Path, info: Mapping[str, Any], described: Mapping[int, Mapping[str, Any]]) -> None:
        self._path, self._described = path, described
        self._rate, self._chunk = float(info.get("fps") or 0), int(info.get("chunks_size") or 1000)
        self._place = str(info.get("video_path") or "")

    def read(self, name: str, episode: int, length: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the frames of an episode, (length, height, width, channels)."""
        if not 0 < self._rate < math.inf:
            raise InputError(f"{self._path / _INFO} has no fps, frames in a second; restore it")
        row = self._described[episode]
        start = row.get(f"videos/{name}/from_timestamp")
        known: dict[str, Any] = {"video_key": name, "episode_index": episode, "episode_chunk": episode // self._chunk}
        known |= {key: row.get(f"videos/{name}/{key}") for key in ("chunk_index", "file_index")}
        file = require_inside(self._path, self._path / _place(self._path, self._place, known))
        if not file.is_file():
            raise InputError(f"{file} with {name} of episode {episode} is not there; download it")
        return pictures.frames(file, float(start or 0), length, self._rate, shape)


def _place(path: Path, template: str, known: Mapping[str, Any]) -> str:
    """Return where a video is, from a template such as videos/{video_key}/chunk-{chunk_index:03d}.mp4."""
    # Not by str.format, which would follow whatever a hostile template names.
    place = re.sub(r"\{(\w+)(?::0(\d)d)?\}", lambda m: str(known.get(m[1], "")).zfill(int(m[2] or 0)), template)
    parts = PurePosixPath(place).parts
    if parts[:1] != ("videos",) or ".." in parts or set("{}\0") & set(place):
        raise InputError(
            f"{path / _INFO} has the video_path {template!r}, which is not in videos/; put the videos there"
        )
    return place


def _require_data_path(path: Path, info: Mapping[str, Any]) -> None:
    """Raise `InputError` unless the files are said to lie in data/, where they are looked for."""
    place = PurePosixPath(str(info.get("data_path", "data/")))
    if place.is_absolute() or ".." in place.parts or place.parts[:1] != ("data",):
        raise InputError(f"{path / _INFO} has the data_path {str(place)!r}, which is not in data/; put the files there")


def _entries(features: Mapping[str, Any], columns: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return what the features are; those that are neither columns of numbers nor pictures have the type object."""
    entries = {}
    for name, feature in features.items():
        if feature.get("dtype") in ("image", "video"):
            shape = pictures.channels_last(tuple(feature["shape"]), feature.get("names") or ())
            entries[name] = Entry((), np.dtype(object)) if shape is None else Entry(shape, np.dtype(np.uint8))
            continue
        entry = columns.get(name)
        if entry is None or not entry.is_numeric:
            entries[name] = Entry((), np.dtype(object))
            continue
        labels = _labels(feature.get("names"))
        own = tuple(f"{name}.{label}" for label in labels) if len(set(labels)) == entry.size > 1 else None
        entries[name] = Entry(entry.shape, entry.dtype, own)
    return entries


def _labels(names: Any) -> list[str]:
    """Return the names of a feature's columns: a list, or a dictionary of lists."""
    if isinstance(names, Mapping):
        return [label for part in names.values() for label in _labels(part)]
    return [str(name) for name in names] if isinstance(names, list) else []


def _described(path: Path, version: str, features: Iterable[str]) -> dict[int, dict[str, Any]]:
    """Return what meta/ says of each episode: its length, its tasks, and where its videos are."""
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
    videos = [f"videos/{name}/{key}" for name in features for key in ("chunk_index", "file_index", "from_timestamp")]
    for file in files:
        columns = arrow.rows(file, [_EPISODE, "length", "tasks", *videos])
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


def _parts(path: Path, splits: Any, count: int) -> dict[str, list[int]]:
    """Return the indices of the episodes of each split, such as {"train": "0:40"}."""
    parts = {}
    if not isinstance(splits, Mapping) or not all(re.fullmatch(r"\d*:\d*", str(text)) for text in splits.values()):
        raise InputError(f'{path / _INFO} has the splits {splits!r}; give places by name, such as {{"train": "0:40"}}')
    for name, text in splits.items():
        first, _, last = str(text).partition(":")
        parts[str(name)] = list(range(count)[slice(int(first or 0), int(last or count))])
    return parts
