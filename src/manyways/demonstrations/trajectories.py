"""Owns `Demonstrations`: the trajectories τ_E of Algorithm 2, end to end in two arrays, checked when they come in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.formats import Floats, Integers, as_float32, read, write
from manyways.errors import InputError


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """Trajectories of different lengths, end to end; nothing here says which mode a trajectory is of.

    Args:
        observations: (steps, observation size), float32.
        actions: (steps, action size), float32; row t is what was done on seeing row t of the observations.
        lengths: (trajectories,), how many of the rows each trajectory has, in order; at least 2 each.

    Raises:
        InputError: the shapes do not fit together, or there are no trajectories.
    """

    observations: Floats
    actions: Floats
    lengths: Integers

    def __post_init__(self) -> None:
        for name, array in (("observations", self.observations), ("actions", self.actions)):
            if array.ndim != 2:
                raise InputError(f"{name} have shape {array.shape}; they need two dimensions, (steps, numbers a step)")
            if array.shape[1] == 0:
                raise InputError(f"{name} have no columns (shape {array.shape}); give at least one number a step")
        if len(self.lengths) == 0:
            raise InputError("there are no trajectories; give at least one, of two steps or more")
        if self.lengths.min() < 2:
            short = int(self.lengths.argmin())
            raise InputError(
                f"trajectory {short} has length {self.lengths[short]}; leave out trajectories of less than two steps"
            )
        for name, array in (("observations", self.observations), ("actions", self.actions)):
            if self.lengths.sum() != len(array):
                raise InputError(
                    f"the lengths add up to {self.lengths.sum()} steps, but there are {len(array)} rows of {name}; "
                    "make every row belong to one trajectory"
                )

    def __len__(self) -> int:
        """How many trajectories there are."""
        return len(self.lengths)

    def __getitem__(self, index: int) -> tuple[Floats, Floats]:
        """Return one trajectory's observations (steps, observation size) and actions (steps, action size)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no trajectory {index} among {len(self)}")
        start = self.starts[index]
        rows = slice(start, start + self.lengths[index])
        return self.observations[rows], self.actions[rows]

    def __iter__(self) -> Iterator[tuple[Floats, Floats]]:
        return (self[index] for index in range(len(self)))

    @property
    def steps(self) -> int:
        """How many steps all trajectories have together."""
        return len(self.observations)

    @property
    def observation_space(self) -> Any:
        """The space of an observation."""
        return gym.spaces.Box(-np.inf, np.inf, (self.observation_size,), np.float32)

    @property
    def action_space(self) -> Any:
        """The space of an action."""
        return gym.spaces.Box(-np.inf, np.inf, (self.action_size,), np.float32)

    @property
    def observation_size(self) -> int:
        """How many numbers an observation has."""
        return self.observations.shape[1]

    @property
    def action_size(self) -> int:
        """How many numbers an action has."""
        return self.actions.shape[1]

    @cached_property
    def starts(self) -> Integers:
        """The row at which each trajectory starts, (trajectories,)."""
        return np.cumsum(self.lengths) - self.lengths

    def trajectory_of(self, rows: NDArray[np.integer[Any]]) -> Integers:
        """Return which trajectory each of these rows of the arrays belongs to, in the shape of `rows`."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    def select(self, trajectories: NDArray[np.integer[Any]]) -> "Demonstrations":
        """Return the demonstrations at these indices (n,), in this order."""
        rows = [np.arange(self.starts[i], self.starts[i] + self.lengths[i]) for i in trajectories]
        together = np.concatenate(rows)
        return Demonstrations(self.observations[together], self.actions[together], self.lengths[trajectories])

    def require_finite(self) -> "Demonstrations":
        """Return these demonstrations if every number in them is finite.

        Raises:
            InputError: one is not; the message names its trajectory, step and column.
        """
        for name, array in (("observations", self.observations), ("actions", self.actions)):
            finite = np.isfinite(array)
            if not finite.all():
                row, column = (int(i) for i in np.argwhere(~finite)[0])
                trajectory = int(self.trajectory_of(np.array(row)))
                step = row - self.starts[trajectory]
                raise InputError(
                    f"{name} have {array[row, column]} in trajectory {trajectory}, step {step}, column {column}; "
                    "leave that trajectory out or mend it"
                )
        return self

    @classmethod
    def from_arrays(cls, trajectories: Iterable[tuple[ArrayLike, ArrayLike]]) -> "Demonstrations":
        """Make demonstrations of pairs in memory.

        Args:
            trajectories: for each trajectory its observations (steps, observation size) and actions
                (steps, action size); the steps may differ between trajectories.

        Raises:
            InputError: no trajectories; arrays that are not two-dimensional, not numbers, not finite, or do not fit.
        """
        observations: list[Floats] = []
        actions: list[Floats] = []
        for index, (seen, done) in enumerate(trajectories):
            observations.append(_rows(seen, f"the observations of trajectory {index}"))
            actions.append(_rows(done, f"the actions of trajectory {index}"))
            for name, arrays in (("observations", observations), ("actions", actions)):
                if arrays[-1].shape[1] != arrays[0].shape[1]:
                    raise InputError(
                        f"{name} have {arrays[-1].shape[1]} numbers a step in trajectory {index}, but "
                        f"{arrays[0].shape[1]} in trajectory 0; make them alike"
                    )
            if len(observations[-1]) != len(actions[-1]):
                raise InputError(
                    f"trajectory {index} has {len(observations[-1])} observations but {len(actions[-1])} actions; "
                    "give one action an observation (leave out an observation after the last action)"
                )
        if not observations:
            raise InputError("there are no trajectories; give at least one, of two steps or more")
        lengths = np.array([len(array) for array in observations], dtype=np.int64)
        return cls(np.concatenate(observations), np.concatenate(actions), lengths).require_finite()

    @classmethod
    def load(cls, source: str | Path) -> "Demonstrations":
        """Read an NPZ file, a Minari data set's folder, or a Minari data set by its id.

        An NPZ file holds `observations` (or `states`) and `actions`, either (trajectories, steps, n), or (steps, n)
        with `lengths` (trajectories,). Labels in the source are not read; `load_modes` reads them, for scoring.

        Raises:
            InputError: there is nothing of the kind, it is damaged, or its arrays cannot be used.
        """
        return cls(*read(source)).require_finite()

    def save(self, path: str | Path, modes: ArrayLike | None = None) -> None:
        """Write an NPZ file where `path` ends in .npz, else the folder of a Minari data set.

        Args:
            path: the file, which is replaced, or the folder, which must not exist yet or be empty.
            modes: (trajectories,) ground-truth labels to travel along, for scoring only.

        Raises:
            InputError: the folder holds something.
            WriteError: the system refused to write.
        """
        labels = None if modes is None else np.asarray(modes)
        write(Path(path), self.observations, self.actions, self.lengths, labels)


def _rows(value: ArrayLike, name: str) -> Floats:
    array = as_float32(value, name)
    if array.ndim != 2:
        raise InputError(f"{name} have shape {array.shape}; they need two dimensions, (steps, numbers a step)")
    return array
