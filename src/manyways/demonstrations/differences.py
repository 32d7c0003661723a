"""What distinguishes a mode, in words of columns: "eef_y higher by 0.2 at a third of the way"."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.trajectories import Demonstrations
from manyways.demonstrations.vectors import at_times, column_names, spread

_TIMES = {
    0.0: "at the start",
    1 / 4: "at a quarter of the way",
    1 / 3: "at a third of the way",
    1 / 2: "at half of the way",
    2 / 3: "at two thirds of the way",
    3 / 4: "at three quarters of the way",
    1.0: "at the end",
}
_CLEAR = 1.0  # standard deviations between the means; less is hard to see
_VALUES = 1_000_000  # of all trajectories that are split
_LEAST = 4  # trajectories to split
_MOST = 100  # trajectories of a mode that are looked at, which say enough of its mean


def distinguishing(
    demonstrations: Demonstrations, codes: NDArray[np.int64], count: int, most: int = 3
) -> list[list[str]]:
    """Return for each code what distinguishes its trajectories from those of the other codes, the clearest first.

    A clause is the largest difference of means at normalised times in units of the standard deviation within the two
    sides, of each column once.

    Args:
        demonstrations: whose observations and actions are compared.
        codes: (trajectories,), of each trajectory; -1 for those that are left out.
        count: how many codes there are.
        most: clauses of a code.
    """
    rng = np.random.default_rng(0)
    own = [rng.permutation(np.flatnonzero(codes == code))[:_MOST] for code in range(count)]
    used = np.concatenate(own)
    values = np.stack([_sampled(demonstrations, int(place)) for place in used]) if len(used) else np.empty((0, 0, 0))
    group = np.repeat(np.arange(count), [len(places) for places in own])
    floor = 1e-3 * np.concatenate([np.where(np.isfinite(each), each, 1.0) for each in spread(demonstrations)])
    names = [name for what in ("observations", "actions") for name in column_names(demonstrations, what)]
    found = []
    for code in range(count):
        inside, outside = values[group == code], values[group != code]
        found.append(_clauses(inside, outside, floor, names, most) if len(inside) and len(outside) else [])
        found[-1] += _of_length(
            demonstrations.lengths[own[code]], demonstrations.lengths[np.setdiff1d(used, own[code])]
        )
    return found


def halves(demonstrations: Demonstrations, codes: NDArray[np.int64], count: int) -> list[tuple[list[int], str]]:
    """Return for each code the smaller part of its trajectories if they were split in two, and what distinguishes it.

    k-means splits them by their values at normalised times. A code with few trajectories has no such part ([], "").

    Args:
        demonstrations: whose observations and actions are compared.
        codes: (trajectories,), of each trajectory.
        count: how many codes there are.
    """
    from sklearn.cluster import KMeans

    scale = np.concatenate(spread(demonstrations))
    most = max(_MOST, _VALUES // (len(_TIMES) * len(scale)))
    rng, found = np.random.default_rng(0), []
    for code in range(count):
        own = np.sort(rng.permutation(np.flatnonzero(codes == code))[:most])
        labels = np.zeros(len(own), np.int64)
        if len(own) >= _LEAST:
            values = np.stack([(_sampled(demonstrations, int(place)) / scale).ravel() for place in own])
            if (values != values[0]).any():
                labels = KMeans(2, n_init=3, random_state=0).fit(values).labels_
        part = own[labels == (0 if 2 * labels.sum() > len(labels) else 1)]
        within = np.full(len(codes), -1)
        within[own], within[part] = 1, 0
        clauses = distinguishing(demonstrations, within, 2, 1)[0] if len(part) else []
        found.append((part.tolist(), clauses[0] if clauses else ""))
    return found


def _sampled(demonstrations: Demonstrations, place: int) -> NDArray[np.floating[Any]]:
    """Return observations and actions of a trajectory at the named times, (times, columns)."""
    rows = slice(demonstrations.starts[place], demonstrations.starts[place] + demonstrations.lengths[place])
    both = np.concatenate([demonstrations.vectors(rows), demonstrations.action_vectors(rows)], axis=1)
    return at_times(both, np.array(list(_TIMES)))


def _clauses(
    inside: NDArray[Any], outside: NDArray[Any], floor: NDArray[Any], names: list[str], most: int
) -> list[str]:
    difference = inside.mean(axis=0) - outside.mean(axis=0)  # (times, columns)
    weights = len(inside), len(outside)
    within = np.sqrt((weights[0] * inside.var(axis=0) + weights[1] * outside.var(axis=0)) / sum(weights))
    clear = np.abs(difference) / np.maximum(within, floor)
    clauses = []
    for column in np.argsort(-clear.max(axis=0), kind="stable")[:most]:
        time = int(clear[:, column].argmax())
        if clear[time, column] >= _CLEAR:
            by = difference[time, column]
            word = list(_TIMES.values())[time]
            clauses.append(f"{names[column]} {'higher' if by > 0 else 'lower'} by {abs(by):.2g} {word}")
    return clauses


def _of_length(inside: NDArray[np.int64], outside: NDArray[np.int64]) -> list[str]:
    """Return how the lengths differ, if that is clear."""
    if not len(inside) or not len(outside):
        return []
    within = np.sqrt((len(inside) * inside.var() + len(outside) * outside.var()) / (len(inside) + len(outside)))
    by = inside.mean() - outside.mean()
    if abs(by) < max(_CLEAR * within, 1.0):
        return []
    return [
        f"{'longer' if by > 0 else 'shorter'} by {abs(by):.0f} steps ({inside.mean():.0f} and {outside.mean():.0f})"
    ]


def clearest_columns(demonstrations: Demonstrations, codes: NDArray[np.int64], count: int) -> list[int]:
    """Return the columns of `Demonstrations.vectors` in the order of how clearly they tell the codes apart.

    It is the largest share, over the normalised times, of a column's variance that lies between the codes.
    """
    rng = np.random.default_rng(0)
    own = [rng.permutation(np.flatnonzero(codes == code))[:_MOST] for code in range(count)]
    width = len(spread(demonstrations)[0])
    values = np.stack([_sampled(demonstrations, int(place))[:, :width] for place in np.concatenate(own)])
    means = [values[first : first + len(p)].mean(axis=0) for first, p in zip(_starts(own), own, strict=True) if len(p)]
    sizes = [len(places) for places in own if len(places)]
    between = np.average((np.stack(means) - values.mean(axis=0)) ** 2, axis=0, weights=sizes)
    whole = values.var(axis=0)
    shares = np.divide(between, whole, out=np.zeros_like(whole), where=whole > 1e-12)
    return [int(column) for column in np.argsort(-shares.max(axis=0), kind="stable")]


def _starts(groups: list[NDArray[np.int64]]) -> list[int]:
    return [int(start) for start in np.cumsum([0, *map(len, groups)])[:-1]]
