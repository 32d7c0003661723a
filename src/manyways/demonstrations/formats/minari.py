"""Minari data sets in HDF5, the field's format for demonstrations. They name their environment too."""

import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from manyways.demonstrations import spaces as kinds
from manyways.demonstrations.formats.arrays import Attributes, Names, as_attributes, column_names
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.hdf5 import open_file, words
from manyways.demonstrations.formats.reading import input_errors, stored_size
from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.observations import Observations, concatenate, entries, rows_of
from manyways.errors import InputError
from manyways.files import replacing, require_empty, require_space

MODE_KEY = "mode"  # of the label in a Minari episode's metadata
_ALONE, _ACTIONS = "observations", "actions"  # the entry of observations that are no dictionary; that of actions


_ABOUT = "manyways"  # of the names of columns in the data set's metadata
_OWN = {MODE_KEY, "identity", "id", "total_steps", "seed"}  # in an episode's metadata; the rest is its attributes


def recognises(path: Path) -> bool:
    """Return whether this is the folder of a Minari data set, or its folder `data`."""
    return _data_folder(path) is not None


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open the data set in a folder.

    Raises:
        InputError: it is no Minari data set, is damaged, or its spaces cannot be used.
    """
    with input_errors(path, "Minari data set"):
        storage, about, stored = _storage(path)
        action_space = storage.action_space
        parts = dict(_flattened(storage.observation_space, ""))
        texts = tuple(name for name, space in parts.items() if isinstance(space, gym.spaces.Text))
        entries = {name: _entry(name, space, path) for name, space in parts.items() if name not in texts}
        choices = kinds.choices_of(action_space)
        acted = _acted(path, action_space, entries)
        if _ACTIONS in entries:
            raise InputError(f"{path} has an observation called {_ACTIONS}; give it another name")
        if not entries:
            raise InputError(f"{path} has only words to observe ({', '.join(texts)}), no numbers; add some")
        try:
            metadata = list(storage.get_episode_metadata(range(storage.total_episodes)))
        except KeyError as error:
            count = storage.total_episodes
            raise InputError(f"{path} says that it has {count} episodes, but not all are there; restore it") from error
        lengths = np.array([int(episode["total_steps"]) for episode in metadata], dtype=np.int64)
        names = about.get("names", {})

        def read(chosen: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in chosen}
            for index, episode in zip(episodes, storage.get_episodes(episodes.tolist()), strict=True):
                for name, own in arrays.items():
                    if name in acted:
                        own.append(_as_acted(episode["actions"], action_space, acted[name]))
                    else:
                        value = _numbers(parts[name], _within(episode["observations"], storage.observation_space, name))
                        # Minari also stores the observation after the last action, which has no action.
                        own.append(value[: lengths[index]])
                    if len(own[-1]) != lengths[index]:
                        raise ValueError(f"{name} of episode {index} has {len(own[-1])} steps, not {lengths[index]}")
            return {name: np.concatenate(own) if own else np.zeros((0, 1)) for name, own in arrays.items()}

        labels = _columns(names)
        entries = {n: replace(e, columns=labels.get(n) or e.columns) for n, e in entries.items()}
        for name, inner in acted.items():
            part = _space_of(action_space, inner)
            own = labels.get(_ACTIONS) if name == _ACTIONS else column_names(name, math.prod(part.shape))
            entries[name] = Entry(part.shape, part.dtype, own)
        if not len(lengths):
            raise InputError(f"{path} has no trajectories; give a data set with at least one, of two steps or more")
        yield Contents(
            path,
            entries,
            tuple(name for name in entries if name not in acted),
            tuple(acted),
            lengths,
            read,
            identities=tuple(str(episode.get("identity", f"episode_{i}")) for i, episode in enumerate(metadata)),
            attributes=_attributes(storage, metadata, texts),
            choices=None if choices is None else tuple(int(count) for count in choices),
            discrete=choices is not None,
            form="array" if list(parts) == [_ALONE] else "dictionary",
            ignored=texts,
            notes=_shifted(path, action_space),
            stored=stored,
            modes=lambda: _labels(path, [episode.get(MODE_KEY) for episode in metadata]),
            in_parts=True,
        )


def _acted(path: Path, space: gym.Space[Any], taken: Collection[str]) -> dict[str, str]:
    """Return the entries of actions, with the name of each within the space; not those that are `taken`.

    Raises:
        InputError: they are neither choices nor numbers.
    """
    if kinds.choices_of(space) is not None or kinds.is_flat(space):
        return {_ACTIONS: ""}
    parts = dict(_flattened(space, ""))
    others = [name for name, part in parts.items() if not isinstance(part, gym.spaces.Box) or len(part.shape) > 1]
    if others or not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        what = listed([f"{name} {parts[name]}" for name in others]) if parts.keys() != {_ALONE} else str(space)
        raise InputError(
            f"the actions of {path} hold {what}; only choices alone, and numbers alone or in dictionaries, can be "
            "learned: give those that you want to Demonstrations.from_arrays"
        )
    return {f"{_ACTIONS}.{name}" if name in taken or name.isdecimal() else name: name for name in parts}


def _space_of(space: gym.Space[Any], name: str) -> Any:
    """Return the space that stands under a name of `_flattened`; the whole one under ""."""
    return dict(_flattened(space, ""))[name] if name else space


def _as_acted(value: Any, space: gym.Space[Any], name: str) -> NDArray[Any]:
    """Return the actions of a name of `_acted`, (steps, ...), choices counted from 0."""
    array = np.asarray(_within(value, space, name) if name else value)
    return array - getattr(space, "start", 0) if kinds.choices_of(space) is not None else array


def _shifted(path: Path, space: gym.Space[Any]) -> tuple[str, ...]:
    """Return the sentence about choices that do not begin at 0."""
    start = np.asarray(getattr(space, "start", 0))
    if not start.any():
        return ()
    return (f"the choices of {path} begin at {start.tolist()}; here they begin at 0: add that for the environment",)


def _require_known(path: Path, version: Any) -> None:
    """Raise `InputError` where a later major version of Minari wrote a data set."""
    import minari

    major = re.match(r"\d+", str(version))
    if major and int(major[0]) > int(minari.__version__.split(".")[0]):
        raise InputError(
            f"{path} is of Minari's version {version}, but only versions up to that of the installed "
            f"{minari.__version__} are read; install a later Minari, or save the data set with this one"
        )


def _labels(path: Path, labels: list[Any]) -> NDArray[Any] | None:
    """Return the labels in the episodes' metadata; None where there are none."""
    modes = [label for label in labels if label is not None]
    if not modes:
        return None
    if len(modes) == len(labels):
        return np.array(labels)
    if np.ndim(modes[0]):
        raise InputError(f"{path} has a mode for {len(modes)} of {len(labels)} episodes; give one to all")
    return as_attributes([{"mode": label} for label in labels])["mode"]


def _flattened(space: gym.Space[Any], name: str) -> Iterator[tuple[str, gym.Space[Any]]]:
    """Yield the spaces inside dictionaries and tuples, by names such as "arm.position"; `_ALONE` for one without."""
    inner = space.spaces if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple) else None
    if inner is None:
        yield name or _ALONE, space
        return
    for key, part in inner.items() if isinstance(inner, Mapping) else enumerate(inner):
        yield from _flattened(part, f"{name}.{key}" if name else str(key))


def _within(value: Any, space: gym.Space[Any], name: str) -> Any:
    """Return the value that stands under a name of `_flattened`."""
    if not isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        return value
    inner: Any = space.spaces
    for key in inner if isinstance(inner, Mapping) else range(len(inner)):
        deeper = isinstance(inner[key], gym.spaces.Dict | gym.spaces.Tuple) and name.startswith(f"{key}.")
        if name == str(key) or deeper:
            return _within(value[key], inner[key], name[len(str(key)) + 1 :])
    raise KeyError(name)


def _entry(name: str, space: gym.Space[Any], path: Path) -> Entry:
    """Return what can be observed of a space: boxes as they are, choices as one-hot columns."""
    if isinstance(space, gym.spaces.Box):
        return Entry(space.shape, space.dtype)
    if isinstance(space, gym.spaces.MultiBinary):
        return Entry((int(np.prod(space.shape)),), np.dtype(np.float32))
    choices = kinds.choices_of(space)
    if choices is None:
        where = "" if name == _ALONE else f" {name}"
        raise InputError(
            f"the observation{where} of {path} is {space}; only boxes, choices and words are read: convert it"
        )
    shape = (int(choices.sum()),)
    if len(choices) == 1:
        return Entry(shape, np.dtype(np.float32), tuple(f"{name}.{choice}" for choice in range(choices[0])))
    columns = tuple(f"{name}.{part}.{choice}" for part, count in enumerate(choices) for choice in range(count))
    return Entry(shape, np.dtype(np.float32), columns)


def _numbers(space: gym.Space[Any], value: Any) -> NDArray[Any]:
    """Return the steps of a space, (steps, ...), choices as one-hot columns."""
    array = np.asarray(value)
    if isinstance(space, gym.spaces.MultiBinary):
        return array.reshape(len(array), -1).astype(np.float32)
    choices = kinds.choices_of(space)
    if choices is None:
        return array
    parts = (array.reshape(len(array), -1) - np.atleast_1d(getattr(space, "start", 0))).T
    hot = [part[:, None] == np.arange(count) for part, count in zip(parts, choices, strict=True)]
    return np.concatenate(hot, axis=1).astype(np.float32)


def _columns(names: Any) -> dict[str, tuple[str, ...]]:
    """Return the names of columns by entry, from the data set's metadata."""
    found = {}
    for place, columns in names.items():
        entry = _ALONE if place == "observations" else str(place).removeprefix("observations/")
        found[entry] = tuple(str(column) for column in columns)
    return found


def _attributes(storage: Any, metadata: list[Any], texts: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return what the episodes' metadata say, and the words that were observed at each one's first step."""
    rows: list[dict[str, Any]] = []
    for episode in metadata:
        known = {name: words(value) for name, value in episode.items() if name not in _OWN}
        rows.append({name: value for name, value in known.items() if value is not None})
    if texts:
        for row, episode in zip(rows, storage.get_episodes(range(len(metadata))), strict=True):
            for name in texts:
                row[name] = str(_within(episode["observations"], storage.observation_space, name)[0])
    return as_attributes(rows)


def local_folder(name: str) -> Path | None:
    """Return the folder of the local Minari data set of this id, if there is one."""
    root = os.environ.get("MINARI_DATASETS_PATH")  # as Minari has it, which takes half a second to import
    folder = (Path.home() / ".minari" / "datasets" if root is None else Path(root)) / name
    return folder if folder.is_dir() else None


def write_minari(
    path: Path,
    observations: Observations,
    actions: NDArray[Any],
    lengths: NDArray[np.int64],
    *,
    choices: tuple[int, ...] | None = None,
    modes: NDArray[Any] | None = None,
    rewards: NDArray[Any] | None = None,
    final_observations: Observations | None = None,
    terminations: NDArray[np.bool_] | None = None,
    seed: int | None = None,
    env_spec: EnvSpec | None = None,
    names: Names | None = None,
    identities: Sequence[str] | None = None,
    attributes: Attributes | None = None,
    spaces: tuple[gym.Space[Any], gym.Space[Any]] | None = None,
    description: str = "Demonstrations, unlabelled by construction",
) -> None:
    """Write a Minari data set to the folder `path` in HDF5.

    Args:
        path: the data set's folder, whose name becomes the last part of its id; must not exist yet, or be empty.
        observations: (steps, ...), trajectories end to end, or a dictionary of such arrays.
        actions: (steps, n); whole numbers (steps,) or (steps, parts) for choices.
        lengths: (trajectories,).
        choices: (parts,), how many each part of a discrete action has; None for as many as occur.
        modes: labels as `load_modes` returns them, for each episode's metadata.
        rewards: (steps,); None for zeros.
        final_observations: (trajectories, ...), the observation after the last action; None repeats the last one.
        terminations: (trajectories,), whether the episode ended by itself (it is truncated otherwise).
        seed: of the environment, for the description.
        env_spec: the environment, so that Minari can make it again.
        names: of the columns, as in `Demonstrations`.
        identities: of the trajectories, as there.
        attributes: of the trajectories, as there.
        spaces: of observations and actions; None for those that the arrays need.
        description: a sentence for the data set's metadata.

    Raises:
        InputError: the folder holds something.
        WriteError: the system refused to write.
    """
    import minari
    from minari.data_collector import EpisodeBuffer  # its fields say list, but arrays are stored alike
    from minari.dataset.minari_storage import MinariStorage

    require_empty(path)
    if spaces is None:
        spaces = (kinds.observation_space(observations), kinds.action_space(actions, choices))
    if rewards is None:
        rewards = np.zeros(len(actions))
    starts = np.cumsum(lengths) - lengths

    def episodes() -> Iterator[EpisodeBuffer]:
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            rows = slice(start, start + length)
            own = rows_of(observations, rows)
            last = rows_of(own, slice(-1, None))
            if final_observations is not None:
                last = rows_of(final_observations, slice(index, index + 1))
            ends = np.arange(length) == length - 1
            terminated = terminations is not None and bool(terminations[index])
            yield EpisodeBuffer(
                id=index,
                observations=_as_space(concatenate([own, last]), spaces[0]),
                actions=actions[rows].astype(spaces[1].dtype),
                rewards=rewards[rows],
                terminations=ends & terminated,
                truncations=ends & (not terminated),
            )

    with replacing(path) as partial:
        partial.mkdir()
        # On a full disk HDF5 ends the whole process, so the space is checked first: 18 bytes a step for rewards and
        # flags, and 64 kB an episode for HDF5 itself (14 to 45 kB were measured).
        size = sum(array.nbytes for _, array in entries(observations)) + actions.nbytes
        require_space(partial, size + 18 * len(actions) + 2**16 * len(lengths))
        try:
            # Absolute: for the data set's size Minari 0.5 joins a relative folder to itself.
            storage = MinariStorage.new(
                partial.resolve() / "data", *spaces, env_spec=env_spec, data_format="hdf5", jpeg_encoding=False
            )
            storage.update_episodes(episodes())
            if modes is not None:
                storage.update_episode_metadata({MODE_KEY: mode.tolist()} for mode in modes)
            if identities is not None:
                storage.update_episode_metadata({"identity": str(identity)} for identity in identities)
            for name, values in (attributes or {}).items():
                key = f"attribute {name}" if name in _OWN else name.replace("/", " ")
                storage.update_episode_metadata({key: value.item()} for value in values)
            storage.update_metadata(
                {
                    **({} if names is None else {_ABOUT: {"names": dict(names)}}),
                    "dataset_id": _dataset_id(path.name),
                    "minari_version": minari.__version__,
                    "description": description if seed is None else f"{description}; seed {seed}",
                    "algorithm_name": "expert",
                }
            )
        except RuntimeError as error:  # HDF5's error when it cannot write
            raise OSError(str(error)) from error


def _dataset_id(name: str) -> str:
    """Return a data set id that Minari accepts, from a folder's name."""
    letters = "".join(character if character.isalnum() or character in "-_" else "-" for character in name)
    return f"{letters.strip('-') or 'demonstrations'}-v0"


def _data_folder(path: Path) -> Path | None:
    from minari.dataset.minari_storage import METADATA_FILE_NAME

    return next((folder for folder in (path / "data", path) if (folder / METADATA_FILE_NAME).is_file()), None)


def _storage(path: Path) -> tuple[Any, Any, int]:
    """Return the open data set, what manyways wrote about it, and its size on the disk in bytes."""
    from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage

    data = _data_folder(path)
    if data is None:
        raise InputError(f"{path} is a folder but no Minari data set; give one, or an NPZ file")
    stored = stored_size(path)
    metadata = json.loads((data / METADATA_FILE_NAME).read_text())
    if not isinstance(metadata, Mapping):
        raise ValueError(f"{METADATA_FILE_NAME} is no object")
    _require_known(path, metadata.get("minari_version"))
    if not {"observation_space", "action_space"} <= set(metadata):
        # Minari would make the environment that the file names, and so run that environment's code.
        raise InputError(f"{path} does not say its observation and action spaces; save it with Minari 0.5 or later")
    if metadata.get("data_format", "hdf5") == "hdf5" and (data / "main_data.hdf5").is_file():
        with open_file(data / "main_data.hdf5", "Minari data set"):
            pass  # it has no links to other files
    if metadata.get("data_format", "hdf5") not in ("hdf5", "arrow"):
        raise InputError(f"{path} is in the data format {metadata['data_format']!r}; save it as hdf5 or arrow")
    if not any(file.is_file() for file in data.rglob("*") if file.name != METADATA_FILE_NAME):
        raise InputError(f"{data} has no data beside {METADATA_FILE_NAME}; download or copy it")
    try:
        storage = MinariStorage.read(data)
        _ = storage.observation_space, storage.action_space
    except (AssertionError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(
            f"the observation or action space in {data / METADATA_FILE_NAME} is none that Minari knows; restore it, or "
            "save the data set again"
        ) from error
    return storage, metadata.get(_ABOUT, {}), stored


def _as_space(observations: Any, space: gym.Space[Any]) -> Any:
    """Return observations in the precision of the space's entries."""
    if isinstance(observations, Mapping):
        return {name: array.astype(space[name].dtype) for name, array in observations.items()}  # type: ignore[index]
    return observations.astype(space.dtype)
