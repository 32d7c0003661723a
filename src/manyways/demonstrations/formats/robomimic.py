"""robomimic's HDF5 files: data/demo_N/obs/ENTRY, data/demo_N/actions, and parts of the data in mask/NAME."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import hdf5, masks
from manyways.demonstrations.formats.arrays import Trajectories, as_attributes, column_names, without_last
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import require_package
from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.observations import entries
from manyways.errors import InputError
from manyways.files import replacing, require_space

_LONGEST = 200  # characters of an attribute; longer ones, such as a model's XML, describe no trajectory
_KNOWN = {"rewards", "dones", "states"}  # beside observations and actions, without a word on it
_SKIPPED = {"num_samples", "model_file"}
_NAMES = "manyways action names"  # the attribute of data/ that keeps what the columns of actions are called
_MOST_NAMED = 10**6  # demonstrations in a filter key


def recognises(path: Path) -> bool:
    """Return whether this is an HDF5 file with a group of demonstrations."""
    if not hdf5.recognises(path):
        return False
    with hdf5.open_file(path) as file:
        return "data" in file and hasattr(file["data"], "keys") and "actions" not in file


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: it is damaged, or its demonstrations cannot be used.
    """
    with hdf5.open_file(path) as file:
        demos = sorted((name for name, item in file["data"].items() if hasattr(item, "keys")), key=_by_number)
        if not demos:
            raise InputError(f"{path} has no demonstrations in data/; give at least one, of two steps or more")
        arrays = {}
        for demo in demos:
            arrays[demo] = hdf5.datasets(file["data"][demo], path)
        first = arrays[demos[0]]
        names = {name.removeprefix("obs/"): name for name in first if name.startswith("obs/")}
        if not names and "states" in first:
            names = {"states": "states"}
        if not names or "actions" not in first:
            missing = "actions" if names else "obs"
            raise InputError(f"{path} has no {missing} in data/{demos[0]}; it holds {', '.join(first) or 'nothing'}")
        names["actions"] = "actions"
        for demo, own in arrays.items():
            _require_alike(path, demo, own, demos[0], first, names)
        real = [_real_steps(path, demo, arrays[demo]) for demo in demos]
        lengths = np.array([steps.stop - steps.start for steps in real], dtype=np.int64)

        def read(chosen: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
            return {
                name: np.concatenate(
                    [
                        without_last(
                            hdf5.read_array(arrays[demos[index]][names[name]], path),
                            arrays[demos[index]]["actions"].shape[0],
                            f"{name} of {demos[index]} in {path}",
                        )[real[index]]
                        for index in episodes
                    ]
                )
                for name in chosen
            }

        parts, notes = _parts(file, path, demos)
        acted = _action_names(file["data"], first["actions"].shape[1:])
        rows = [
            {name: hdf5.words(value) for name, value in file["data"][demo].attrs.items() if name not in _SKIPPED}
            for demo in demos
        ]
        known = as_attributes(
            [{name: v for name, v in row.items() if v is not None and len(str(v)) <= _LONGEST} for row in rows]
        )
        modes = known.pop("mode", None)
        own_names = known.pop("identity", np.zeros(0))  # of a file that manyways wrote
        named = tuple(own_names.tolist()) if len(set(own_names)) == len(demos) else tuple(demos)
        known |= {f"mask {name}": np.isin(np.arange(len(demos)), part) for name, part in parts.items()}
        tops = dict.fromkeys(name.split("/")[0] for name in first)
        read_too = {"obs", *_KNOWN, *masks.NAMES, *names}
        ignored = [f"{name} of each demonstration" for name in tops if name not in read_too]
        ignored += [f"data/{name}" for name in file["data"] if name not in demos]
        yield Contents(
            path,
            {
                name: Entry(first[full].shape[1:], first[full].dtype, acted if name == "actions" else None)
                for name, full in names.items()
            },
            tuple(name for name in names if name != "actions"),
            ("actions",),
            lengths,
            read,
            identities=named,
            attributes=known,
            parts=parts,
            ignored=tuple(ignored),
            notes=notes,
            stored=path.stat().st_size,
            modes=lambda: modes,
            in_parts=True,
        )


def _by_number(name: str) -> tuple[int, str]:
    number = re.search(r"\d+$", name)
    return int(number[0]) if number else -1, name


def _require_alike(
    path: Path, demo: str, own: dict[str, Any], first_demo: str, first: dict[str, Any], names: dict[str, str]
) -> None:
    for name, full in names.items():
        if full not in own:
            raise InputError(f"{demo} in {path} has no {full}, which {first_demo} has; mend it or leave it out")
        shape = own[full].shape
        if not shape:
            raise InputError(f"{name} of {demo} in {path} is a single value; give one for each step")
        if shape[1:] != first[full].shape[1:]:
            raise InputError(
                f"{name} has shape {shape} in {demo} of {path}, but {first[full].shape} in {first_demo}; "
                "make them alike"
            )


def _real_steps(path: Path, demo: str, own: dict[str, Any]) -> slice:
    """Return which steps of a demonstration are no padding; a mask beside its actions says it."""
    count = int(own["actions"].shape[0])
    found = [name for name in masks.NAMES if name in own]
    others = [name for name in own if name not in found and "/" not in name]
    shapes = {f"{demo}/{name}": (1, *own[name].shape) for name in others}
    masks.require_clear(path, shapes, (1, count))
    if not found or not count:
        return slice(0, count)
    real = np.True_
    for name in found:
        values = hdf5.read_array(own[name], path)[None]
        real = real & masks.of_mask(path, f"{demo}/{name}", values, (1, count))[0]
    first = int(real.argmax())
    return slice(first, first + int(real.sum()))


def _action_names(data: Any, shape: tuple[int, ...]) -> tuple[str, ...] | None:
    """Return the names of the actions' columns, of a file that manyways wrote; None of another one."""
    try:
        names = json.loads(str(hdf5.words(data.attrs.get(_NAMES)) or "null"))
    except ValueError:
        return None
    columns = tuple(map(str, names)) if isinstance(names, list) else ()
    return columns if shape == (len(set(columns)),) == (len(columns),) else None


def _parts(file: Any, path: Path, demos: list[str]) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Return the indices of the demonstrations of each filter key; and sentences on those that are not there."""
    places = {demo: index for index, demo in enumerate(demos)}
    parts: dict[str, list[int]] = {}
    notes: list[str] = []
    if "mask" not in file:
        return parts, ()
    if not hasattr(file["mask"], "keys"):
        raise InputError(f"mask in {path} is an array; make a group of it, with the names of demonstrations by part")
    for name, dataset in hdf5.datasets(file["mask"], path).items():
        if dataset.size > _MOST_NAMED:
            raise InputError(f"mask/{name} in {path} names {dataset.size:,} of {len(demos):,} demonstrations; mend it")
        members = [str(hdf5.words(member)) for member in np.atleast_1d(dataset[()]).tolist()]
        gone = list(dict.fromkeys(member for member in members if member not in places))
        if gone:  # somebody deleted a bad demonstration
            notes.append(f"mask/{name} in {path} names {listed(gone, 3)}, which data/ has not; they are passed over")
        parts[name] = list(dict.fromkeys(places[member] for member in members if member in places))
    return parts, tuple(notes)


def write(path: Path, trajectories: Trajectories, modes: NDArray[Any] | None) -> None:
    """Write trajectories, with labels as the attribute `mode` where there are any."""
    h5py = require_package("h5py", path)
    groups = _entries(trajectories)
    starts = np.cumsum(trajectories.lengths) - trajectories.lengths
    with replacing(path) as partial:
        # On a full disk HDF5 ends the whole process, so the space is checked first.
        size = sum(array.nbytes for array in groups.values()) + trajectories.actions.nbytes
        require_space(partial.parent, size + 2**16 * len(starts))
        with h5py.File(partial, "w") as file:
            data = file.create_group("data")
            data.attrs.update({"total": int(trajectories.lengths.sum()), "env_args": json.dumps({})})
            if acted := (trajectories.names or {}).get("actions"):
                data.attrs[_NAMES] = json.dumps(acted)
            for index, (start, length) in enumerate(zip(starts, trajectories.lengths, strict=True)):
                rows = slice(start, start + length)
                demo = data.create_group(f"demo_{index}")
                demo.attrs["num_samples"] = int(length)
                if trajectories.identities is not None:
                    demo.attrs["identity"] = str(trajectories.identities[index])
                for name, values in (trajectories.attributes or {}).items():
                    key = f"attribute {name}" if name in _SKIPPED | {"identity", "mode"} else name.replace("/", " ")
                    demo.attrs[key] = values[index].item()
                if modes is not None:
                    demo.attrs["mode"] = modes[index]
                demo["actions"] = trajectories.actions[rows]
                demo.create_group("obs", track_order=True)  # so that columns keep their order
                for name, array in groups.items():
                    demo[f"obs/{name}"] = array[rows]


def _entries(trajectories: Trajectories) -> dict[str, NDArray[Any]]:
    """Return the entries of observations; columns ENTRY.0, ENTRY.1 and so on become the entry that they are of."""
    found: list[tuple[str, NDArray[Any]]] = []
    names = trajectories.names or {}
    for entry, array in entries(trajectories.observations):
        columns = names.get(f"observations/{entry}" if entry else "observations")
        if entry or columns is None or array.ndim != 2:
            found.append((entry or "observations", array))
            continue
        groups: dict[str, list[int]] = {}
        for place, column in enumerate(columns):
            groups.setdefault(re.sub(r"\.\d+$", "", column), []).append(place)
        parts: list[tuple[list[int], str]] = []
        for name, places in groups.items():
            own = tuple(columns[place] for place in places)
            side_by_side = places[-1] - places[0] == len(places) - 1
            if own == column_names(name, len(own)) and side_by_side:
                parts.append((places, name))
            else:  # as one entry they would come back in another order or under other names
                parts += [([place], columns[place]) for place in places]
        found += [(name, array[:, places]) for places, name in sorted(parts)]
    plain = {name.replace("/", "."): np.ascontiguousarray(array) for name, array in found}
    if len(plain) < len(found):
        raise InputError(f"two of the entries {', '.join(name for name, _ in found)} would have one name; rename one")
    return plain
