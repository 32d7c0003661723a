"""How far an observation is from the demonstrations, as a share of demonstrated ones that are nearer.

The distance is that to the nearest of a bounded number of demonstrated steps, in the encoder's features of a normalised
observation. They are chosen one after the other, each the farthest from those before (Gonzalez 1985), so that they
cover what was demonstrated. What a distance means is measured on trajectories that none of them is from: the held-out
ones, or, where these are few, each fifth of the trajectories against references from the others.

The steps of a trajectory are alike, so the last of the measured distances are those of a few trajectories. There the
tail of a power law takes their place. The greatest distances of the trajectories say its exponent (Hill 1975; Weissman
1978).
"""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.observations import rows_of
from manyways.errors import NovelObservationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from manyways.demonstrations import Demonstrations

Floats = NDArray[np.floating[Any]]

_REFERENCES = 512  # a distance to so many takes 10 µs for 10 columns
_LARGEST = 2**21  # numbers in all references
_STEPS = 10_000  # at most, drawn at random, from which references are chosen and on which distances are measured
_VALUES = 2**20  # of their features at most
_KEPT = 1001  # distances that are kept, evenly spaced among the sorted ones
_PARTS = 5  # of the trajectories, where few are held out
_ENOUGH = 100  # held-out trajectories; fewer say little of further ones
_TAIL = 0.1  # share of the trajectories, those with the greatest distances, from which the tail is measured
_LEAST_TAIL = 3  # of them
_AT_ONCE = 1024  # observations in memory


@dataclass(frozen=True, eq=False)
class Novelty:
    """Distances from the demonstrations.

    Attributes:
        references: (references, features), demonstrated ones.
        distances: (distances,), how far other ones are from them that are demonstrated, at evenly spaced shares of the
            steps, in ascending order.
    """

    references: Floats
    distances: Floats

    @classmethod
    def fit(
        cls,
        features_of: "Callable[[Any], Floats]",
        demonstrations: "Demonstrations",
        held_out: "Demonstrations | None",
    ) -> "Novelty | None":
        """Choose references and measure distances; None for a single trajectory, which leaves nothing to measure.

        Args:
            features_of: from raw observations (n, ...) to features (n, features).
            demonstrations: that the policy learned from.
            held_out: those that it did not learn from, if any.
        """
        sets = [demonstrations] if held_out is None else [demonstrations, held_out]
        found = [_features(features_of, some) for some in sets]
        if held_out is not None and len(held_out) >= _ENOUGH:
            references = _spread(found[0][0])
            distances, owners = cls(references, np.zeros(0)).distance(found[1][0]), found[1][1]
        else:
            features = np.concatenate([own for own, _ in found])
            owners = np.concatenate([own + number * len(demonstrations) for number, (_, own) in enumerate(found)])
            references, part, distances = _spread(features), owners % _PARTS, np.empty(len(features), np.float32)
            if (part == part[0]).all():
                return None
            for number in np.unique(part):
                own = part == number
                distances[own] = cls(_spread(features[~own]), np.zeros(0)).distance(features[own])
        return cls(references, _quantiles(distances.astype(np.float64), owners).astype(np.float32))

    def distance(self, features: Floats) -> Floats:
        """Return the distance to the nearest reference, (n,), in standard deviations, of features (n, features)."""
        least = np.empty(len(features), np.float32)
        squares = np.square(self.references).sum(axis=1)
        for start in range(0, len(features), _AT_ONCE):
            some = features[start : start + _AT_ONCE]
            squared = squares - 2 * (some @ self.references.T) + np.square(some).sum(axis=1, keepdims=True)
            least[start : start + _AT_ONCE] = np.sqrt(np.maximum(squared.min(axis=1), 0))
        return least

    def score(self, features: Floats) -> Floats:
        """Return which share of the measured distances is less than those of features (n, features), (n,)."""
        return np.searchsorted(self.distances, self.distance(features)) / len(self.distances)


@dataclass(frozen=True)
class Guard:
    """What `predict` does about observations that are too far from the demonstrations.

    Attributes:
        novelty: to measure it.
        refuses: whether an error is raised, instead of a warning.
        level: of the score, from which on an observation is too far.
    """

    novelty: Novelty
    refuses: bool
    level: float

    def check(self, features: Floats) -> None:
        """Raise or warn where features (n, features) are too far.

        Raises:
            NovelObservationError: one is, and the guard refuses.
        """
        scores = self.novelty.score(features)
        worst = int(scores.argmax())
        if scores[worst] < self.level:
            return
        where = f"of environment {worst} " if len(scores) > 1 else ""
        text = (
            f"the observation {where}is farther from the demonstrations than {scores[worst]:.1%} of demonstrated ones "
            f"are (the guard's level is {self.level:g}); stop or hand over, or demonstrate that too"
        )
        if self.refuses:
            raise NovelObservationError(text)
        warnings.warn(text, stacklevel=4)


def _quantiles(distances: Floats, owners: NDArray[np.int64]) -> Floats:
    """Return the distances (steps,) of further steps at `_KEPT` evenly spaced shares of them, ascending.

    Args:
        distances: of steps.
        owners: (steps,), their trajectories.
    """
    shares = (np.arange(_KEPT) + 0.5) / _KEPT
    found = np.quantile(distances, shares)
    greatest = np.full(int(owners.max()) + 1, -np.inf)
    np.maximum.at(greatest, owners, distances)
    greatest = np.sort(greatest[np.isfinite(greatest)])[::-1]
    tail = max(_LEAST_TAIL, round(_TAIL * len(greatest)))
    if len(greatest) <= tail or greatest[tail] <= 0:
        return found
    begin = greatest[tail]
    beyond = float((distances > begin).mean())
    slope = float(np.log(greatest[:tail] / begin).mean())  # the exponent's inverse
    last = 1 - shares < beyond
    found[last] = np.maximum(begin * (beyond / (1 - shares[last])) ** slope, begin)
    return np.maximum.accumulate(found)


def _features(features_of: "Callable[[Any], Floats]", some: "Demonstrations") -> tuple[Floats, NDArray[np.int64]]:
    """Return features (n, features) of some steps, and the trajectories that they are from (n,)."""
    size = features_of(rows_of(some.observations, np.arange(1))).shape[1]
    count = min(some.steps, _STEPS, max(_REFERENCES, _VALUES // size))
    rows = np.sort(np.random.default_rng(0).choice(some.steps, count, replace=False, shuffle=False))
    parts = [features_of(rows_of(some.observations, rows[at : at + _AT_ONCE])) for at in range(0, count, _AT_ONCE)]
    return np.concatenate(parts).astype(np.float32), some.trajectory_of(rows)


def _spread(features: Floats) -> Floats:
    """Return at most as many rows as are kept, each the farthest from those before; the first is next to the mean."""
    count = max(1, min(_REFERENCES, len(features), _LARGEST // max(1, features.shape[1])))
    chosen = [int(np.square(features - features.mean(axis=0)).sum(axis=1).argmin())]
    least, squares = np.full(len(features), np.inf, np.float32), np.square(features).sum(axis=1)
    while len(chosen) < count:
        last = chosen[-1]
        np.minimum(least, squares - 2 * (features @ features[last]) + squares[last], out=least)
        least[last] = -np.inf
        farthest = int(least.argmax())
        if least[farthest] <= 0:  # all are chosen, or equal to one that is
            break
        chosen.append(farthest)
    return np.ascontiguousarray(features[chosen])
