"""Minari data sets in HDF5, the field's format for demonstrations. They name their environment too."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from manyways.demonstrations import spaces as kinds
from manyways.demonstrations.formats.arrays import Attributes, Names, as_attributes
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.hdf5 import open_file, words
from manyways.demonstrations.formats.reading import input_errors, stored_size
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
        if choices is None and not kinds.is_flat(action_space):
            raise InputError(
                f"the actions of {path} are {action_space}; only boxes of one dimension and choices can be learned: "
                "choose the numbers you want and give them to Demonstrations.from_arrays"
            )
        if _ACTIONS in entries:
            raise InputError(f"{path} has an observation called {_ACTIONS}; give it another name")
        if not entries:
            raise InputError(f"{path} has only words to observe ({', '.join(texts)}), no numbers; add some")
        metadata = list(storage.get_episode_metadata(range(storage.total_episodes)))
        lengths = np.array([int(episode["total_steps"]) for episode in metadata], dtype=np.int64)
        names = about.get("names", {})

        def read(chosen: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            arrays: dict[str, list[NDArray[Any]]] = {name: [] for name in chosen}
            for index, episode in zip(episodes, storage.get_episodes(episodes.tolist()), strict=True):
                for name, own in arrays.items():
                    if name == _ACTIONS:
                        own.append(np.asarray(episode["actions"]))
                    else:
                        value = _numbers(parts[name], _within(episode["observations"], storage.observation_space, name))
                        # Minari also stores the observation after the last action, which has no action.
                        own.append(value[: lengths[index]])
                    if len(own[-1]) != lengths[index]:
                        raise ValueError(f"{name} of episode {index} has {len(own[-1])} steps, not {lengths[index]}")
            return {name: np.concatenate(own) if own else np.zeros((0, 1)) for name, own in arrays.items()}

        labels = _columns(names)
        entries = {n: replace(e, columns=labels.get(n) or e.columns) for n, e in entries.items()}
        entries[_ACTIONS] = Entry(action_space.shape, action_space.dtype, labels.get(_ACTIONS))
        if not len(lengths):
            raise InputError(f"{path} has no trajectories; give a data set with at least one, of two steps or more")
        yield Contents(
            path,
            entries,
            tuple(name for name in entries if name != _ACTIONS),
            (_ACTIONS,),
            lengths,
            read,
            identities=tuple(str(episode.get("identity", f"episode_{i}")) for i, episode in enumerate(metadata)),
            attributes=_attributes(storage, metadata, texts),
            choices=None if choices is None else tuple(int(count) for count in choices),
            discrete=choices is not None,
            form="array" if list(parts) == [_ALONE] else "dictionary",
            ignored=texts,
            stored=stored,
            modes=lambda: _labels(path, [episode.get(MODE_KEY) for episode in metadata]),
            in_parts=True,
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
    if not {"observation_space", "action_space"} <= set(metadata):
        # Minari would make the environment that the file names, and so run that environment's code.
        raise InputError(f"{path} does not say its observation and action spaces; save it with Minari 0.5 or later")
    if metadata.get("data_format", "hdf5") == "hdf5" and (data / "main_data.hdf5").is_file():
        with open_file(data / "main_data.hdf5", "Minari data set"):
            pass  # it has no links to other files
    return MinariStorage.read(data), metadata.get(_ABOUT, {}), stored


def _as_space(observations: Any, space: gym.Space[Any]) -> Any:
    """Return observations in the precision of the space's entries."""
    if isinstance(observations, Mapping):
        return {name: array.astype(space[name].dtype) for name, array in observations.items()}  # type: ignore[index]
    return observations.astype(space.dtype)
