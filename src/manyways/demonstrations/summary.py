"""What is in a data set, at a glance: counts, lengths, ranges, and the columns that deserve a look."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from manyways.demonstrations import spaces
from manyways.demonstrations.columns import varying
from manyways.demonstrations.observations import entries
from manyways.demonstrations.trajectories import Demonstrations


@dataclass(frozen=True)
class Column:
    """One number of the observation or the action over all steps; statistics are of its finite values.

    Attributes:
        name: which array and which column of it, such as "observation 3"; of an image the name alone.
        minimum, maximum, mean, std: of the finite values; NaN where there are none.
        not_finite: how many values are NaN or infinite.
        constant: whether the column does not vary beyond rounding, and so tells a policy nothing.
    """

    name: str
    minimum: float
    maximum: float
    mean: float
    std: float
    not_finite: int
    constant: bool


@dataclass(frozen=True)
class Summary:
    """What demonstrations hold.

    Attributes:
        trajectories, steps: how many.
        shortest, median, longest: lengths in steps.
        observation, action: what one is, in words.
        columns: of all arrays.
    """

    trajectories: int
    steps: int
    shortest: int
    median: float
    longest: int
    observation: str
    action: str
    columns: tuple[Column, ...]


def summarise(demonstrations: Demonstrations) -> Summary:
    """Return what is in the demonstrations, which may hold values that are not finite."""
    columns: list[Column] = []
    arrays = [(f"observation {name}".strip(), array) for name, array in entries(demonstrations.observations)]
    for name, array in [*arrays, ("action", demonstrations.actions)]:
        if array.ndim == 2:
            columns += [_column(f"{name} {index}", values) for index, values in enumerate(array.T)]
        else:
            columns.append(_column(name, array.reshape(-1)))
    lengths = demonstrations.lengths
    return Summary(
        trajectories=len(demonstrations),
        steps=demonstrations.steps,
        shortest=int(lengths.min()),
        median=float(np.median(lengths)),
        longest=int(lengths.max()),
        observation=spaces.describe(demonstrations.observation_space),
        action=spaces.describe(demonstrations.action_space),
        columns=tuple(columns),
    )


def _column(name: str, values: np.ndarray[Any, Any]) -> Column:
    finite = values if values.dtype.kind in "iu" else values[np.isfinite(values)]
    if finite.size == 0:
        return Column(name, np.nan, np.nan, np.nan, np.nan, len(values), False)
    return Column(
        name,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=float(finite.mean(dtype=np.float64)),
        std=float(finite.std(dtype=np.float64)),
        not_finite=len(values) - len(finite),
        constant=len(finite) == len(values) and not bool(varying(finite)),
    )
