"""Minari data sets in HDF5, the field's format for demonstrations. They name their environment too."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from manyways.demonstrations import spaces as kinds
from manyways.demonstrations.columns import as_actions, as_numbers
from manyways.demonstrations.formats.arrays import Trajectories, as_modes, require_memory
from manyways.demonstrations.observations import Observations, apply, concatenate, entries, rows_of
from manyways.errors import InputError
from manyways.files import replacing, require_empty, require_space

MODE_KEY = "mode"  # of the label in a Minari episode's metadata


def read(path: Path) -> Trajectories:
    """Read the trajectories in a data set's folder.

    Raises:
        InputError: it is no Minari data set, is damaged, or its spaces cannot be used.
    """
    with _input_errors(path):
        storage = _storage(path)
        observation_space, action_space = storage.observation_space, storage.action_space
        kinds.entry_spaces(observation_space)
        choices = kinds.choices_of(action_space)
        if choices is None and not kinds.is_flat(action_space):
            raise InputError(
                f"the actions of {path} are {action_space}; only boxes of one dimension and choices can be learned: "
                "choose the numbers you want and give them to Demonstrations.from_arrays"
            )
        require_memory(storage.total_steps * _bytes_a_step(observation_space, action_space), str(path))
        observations, actions = [], []
        for episode in storage.get_episodes(range(storage.total_episodes)):
            actions.append(as_actions(episode["actions"], f"actions in {path}", choices is not None))
            # Minari also stores the observation after the last action, which has no action.
            rows = slice(0, len(actions[-1]))
            observations.append(rows_of(apply(np.asarray, episode["observations"]), rows))
    if not actions:
        raise InputError(f"{path} has no trajectories; give a data set with at least one, of two steps or more")
    lengths = np.array([len(array) for array in actions], dtype=np.int64)
    joined = apply(lambda array: as_numbers(array, f"observations in {path}"), concatenate(observations))
    counts = None if choices is None else tuple(int(count) for count in choices)
    return Trajectories(joined, np.concatenate(actions), lengths, counts)


def read_modes(path: Path) -> NDArray[Any] | None:
    """Read the labels in the episodes' metadata; None where there are none, -1 for episodes without one."""
    with _input_errors(path):
        storage = _storage(path)
        metadata = storage.get_episode_metadata(range(storage.total_episodes))
        labels = [episode.get(MODE_KEY) for episode in metadata]
    modes = [label for label in labels if label is not None]
    if not modes:
        return None
    if len(modes) < len(labels):
        if np.array(modes).dtype.kind not in "iu":
            raise InputError(
                f"{path} has a mode for {len(modes)} of {len(labels)} episodes; give whole numbers, or all"
            )
        labels = [-1 if label is None else label for label in labels]
    return as_modes(np.array(labels), len(labels), path)


def local_folder(name: str) -> Path | None:
    """Return the folder of the local Minari data set of this id, if there is one."""
    from minari.storage.datasets_root_dir import get_dataset_path

    folder = Path(get_dataset_path(name))
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
            storage.update_metadata(
                {
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


@contextmanager
def _input_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{path} needs a package that is not installed ({error})") from error
    # Minari and h5py raise all of these; for the user each means a damaged data set.
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged Minari data set ({error}); restore it or make it anew") from error


def _storage(path: Path) -> Any:
    from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage

    data = next((folder for folder in (path / "data", path) if (folder / METADATA_FILE_NAME).is_file()), None)
    if data is None:
        raise InputError(f"{path} is a folder but no Minari data set; give one, or an NPZ file")
    metadata = json.loads((data / METADATA_FILE_NAME).read_text())
    if not {"observation_space", "action_space"} <= set(metadata):
        # Minari would make the environment that the file names, and so run that environment's code.
        raise InputError(f"{path} does not say its observation and action spaces; save it with Minari 0.5 or later")
    return MinariStorage.read(data)


def _bytes_a_step(observation_space: gym.Space[Any], action_space: gym.Space[Any]) -> int:
    boxes = kinds.entry_spaces(observation_space).values()
    return sum(math.prod(box.shape) * box.dtype.itemsize for box in boxes) + 8 * math.prod(action_space.shape or (1,))


def _as_space(observations: Any, space: gym.Space[Any]) -> Any:
    """Return observations in the precision of the space's entries."""
    if isinstance(observations, Mapping):
        return {name: array.astype(space[name].dtype) for name, array in observations.items()}  # type: ignore[index]
    return observations.astype(space.dtype)
