"""A summary of a data set: counts, lengths, and the range of every column."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manyways.demonstrations import spaces
from manyways.demonstrations.columns import varying
from manyways.demonstrations.declarations import Hints
from manyways.demonstrations.observations import entries
from manyways.demonstrations.trajectories import Demonstrations

_IDENTITIES_SHOWN = 5
_VALUES_SHOWN = 10  # of an attribute; one with more different values is no group of trajectories


@dataclass(frozen=True)
class Column:
    """One dimension of the observation or the action over all steps.

    Attributes:
        name: the array and its column by its name or place, such as "observation 3"; the array alone for an image.
        minimum, maximum, mean, std: of the finite values; NaN where there are none.
        not_finite: how many values are NaN or infinite.
        constant: whether the column varies by rounding at most, so that a policy ignores it.
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
    """The contents of demonstrations.

    Attributes:
        trajectories, steps: how many there are.
        shortest, median, longest: lengths in steps.
        observation, action: the kind of value, in words.
        columns: of all arrays.
        identities: what the first trajectories are called, at most five; empty where they have no names.
        attributes: by name, how many trajectories have each value, the most frequent first, at most ten; for one with
            more different values, none.
        hints: columns that look like angles and quaternions, and are not declared.
    """

    trajectories: int
    steps: int
    shortest: int
    median: float
    longest: int
    observation: str
    action: str
    columns: tuple[Column, ...]
    identities: tuple[str, ...] = ()
    attributes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    hints: Hints = field(default_factory=Hints)


def summarise(demonstrations: Demonstrations) -> Summary:
    """Return a summary of the demonstrations, which may hold values that are not finite."""
    columns: list[Column] = []
    names = demonstrations.names or {}
    arrays = [
        (f"observations/{name}" if name else "observations", array)
        for name, array in entries(demonstrations.observations)
    ]
    for place, array in [*arrays, ("actions", demonstrations.actions)]:
        kind, _, entry = place.partition("/")
        name = f"{kind.removesuffix('s')} {entry}".strip()
        if array.ndim == 2:
            labels = names.get(place, range(array.shape[1]))
            for label, values in zip(labels, array.T, strict=True):
                own = str(label) if str(label).startswith(kind.removesuffix("s")) else f"{name} {label}"
                columns.append(_column(own, values))
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
        identities=(demonstrations.identities or ())[:_IDENTITIES_SHOWN],
        attributes={name: _counts(values) for name, values in (demonstrations.attributes or {}).items()},
        hints=demonstrations.undeclared,
    )


def _counts(values: np.ndarray[Any, Any]) -> dict[str, int]:
    counted = Counter(str(value) for value in values.tolist())
    return dict(counted.most_common()) if len(counted) <= _VALUES_SHOWN else {}


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
