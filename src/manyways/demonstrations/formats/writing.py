"""Trajectories as tables: a folder of CSV files, one an episode, or one Parquet file."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import Trajectories, column_names
from manyways.demonstrations.formats.folder import ATTRIBUTES
from manyways.demonstrations.formats.reading import require_package
from manyways.demonstrations.formats.table import ATTRIBUTE, EPISODE, MODES
from manyways.demonstrations.observations import entries
from manyways.errors import InputError
from manyways.files import replacing, require_empty


def write_parquet(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write one file, with the episode in the column `episode`."""
    pyarrow, parquet = require_package("pyarrow", path), require_package("pyarrow.parquet", path)
    counts = trajectories.lengths
    columns = {"episode": np.repeat(np.array(_identities(trajectories)), counts)}
    columns |= _columns(path, trajectories)
    for name, values in _about(trajectories, modes, columns).items():
        columns[name] = np.repeat(values.astype(str) if name != "mode" else values, counts)
    with replacing(path) as partial:
        parquet.write_table(pyarrow.table(columns), partial)


def write_csv(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write a folder of files, and beside them what is known of the episodes, if there is anything."""
    pyarrow, csv = require_package("pyarrow", path), require_package("pyarrow.csv", path)
    require_empty(path)
    columns, names = _columns(path, trajectories), _identities(trajectories)
    files = [re.sub(r"[^\w .-]", "_", name).lstrip(".") for name in names]
    if len(set(files)) < len(files) or ATTRIBUTES in (f"{name}.csv" for name in files) or not all(files):
        files = [f"episode_{index}" for index in range(len(files))]
    starts = np.cumsum(trajectories.lengths) - trajectories.lengths
    with replacing(path) as partial:
        partial.mkdir()
        for name, start, length in zip(files, starts, trajectories.lengths, strict=True):
            rows = slice(start, start + length)
            csv.write_csv(pyarrow.table({key: array[rows] for key, array in columns.items()}), partial / f"{name}.csv")
        about = _about(trajectories, modes)
        if trajectories.identities is not None and files != names:
            about["identity"] = np.array(names)
        if about:
            csv.write_csv(pyarrow.table({"episode": np.array(files)} | about), partial / ATTRIBUTES)


def _identities(trajectories: Trajectories) -> list[str]:
    count = len(trajectories.lengths)
    return list(trajectories.identities or (f"episode_{index}" for index in range(count)))


def _about(
    trajectories: Trajectories, modes: NDArray[Any] | None, columns: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return what is known of trajectories; names that would be taken for something else, or are `columns`, differ."""
    if modes is not None and modes.ndim != 1:
        raise InputError("labels of a continuous range do not fit into a table; write NPZ or a Minari data set")
    about: dict[str, NDArray[Any]] = {}
    for name, values in (trajectories.attributes or {}).items():
        taken = name.lower() in (*MODES, *EPISODE, "identity") or name.startswith(ATTRIBUTE) or name in columns
        about[ATTRIBUTE + name if taken else name] = values
    return about | ({} if modes is None else {"mode": modes})


def _columns(path: Path, trajectories: Trajectories) -> dict[str, NDArray[Any]]:
    """Return one array (steps,) for each column; those of observations and actions are told apart by their names."""
    names = trajectories.names or {}
    arrays = [
        (f"observations/{name}" if name else "observations", "observation", name, array)
        for name, array in entries(trajectories.observations)
    ]
    arrays.append(("actions", "action", "", trajectories.actions))
    columns: dict[str, NDArray[Any]] = {}
    for place, kind, entry, array in arrays:
        if array.ndim > 2:
            raise InputError(
                f"{place} are images, which do not fit into a table; write NPZ or a Minari data set to {path}"
            )
        array = np.asarray(array).reshape(len(array), -1)
        stem = f"{kind}.{entry}" if entry else kind
        for column, values in zip(names.get(place) or column_names(stem, array.shape[1]), array.T, strict=True):
            column = column if column.startswith(kind) else f"{kind}.{column}"
            if column in columns:
                raise InputError(f"two columns would be called {column!r} in {path}; rename one, or write NPZ")
            columns[column] = values
    return columns
