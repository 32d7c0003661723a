"""Arrays of demonstrations on disk: NPZ files and Minari data sets. Nothing that is read here can run code."""

import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.files import replacing, require_empty, require_space

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

OBSERVATION_NAMES = ("observations", "states")
MODE_KEY = "mode"  # where the label stands in a Minari episode's metadata


def read(source: str | Path) -> tuple[Floats, Floats, Integers]:
    """Read observations, actions and lengths, of which the caller checks that they fit; see `Demonstrations.load`."""
    path = _locate(source)
    return _read_minari(path) if path.is_dir() else _read_npz(path)


def load_modes(source: str | Path) -> NDArray[Any] | None:
    """Read the ground-truth labels beside demonstrations, for scoring; see `Demonstrations.load` for `source`.

    Returns:
        (trajectories,) whole numbers (other labels are numbered in sorted order); (trajectories, numbers) for modes
        in a continuous range; or None where there are no labels.

    Raises:
        InputError: the source is missing or damaged, or has labels that do not fit its trajectories.
    """
    path = _locate(source)
    if path.is_dir():
        with _reading_minari(path):
            storage = _minari_storage(path)
            episodes = range(storage.total_episodes)
            labels = [metadata.get(MODE_KEY) for metadata in storage.get_episode_metadata(episodes)]
        if any(label is None for label in labels):
            return None
        return _as_modes(np.array(labels), len(labels), path)
    with _open_npz(path) as archive:
        if "modes" not in archive:
            return None
        lengths = _entry(archive, "lengths", path) if "lengths" in archive else _entry(archive, "actions", path)
        return _as_modes(_entry(archive, "modes", path), len(lengths), path)


def write(path: Path, observations: Floats, actions: Floats, lengths: Integers, modes: NDArray[Any] | None) -> None:
    """Write an NPZ file or a Minari folder; see `Demonstrations.save`."""
    if modes is not None:
        modes = _as_modes(modes, len(lengths), path)
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {"observations": observations, "actions": actions, "lengths": lengths}
        if modes is not None:
            arrays["modes"] = modes
        # NumPy adds its suffix to a name that lacks it, so it is given the open file.
        with replacing(path) as partial, open(partial, "wb") as file:
            np.savez(file, **arrays)
    else:
        write_minari(path, observations, actions, lengths, modes=modes)


def write_minari(
    path: Path,
    observations: Floats,
    actions: Floats,
    lengths: Integers,
    *,
    modes: NDArray[Any] | None = None,
    rewards: NDArray[Any] | None = None,
    final_observations: NDArray[Any] | None = None,
    terminations: NDArray[np.bool_] | None = None,
    seed: int | None = None,
    env_spec: EnvSpec | None = None,
    spaces: tuple[gym.Space[Any], gym.Space[Any]] | None = None,
    description: str = "Demonstrations, unlabelled by construction",
) -> None:
    """Write a Minari data set to the folder `path` in HDF5.

    Args:
        path: the data set's folder, whose name becomes the last part of its id; must not exist yet, or be empty.
        observations: (steps, observation size), trajectories end to end.
        actions: (steps, action size).
        lengths: (trajectories,).
        modes: labels as `load_modes` returns them, kept in each episode's metadata.
        rewards: (steps,); zeros where they are not known.
        final_observations: (trajectories, observation size), what was seen after the last action; the last
            observation is repeated where it is not known.
        terminations: (trajectories,), whether the episode ended by itself (it is truncated otherwise).
        seed: of the environment, for the description.
        env_spec: the environment, so that Minari can make it again.
        spaces: of observations and actions; unbounded boxes where they are not known.
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
        spaces = (_box(observations.shape[1]), _box(actions.shape[1]))
    if rewards is None:
        rewards = np.zeros(len(actions))
    starts = np.cumsum(lengths) - lengths

    def episodes() -> Iterator[EpisodeBuffer]:
        for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            rows = slice(start, start + length)
            last = observations[rows][-1] if final_observations is None else final_observations[index]
            ends = np.arange(length) == length - 1
            terminated = terminations is not None and bool(terminations[index])
            yield EpisodeBuffer(
                id=index,
                observations=np.concatenate([observations[rows], last[None]]).astype(spaces[0].dtype),
                actions=actions[rows].astype(spaces[1].dtype),
                rewards=rewards[rows],
                terminations=ends & terminated,
                truncations=ends & (not terminated),
            )

    with replacing(path) as partial:
        partial.mkdir()
        # On a full disk HDF5 ends the whole process, so it begins only where there is room: 18 bytes a step for
        # rewards and flags, and 64 kB an episode for HDF5 itself (14 to 45 kB were measured).
        numbers = observations.nbytes + actions.nbytes
        require_space(partial, numbers + 18 * len(actions) + 2**16 * len(lengths))
        try:
            # Absolute, because Minari 0.5 joins a relative folder to itself when it asks for the data set's size.
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
        except RuntimeError as error:  # how HDF5 says that it could not write
            raise OSError(str(error)) from error


def as_float32(value: Any, name: str) -> Floats:
    """Return `value` as a float32 array without copying where it is one already.

    Raises:
        InputError: it is not an array of real numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested lists of different lengths
        raise InputError(f"{name} are not a regular array ({error}); give equal rows") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are of type {array.dtype}, not real numbers; convert them")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is reported with its place
        return array.astype(np.float32, copy=False)


def _locate(source: str | Path) -> Path:
    """Return the file or folder that `source` names, looking among the local Minari data sets last."""
    path = Path(source)
    if path.exists():
        return path
    if not path.is_absolute() and path.suffix != ".npz":
        from minari.storage.datasets_root_dir import get_dataset_path

        local = Path(get_dataset_path(str(source)))
        if local.is_dir():
            return local
        raise InputError(
            f"{source} is no file, no folder and no local Minari data set; check the path, or see `minari list local`"
        )
    raise InputError(f"{source} does not exist; check the path")


# NPZ


@contextmanager
def _open_npz(path: Path) -> Iterator[Any]:
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{path} is not an NPZ file, or is cut short; save one with numpy.savez, or give a Minari data set"
            )
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path} is damaged or cannot be read ({error}); save it again") from error


def _entry(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise InputError(
                f"{name} in {path} holds Python objects, which only a pickle could restore and which could run code; "
                "save plain numbers instead: trajectories end to end, (steps, n), with `lengths`"
            ) from None
        raise InputError(f"{name} in {path} is damaged ({error}); save it again") from error
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(f"{name} in {path} is damaged ({error}); save it again") from error
    return array


def _read_npz(path: Path) -> tuple[Floats, Floats, Integers]:
    with _open_npz(path) as archive:
        seen = next((name for name in OBSERVATION_NAMES if name in archive), None)
        for name, names in ((seen, "observations"), ("actions" if "actions" in archive else None, "actions")):
            if name is None:
                held = ", ".join(archive.files) or "nothing"
                raise InputError(f"{path} has no array {names}; it holds {held}: rename or add it")
        observations = as_float32(_entry(archive, str(seen), path), f"{seen} in {path}")
        actions = as_float32(_entry(archive, "actions", path), f"actions in {path}")
        lengths = _entry(archive, "lengths", path) if "lengths" in archive else None
    expected = 3 if lengths is None else 2
    for name, array in ((seen, observations), ("actions", actions)):
        if array.ndim != expected:
            raise InputError(
                f"{name} in {path} have shape {array.shape}; give (trajectories, steps, n), "
                "or (steps, n) together with lengths (trajectories,)"
            )
    if lengths is None:
        if observations.shape[:2] != actions.shape[:2]:
            raise InputError(
                f"{path} has observations {observations.shape} but actions {actions.shape}; "
                "their trajectories and steps must be the same"
            )
        lengths = np.full(len(actions), actions.shape[1])
        observations, actions = (array.reshape(lengths.sum(), array.shape[2]) for array in (observations, actions))
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise InputError(
            f"lengths in {path} are {lengths.dtype} of shape {lengths.shape}; "
            "give whole numbers of shape (trajectories,)"
        )
    return observations, actions, lengths.astype(np.int64)


def _as_modes(labels: NDArray[Any], trajectories: int, path: Path) -> NDArray[Any]:
    if labels.ndim == 2 and len(labels) == trajectories and labels.dtype.kind == "f":
        return labels.astype(np.float64)
    if labels.shape != (trajectories,):
        raise InputError(f"the modes for {path} have shape {labels.shape}; give one a trajectory, ({trajectories},)")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


# Minari


def _box(size: int) -> gym.spaces.Box:
    return gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)


def _dataset_id(name: str) -> str:
    """Return a data set id that Minari accepts, made of a folder's name."""
    kept = "".join(character if character.isalnum() or character in "-_" else "-" for character in name)
    return f"{kept.strip('-') or 'demonstrations'}-v0"


@contextmanager
def _reading_minari(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f"{path} needs a package that is not installed ({error})") from error
    # Minari and h5py raise whatever their parts do; to the user all of it is a damaged data set.
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged Minari data set ({error}); restore it or make it anew") from error


def _minari_storage(path: Path) -> Any:
    from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage

    data = next((folder for folder in (path / "data", path) if (folder / METADATA_FILE_NAME).is_file()), None)
    if data is None:
        raise InputError(f"{path} is a folder but no Minari data set; give one, or an NPZ file")
    metadata = json.loads((data / METADATA_FILE_NAME).read_text())
    if not {"observation_space", "action_space"} <= set(metadata):
        # Minari would make the environment that the file names, and with it run that environment's code.
        raise InputError(f"{path} does not say its observation and action spaces; save it with Minari 0.5 or later")
    return MinariStorage.read(data)


def _read_minari(path: Path) -> tuple[Floats, Floats, Integers]:
    with _reading_minari(path):
        storage = _minari_storage(path)
        for name, space in (("observations", storage.observation_space), ("actions", storage.action_space)):
            if not (isinstance(space, gym.spaces.Box) and len(space.shape) == 1):
                raise InputError(
                    f"the {name} of {path} are {space}; only boxes of one dimension can be read: "
                    "choose the numbers you want and give them to Demonstrations.from_arrays"
                )
        observations, actions = [], []
        for episode in storage.get_episodes(range(storage.total_episodes)):
            actions.append(as_float32(episode["actions"], f"actions in {path}"))
            # Minari keeps the observation after the last action, to which nobody acted.
            observations.append(as_float32(episode["observations"], f"observations in {path}")[: len(actions[-1])])
    if not actions:
        raise InputError(f"{path} has no trajectories; give a data set with at least one, of two steps or more")
    lengths = np.array([len(array) for array in actions], dtype=np.int64)
    return np.concatenate(observations), np.concatenate(actions), lengths
