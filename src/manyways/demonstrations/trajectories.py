"""Owns `Demonstrations`: the trajectories τ_E of Algorithm 2, end to end in arrays, checked when they come in."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations import spaces
from manyways.demonstrations.alike import (
    as_labels,
    pairs_of,
    require_alike,
    require_choices,
    require_described,
    require_same_columns,
    steps_of,
)
from manyways.demonstrations.columns import as_actions, as_numbers, varying
from manyways.demonstrations.declarations import Hints, declared, find_undeclared
from manyways.demonstrations.formats import cleaned, read, table, write
from manyways.demonstrations.formats.arrays import Attributes, Names, Trajectories
from manyways.demonstrations.formats.cleaning import described, find_bad, find_short, full_name
from manyways.demonstrations.formats.contents import assemble
from manyways.demonstrations.formats.selection import Selection
from manyways.demonstrations.observations import (
    Observations,
    concatenate,
    count_steps,
    entries,
    flat,
    rows_of,
)
from manyways.demonstrations.pairs import Pairs, as_pairs
from manyways.demonstrations.rotations import Rotations
from manyways.errors import InputError

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Trajectories of different lengths, end to end.

    Args:
        observations: (steps, ...), or a dictionary of such arrays. Vectors are float32, or float64 where single
            precision is too coarse; images may be uint8 and stay so.
        actions: row t is the action on observation t. Real numbers (steps, n), float32; or choices, int64: (steps,)
            for `Discrete`, (steps, parts) for `MultiDiscrete`.
        lengths: (trajectories,), how many rows each trajectory has, in order; at least 2 each.
        choices: (parts,), how many choices each part of a discrete action has; None for as many as occur.
        names: of the columns, by array: "observations", or "observations/ENTRY" for each entry of a dictionary; and
            "actions". None, or an array left out, where columns have no names.
        identities: (trajectories,), what each trajectory is called where it comes from, such as "demo_12".
        attributes: what is known of each trajectory, such as its operator, by name: arrays (trajectories,). They never
            reach training.
        labels: (trajectories,), the code of each trajectory whose mode somebody knows, -1 elsewhere. Training keeps to
            them; see `with_labels`. None where no mode is known.
        pairs: which trajectories are the same way, and which are not; see `with_pairs`. None where nobody knows any.
        rotations: which columns are angles and quaternions; see `with_rotations`. None for none.

    Raises:
        InputError: the shapes do not fit together, or there are no trajectories.
    """

    observations: Observations
    actions: NDArray[Any]
    lengths: Integers
    choices: tuple[int, ...] | None = None
    names: Names | None = None
    identities: tuple[str, ...] | None = None
    attributes: Attributes | None = None
    labels: Integers | None = None
    pairs: Pairs | None = None
    rotations: Rotations | None = None

    def __post_init__(self) -> None:
        for name, array in self._arrays():
            if name == "actions" and array.dtype.kind in "iu":
                continue
            if array.ndim < 2 or (name == "actions" and array.ndim != 2):
                raise InputError(f"{name} have shape {array.shape}; they need two dimensions, (steps, columns)")
            if 0 in array.shape[1:]:
                raise InputError(f"{name} have no columns (shape {array.shape}); give at least one")
        if len(self.lengths) == 0:
            raise InputError("there are no trajectories; give at least one, of two steps or more")
        if self.lengths.min() < 2:
            bad = find_bad(self._fields()) or find_short(self._fields())
            raise InputError(f"{described(bad)}; leave out trajectories of less than two steps")
        for name, array in self._arrays():
            if self.lengths.sum() != len(array):
                raise InputError(
                    f"the lengths add up to {self.lengths.sum()} steps, but there are {len(array)} rows of {name}; "
                    "make every row belong to one trajectory"
                )
        require_described(self)
        if self.pairs is not None and self.labels is not None:
            object.__setattr__(self, "labels", self.pairs.spread(self.labels, self._called))

    def __len__(self) -> int:
        """How many trajectories there are."""
        return len(self.lengths)

    def __repr__(self) -> str:
        return (
            f"Demonstrations({len(self):,} trajectories, {self.steps:,} steps; an observation is "
            f"{spaces.describe(self.observation_space)}, an action {spaces.describe(self.action_space)})"
        )

    def __getitem__(self, index: int) -> tuple[Any, NDArray[Any]]:
        """Return one trajectory's observations (steps, ...) and actions (steps, ...)."""
        if not isinstance(index, int | np.integer):
            raise InputError(f"{index!r} is no index of one trajectory; take several with select(np.arange(3))")
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no trajectory {index} among {len(self)}")
        start = self.starts[index]
        rows = slice(start, start + self.lengths[index])
        return rows_of(self.observations, rows), self.actions[rows]

    def __iter__(self) -> Iterator[tuple[Any, NDArray[Any]]]:
        return (self[index] for index in range(len(self)))

    def _arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, array in entries(self.observations):
            yield f"observations {name}".strip(), array
        yield "actions", self.actions

    @property
    def steps(self) -> int:
        """How many steps all trajectories have together."""
        return count_steps(self.observations)

    @cached_property
    def observation_space(self) -> spaces.Space:
        """Of one step: a box, or a dictionary of boxes."""
        return spaces.observation_space(self.observations, self.names)

    @cached_property
    def action_space(self) -> spaces.Space:
        """Of one step: a box, `Discrete` or `MultiDiscrete`."""
        return spaces.action_space(self.actions, self.choices, (self.names or {}).get("actions"))

    @cached_property
    def starts(self) -> Integers:
        """The row at which each trajectory starts, (trajectories,)."""
        return np.cumsum(self.lengths) - self.lengths

    def trajectory_of(self, rows: NDArray[np.integer[Any]]) -> Integers:
        """Return the index of the trajectory to which each of these rows belongs, in the shape of `rows`."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def select(self, trajectories: NDArray[np.integer[Any]]) -> "Demonstrations":
        """Return the demonstrations at these indices (n,), in this order."""
        return Demonstrations(*self._fields().select(trajectories), rotations=self.rotations)

    def with_labels(self, labels: "ArrayLike | Mapping[str, int]") -> "Demonstrations":
        """Return the demonstrations with the modes that somebody knows: in training these trajectories keep that code.

        Args:
            labels: (trajectories,), whole numbers from 0, -1 where the mode is not known; or the codes of some, by
                identity, or by place where trajectories have no identities.

        Raises:
            InputError: there is no such trajectory, or a label is no whole number from -1.
        """
        return replace(self, labels=as_labels(labels, self._called))

    def with_pairs(
        self, same: Iterable[Sequence[int | str]] = (), different: Iterable[Sequence[int | str]] = ()
    ) -> "Demonstrations":
        """Return the demonstrations with pairs that somebody compared, beside those that are known already.

        Training gives the trajectories of one way the same code, and those of different ways other codes.

        Args:
            same: pairs of trajectories that are the same way, by place from 0, or by identity as a text.
            different: pairs of trajectories that are not.

        Raises:
            InputError: there is no such trajectory, or the pairs contradict each other or the labels.
        """
        return replace(self, pairs=as_pairs(same, different, self._called, self.pairs))

    @property
    def _called(self) -> tuple[str, ...]:
        """The identities, or the places where there are none."""
        return self.identities or tuple(map(str, range(len(self))))

    def with_rotations(self, angles: Sequence[str] = (), quaternions: Sequence[str] = ()) -> "Demonstrations":
        """Return the demonstrations with columns declared angles and quaternions; policies take and give raw ones.

        Args:
            angles: columns in radians, by name, or ARRAY.PLACE such as observations.2 or actions.0; or NAME=TURN, such
                as heading=360 for degrees; or "none", so that none are recognised either.
            quaternions: the first of four columns, or what they are called before the number; or "none".

        Raises:
            InputError: there is no such column, it is declared twice, or four columns are no quaternion.
        """
        chosen = Selection(angles=_names(angles), quaternions=_names(quaternions))
        return replace(self, rotations=declared(self.arrays, self.names, chosen.angles, chosen.quaternions))

    @cached_property
    def encoded(self) -> "Demonstrations":
        """The demonstrations as they are learned: without jumps, where columns are angles or quaternions.

        Where nothing is declared, these are the columns that come round in the data (`undeclared`).
        """
        rotations = self.undeclared.rotations(self.arrays, self.names) if self.rotations is None else self.rotations
        if not rotations or rotations.encoded:
            return self
        return replace(
            self,
            observations=rotations.encode_observations(self.observations),
            actions=rotations.encode_actions(self.actions),
            names=rotations.names(self.names),
            rotations=rotations.of(encoded=True),
        )

    @cached_property
    def undeclared(self) -> Hints:
        """The columns that look like angles and quaternions, and are not declared."""
        return find_undeclared(self.arrays, self.names, self.lengths, self.rotations)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by what they are called in `names`."""
        return {name.replace(" ", "/", 1): array for name, array in self._arrays()}

    def _fields(self) -> Trajectories:
        return Trajectories(*(getattr(self, name) for name in Trajectories._fields))

    def vectors(self, rows: Any = slice(None)) -> Floats:
        """Return observations as vectors, (steps, n), for clustering and pictures.

        Entries of a dictionary stand side by side. An image is averaged to 8 x 8 pixels.

        Args:
            rows: which steps, an index array or a slice; all by default.
        """
        parts = [flat(array[rows]) for _, array in entries(self.observations)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def action_vectors(self, rows: Any = slice(None)) -> Floats:
        """Return actions as vectors, (steps, n); a choice among k is one-hot, k columns."""
        actions, choices = self.actions[rows], spaces.choices_of(self.action_space)
        if choices is None:
            return actions
        vectors = np.zeros((len(actions), choices.sum()), np.float32)
        columns = actions.reshape(len(actions), -1) + np.cumsum(choices) - choices
        np.put_along_axis(vectors, columns, 1, axis=1)
        return vectors

    @cached_property
    def ignored_columns(self) -> tuple[str, ...]:
        """The names of the columns that do not vary, from which nothing can be learned; not those of rotations."""
        names = []
        for name, array in self._arrays():
            if array.ndim == 2 and array.dtype.kind == "f":
                array = self.rotations.kept(name.replace(" ", "/", 1), array) if self.rotations else array
                places = np.flatnonzero(~varying(array)).tolist()
                names += [full_name(self.names, name, place) for place in places]
        return tuple(names)

    def require_finite(self) -> "Demonstrations":
        """Return these demonstrations if all values are finite.

        Raises:
            InputError: a value is not; the message names the trajectory, step and column of each.
        """
        bad = find_bad(self._fields())
        if bad:
            raise InputError(f"{described(bad)}; leave that trajectory out or mend it")
        return self

    @classmethod
    def from_arrays(
        cls, trajectories: Iterable[tuple[Any, ArrayLike] | Mapping[str, Any]], choices: tuple[int, ...] | None = None
    ) -> "Demonstrations":
        """Make demonstrations from pairs in memory, or from dictionaries of `observations` and `actions`.

        Args:
            trajectories: for each trajectory its observations (steps, ...), or a dictionary of such arrays, and its
                actions: real numbers (steps, n), or whole numbers (steps,), which are choices. Trajectories may differ
                in length. There may be one more observation, after the last action; it is left out.
            choices: how many choices each part of a discrete action has. Actions (steps, parts) of whole numbers are
                choices only where this is given.

        Raises:
            InputError: there are no trajectories; one is no pair; its arrays are not numeric, not finite, or do not
                fit.
        """
        require_choices(choices)
        observations: list[Any] = []
        actions: list[NDArray[Any]] = []
        for index, (observation, action) in enumerate(pairs_of(trajectories)):
            what = f"of trajectory {index}"
            if isinstance(observation, Mapping):
                observation = {
                    name: as_numbers(array, f"the observations {name} {what}") for name, array in observation.items()
                }
            else:
                observation = as_numbers(observation, f"the observations {what}")
            actions.append(as_actions(action, f"the actions {what}", None if choices is None else True))
            if actions[-1].ndim and steps_of(observation) == len(actions[-1]) + 1:
                observation = rows_of(observation, slice(-1))  # nothing is done on the one after the last action
            observations.append(observation)
            require_alike(observations, actions, index)
        if not observations:
            raise InputError("there are no trajectories; give at least one, of two steps or more")
        lengths = np.array([len(array) for array in actions], dtype=np.int64)
        return cls(concatenate(observations), np.concatenate(actions), lengths, choices).require_finite()

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        observations: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        episode: str | None = None,
        **taken: Any,
    ) -> "Demonstrations":
        """Make demonstrations from a data frame of pandas or Polars with a row for each step.

        Args:
            frame: the data frame. A cell may hold a list of numbers. Columns of words that are the same in all rows of
                an episode become attributes.
            observations: names of columns; those that begin with "observation", "obs" or "state" unless given, or all
                numbers but counters, clocks, rewards and ends.
            actions: names of columns; those that begin with "action" unless given.
            episode: the column that says the episode; "episode", "episode_index", "trajectory", "demo" and the like
                unless given.
            taken: `episodes`, `exclude`, `drop_bad`, `angles` and `quaternions`, as of `load`.

        Raises:
            InputError: it is no data frame, lacks a column, or holds what cannot be used.
        """
        selection = Selection(_names(observations), _names(actions), **taken)
        contents = table.of_frame(frame, episode)
        found = cls(*cleaned(assemble(contents, selection), selection, contents))
        return found.with_rotations(selection.angles, selection.quaternions)

    @classmethod
    def concatenate(cls, parts: Sequence["Demonstrations"]) -> "Demonstrations":
        """Return the trajectories of all parts, one part after the other.

        Identities that occur twice get the part's number in front. Attributes that a part lacks are left out.

        Raises:
            InputError: there are no parts, or their columns, shapes or kinds of action differ.
        """
        if not parts:
            raise InputError("there is nothing to concatenate; give at least one data set")
        require_same_columns(parts)
        first = parts[0]
        choices: list[Any] = [spaces.choices_of(part.action_space) for part in parts]
        identities = [name for part in parts for name in part.identities or range(len(part))]
        if len(set(identities)) < len(identities):
            identities = [
                f"{number}/{name}" for number, part in enumerate(parts) for name in part.identities or range(len(part))
            ]
        shared = [name for name in first.attributes or {} if all(name in (part.attributes or {}) for part in parts)]
        return cls(
            concatenate([part.observations for part in parts]),
            np.concatenate([part.actions for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            None if choices[0] is None else tuple(np.max(choices, axis=0).tolist()),
            {array: columns for part in parts for array, columns in (part.names or {}).items()} or None,
            tuple(map(str, identities)) if any(part.identities is not None for part in parts) else None,
            {name: np.concatenate([(part.attributes or {})[name] for part in parts]) for name in shared} or None,
            None
            if all(part.labels is None for part in parts)
            else np.concatenate([np.full(len(part), -1) if part.labels is None else part.labels for part in parts]),
            Pairs.concatenate([part.pairs for part in parts], [len(part) for part in parts]),
            first.rotations,
        )

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        observations: Sequence[str] | None = None,
        actions: Sequence[str] | None = None,
        episodes: str | int | slice | Sequence[int] | None = None,
        exclude: Sequence[str] = (),
        drop_bad: bool = False,
        angles: Sequence[str] = (),
        quaternions: Sequence[str] = (),
    ) -> "Demonstrations":
        """Read demonstrations; docs/your-data.md shows each format.

        The formats are: NPZ; a Minari data set, by its folder or its id; robomimic's HDF5; a LeRobot folder; Diffusion
        Policy's zarr; HDF5 or NPZ with ends of episodes (`terminals`, `dones`, `episode_ends` and the like); one CSV or
        Parquet file with a column of episodes; a folder with a CSV, Parquet or NPZ file for each episode; a folder with
        the arrays of an NPZ file as NPY files, which stay on the disk: `observations` and `actions` are then memory
        maps, or arrays that read the rows that they are asked for.

        An NPZ file holds `observations` (or `states`) and `actions`, either (steps, ...) with `lengths`
        (trajectories,), or (trajectories, steps, ...). There `lengths`, `mask`, `masks`, `valid` or `attention_mask`,
        (trajectories, steps), may say what is real; or `pad`, `is_pad`, `action_is_pad`, `padding`, or rows of NaN,
        what is padding. Entries `observations/NAME` make a dictionary. An observation after the last action of each
        episode is left out. `known_modes` (trajectories,), `same` and `different` (pairs, 2) are what `with_labels` and
        `with_pairs` take. `modes` are not read; `load_modes` reads them, for scoring. Warns of arrays that are not
        used.

        Args:
            source: the file, the folder, or the id of a local Minari data set.
            observations: names of entries or columns to observe. Unless given, those that the format calls so; of
                robomimic, LeRobot, zarr and tables the numbers are joined into one vector, without images.
            actions: names of entries or columns that are actions; those that the format calls so unless given.
            episodes: which ones by their place from 0, such as "0:10", "3,7,20:" or [3, 7]; or the name of a part that
                the file declares, such as robomimic's filter key "train"; all unless given.
            exclude: identities of trajectories to leave out.
            drop_bad: leave out trajectories of a single step or with values that are not finite, and warn of them.
            angles: names of columns: see `with_rotations`.
            quaternions: as `angles`.

        Raises:
            InputError: there is no such source, it is damaged, or its arrays cannot be used.
        """
        if not isinstance(source, str | Path):
            raise InputError(f"{source!r} is no place of demonstrations; give a path or a name, or use from_arrays")
        chosen: Any = (_names(observations), _names(actions), episodes, _names(exclude) or (), drop_bad)
        return cls(*read(source, Selection(*chosen))).with_rotations(angles, quaternions)

    def save(self, path: str | Path, modes: ArrayLike | None = None, format: str | None = None) -> None:
        """Write a file or folder in one of the formats that `load` reads.

        Args:
            path: the file, which is replaced, or the folder, which must not exist yet or be empty.
            modes: (trajectories,) ground-truth labels to save along, for scoring only.
            format: "npz", "npy" (a folder of NPY files), "minari" (a folder), "csv" (a folder of files), "parquet" or
                "robomimic" (HDF5); what the suffix of `path` says unless given, "minari" for a path without one.

        Raises:
            InputError: the folder holds something, or the format cannot hold these demonstrations.
            WriteError: the system refused to write.
        """
        labels = None if modes is None else np.asarray(modes)
        write(Path(path), self._fields(), labels, format)


def _names(names: Sequence[str] | None) -> Any:
    """Return names as `Selection` takes them; it refuses a text."""
    return names if names is None or isinstance(names, str) else tuple(names)
