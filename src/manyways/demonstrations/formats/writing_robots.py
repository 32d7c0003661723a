"""Trajectories as robot data sets: a LeRobot folder of version 3, or a replay buffer of Diffusion Policy in zarr 2."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import Trajectories
from manyways.demonstrations.formats.reading import require_package
from manyways.demonstrations.observations import entries
from manyways.errors import InputError
from manyways.files import replacing, require_empty, require_space, write_json

_TASK = "no task"
_RATE = 1  # steps a second: demonstrations do not say how long a step takes
_CHUNK = 2**22  # bytes
_TEXT = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
# What pandas, by which LeRobot reads the tasks, takes for the index.
_INDEX = json.dumps({"index_columns": ["task"], "column_indexes": [], "columns": [_TEXT], "pandas_version": "2"})
_FILES: dict[str, Any] = {
    "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
    "video_path": None,
    "chunks_size": 1000,
    "data_files_size_in_mb": 100,
    "video_files_size_in_mb": 200,
}


def write_lerobot(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write a LeRobot folder; an attribute called task gives the episodes their tasks."""
    pyarrow, parquet = require_package("pyarrow", path), require_package("pyarrow.parquet", path)
    require_empty(path)
    arrays = _named(path, trajectories, "observation.", "state", "LeRobot")
    attributes = dict(trajectories.attributes or {})
    tasks = attributes.pop("task", np.full(len(trajectories.lengths), _TASK)).astype(str)
    _tell_left_out("LeRobot", trajectories, attributes, modes)
    warnings.warn(f"how long a step takes is not known; fps is {_RATE} in {path / 'meta' / 'info.json'}", stacklevel=4)
    every, number = np.unique(tasks, return_inverse=True)
    lengths = trajectories.lengths
    starts = np.cumsum(lengths) - lengths
    frames = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    counters: dict[str, NDArray[Any]] = {
        "timestamp": (frames / _RATE).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.repeat(np.arange(len(lengths)), lengths),
        "index": np.arange(len(frames)),
        "task_index": np.repeat(number, lengths),
    }
    columns = {name: pyarrow.FixedSizeListArray.from_arrays(v.ravel(), v.shape[1]) for name, v in arrays.items()}
    features: dict[str, Any] = {
        name: {"dtype": str(values.dtype), "shape": [values.shape[1]], "names": _labels(name, trajectories)}
        for name, values in arrays.items()
    } | {name: {"dtype": str(values.dtype), "shape": [1], "names": None} for name, values in counters.items()}
    episodes = {
        "episode_index": np.arange(len(lengths)),
        "tasks": [[task] for task in tasks.tolist()],
        "length": lengths,
        "dataset_from_index": starts,
        "dataset_to_index": starts + lengths,
    }
    in_file = ("data/chunk_index", "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index")
    episodes |= dict.fromkeys(in_file, np.zeros(len(lengths), np.int64))
    info = {"codebase_version": "v3.0", "robot_type": None, "fps": _RATE, "features": features, **_FILES}
    info |= {"total_episodes": len(lengths), "total_frames": len(frames), "total_tasks": len(every)}
    info |= {"splits": {"train": f"0:{len(lengths)}"}}
    with replacing(path) as partial:
        for folder in ("data/chunk-000", "meta/episodes/chunk-000"):
            (partial / folder).mkdir(parents=True)
        parquet.write_table(pyarrow.table(columns | counters), partial / "data/chunk-000/file-000.parquet")
        parquet.write_table(pyarrow.table(episodes), partial / "meta/episodes/chunk-000/file-000.parquet")
        table = pyarrow.table({"task_index": np.arange(len(every)), "task": every.tolist()})
        parquet.write_table(table.replace_schema_metadata({"pandas": _INDEX}), partial / "meta/tasks.parquet")
        write_json(partial / "meta/stats.json", {name: _statistics(v) for name, v in (arrays | counters).items()})
        write_json(partial / "meta/info.json", info)


def write_zarr(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write a replay buffer: data/obs or the entries of observations, data/action, and meta/episode_ends."""
    zarr = require_package("zarr", path)
    require_empty(path)
    arrays = _named(path, trajectories, "", "obs", "zarr", pictures=True)
    _tell_left_out("zarr", trajectories, dict(trajectories.attributes or {}), modes)
    with replacing(path) as partial:
        require_space(partial.parent, sum(array.nbytes for array in arrays.values()))
        root = zarr.open_group(str(partial), mode="w", zarr_format=2)
        for name, array in arrays.items():
            rows = max(1, min(len(array), _CHUNK // max(1, array[:1].nbytes)))
            root.create_array(f"data/{name}", data=np.ascontiguousarray(array), chunks=(rows, *array.shape[1:]))
        root.create_array("meta/episode_ends", data=np.cumsum(trajectories.lengths))


def _named(
    path: Path, trajectories: Trajectories, prefix: str, whole: str, format: str, pictures: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the arrays (steps, ...) of observations and actions by the format's names."""
    found: dict[str, NDArray[Any]] = {}
    for entry, array in (*entries(trajectories.observations), ("action", trajectories.actions)):
        name = "action" if array is trajectories.actions else prefix + (entry or whole).replace("/", ".")
        if array.ndim > 2 and not pictures:
            raise InputError(f"{name} are images, which are not written as {format}; write NPZ or Minari to {path}")
        if name in found or (name == "action" and array is not trajectories.actions):
            raise InputError(f"two arrays would be called {name} in {path}; rename an entry of the observations")
        found[name] = np.asarray(array).reshape(len(array), -1) if array.ndim < 2 else np.asarray(array)
    return found


def _labels(name: str, trajectories: Trajectories) -> list[str] | None:
    """Return what a feature's columns are called."""
    names = trajectories.names or {}
    entry = name.removeprefix("observation.")
    found = names.get("actions") if name == "action" else names.get(f"observations/{entry}", names.get("observations"))
    return None if found is None else [column.removeprefix(f"{name}.") for column in found]


def _tell_left_out(
    format: str, trajectories: Trajectories, attributes: dict[str, Any], modes: NDArray[Any] | None
) -> None:
    """Warn of what the format has no place for."""
    names = [f"the attribute {name}" for name in attributes]
    names += ["identities"] if trajectories.identities is not None else []
    names += ["labels"] if modes is not None else []
    if names:
        warnings.warn(f"{format} has no place for {', '.join(names)}, left out; write NPZ to keep all", stacklevel=5)


def _statistics(values: NDArray[Any]) -> dict[str, list[float]]:
    values = values.reshape(len(values), -1)
    return {
        "min": values.min(axis=0).tolist(),
        "max": values.max(axis=0).tolist(),
        "mean": values.mean(axis=0, dtype=np.float64).tolist(),
        "std": values.std(axis=0, dtype=np.float64).tolist(),
        "count": [len(values)],
    }
