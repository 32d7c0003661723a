"""A summary of a data set: counts, lengths, and the range of every column."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import spaces
from manyways.demonstrations.columns import Moments
from manyways.demonstrations.declarations import Hints
from manyways.demonstrations.observations import entries
from manyways.demonstrations.stored import blocks
from manyways.demonstrations.trajectories import Demonstrations

_IDENTITIES_SHOWN = 5
_VALUES_SHOWN = 10  # of an attribute; one with more different values is no group of trajectories


@dataclass(frozen=True)
class Column:
    """One dimension of the observation or the action over all steps.

    Attributes:
        kind: "observation" or "action".
        name: by which it is chosen, such as "observations.3" or "gripper"; the entry's name for an image.
        minimum, maximum, mean, std: of the finite values; NaN where there are none.
        not_finite: how many values are NaN or infinite.
        constant: whether the column varies by rounding at most, so that a policy ignores it.
    """

    kind: str
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
        name = entry or kind
        labels = names.get(place) or [f"{name}.{column}" for column in range(array.shape[1] if array.ndim == 2 else 0)]
        columns += _columns(kind.removesuffix("s"), list(labels) or [name], array)
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


def _columns(kind: str, names: list[str], array: Any) -> list[Column]:
    """Return what is known of each column of an array, or of all its values if it has one name, block by block."""
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    bad, count = np.zeros(len(names), np.int64), np.zeros(len(names), np.int64)
    sums, squares = np.zeros(len(names)), np.zeros(len(names))

    def parts() -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        for _, block in blocks(array):
            values = block.reshape(-1, len(names))
            yield values, np.isfinite(values)

    for values, finite in parts():
        least, greatest = _limits(values.dtype)
        low = np.minimum(low, values.min(axis=0, where=finite, initial=greatest))
        high = np.maximum(high, values.max(axis=0, where=finite, initial=least))
        count += finite.sum(axis=0)
        bad += (~finite).sum(axis=0)
        sums += values.sum(axis=0, dtype=np.float64, where=finite)
    there = count > 0
    mean = np.divide(sums, count, out=np.full(len(names), np.nan), where=there)
    for values, finite in parts():
        with np.errstate(invalid="ignore"):
            squares += np.square(values - mean).sum(axis=0, where=finite)
    std = np.sqrt(np.divide(squares, count, out=np.full(len(names), np.nan), where=there))
    low, high = (np.where(there, limit, np.nan) for limit in (low, high))
    varies = Moments(low, high, mean, std, array.dtype).varies
    return [
        Column(
            kind,
            name,
            minimum=float(low[place]),
            maximum=float(high[place]),
            mean=float(mean[place]),
            std=float(std[place]),
            not_finite=int(bad[place]),
            constant=bool(there[place] and not bad[place] and not varies[place]),
        )
        for place, name in enumerate(names)
    ]


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the least and the greatest value of a type."""
    return (-np.inf, np.inf) if dtype.kind == "f" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
