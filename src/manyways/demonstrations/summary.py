"""What is in a data set, at a glance: counts, lengths, ranges, and the columns that deserve a look."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from manyways.demonstrations.trajectories import Demonstrations


@dataclass(frozen=True)
class Column:
    """One number of the observation or the action over all steps; statistics are of its finite values.

    Attributes:
        part: of which array.
        index: which column of it.
        minimum, maximum, mean, std: of the finite values; NaN where there are none.
        not_finite: how many values are NaN or infinite.
    """

    part: Literal["observation", "action"]
    index: int
    minimum: float
    maximum: float
    mean: float
    std: float
    not_finite: int

    @property
    def constant(self) -> bool:
        """Whether the column has one value throughout, and so tells a policy nothing."""
        return self.not_finite == 0 and self.minimum == self.maximum


@dataclass(frozen=True)
class Summary:
    """Counts, lengths (shortest, median, longest) and columns of demonstrations."""

    trajectories: int
    steps: int
    shortest: int
    median: float
    longest: int
    columns: tuple[Column, ...]


def summarise(demonstrations: Demonstrations) -> Summary:
    """Return what is in the demonstrations, which may hold values that are not finite."""
    columns = [_column("observation", index, values) for index, values in enumerate(demonstrations.observations.T)]
    columns += [_column("action", index, values) for index, values in enumerate(demonstrations.actions.T)]
    lengths = demonstrations.lengths
    return Summary(
        trajectories=len(demonstrations),
        steps=demonstrations.steps,
        shortest=int(lengths.min()),
        median=float(np.median(lengths)),
        longest=int(lengths.max()),
        columns=tuple(columns),
    )


def _column(part: Literal["observation", "action"], index: int, values: np.ndarray) -> Column:
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return Column(part, index, np.nan, np.nan, np.nan, np.nan, len(values))
    return Column(
        part,
        index,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        mean=float(finite.mean()),
        std=float(finite.std()),
        not_finite=len(values) - len(finite),
    )
