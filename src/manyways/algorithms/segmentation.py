"""Where trajectories change their mode: a first answer, before any network is trained.

The policy of each code is a linear regression in random features (Rahimi & Recht 2007), so an iteration of hard EM is
exact and quick: fit the regressions on the steps of each code, then take the best path of each trajectory. A step is
judged by regressions that were fitted without its trajectory. EM begins from clusters of whole trajectories and from
clusters of stretches of several lengths; the start that ends with the greatest likelihood counts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from manyways.clustering.embedding import Embedding
from manyways.clustering.mixture import cluster
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized
from manyways.policies.segments import price_of_change, surprise
from manyways.search.segments import best_paths, count_changes

_FEATURES = 100
_RIDGE = 1e-3  # the penalty, as a share of a code's steps
_FOLDS = 3
_ROUNDS = 20
_STRETCHES = (0.1, 0.25)  # lengths of the stretches that are clustered, as shares of the mean trajectory's
_LEAST_STRETCH = 5  # steps
_MOST_STRETCHES = 4000

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The code of every step.

    Attributes:
        path: (steps,), of the codes.
        price: of a change, in nats.
        weight: of a step's negative log-likelihood, 0 to 1: errors that persist count less.
        nll: of all steps and changes, in nats.
    """

    path: Integers
    price: float
    weight: float
    nll: float


def weight_of_step(errors: Floats, demonstrations: Demonstrations) -> float:
    """Return the share of a step's evidence that is its own, from the correlation of one step's errors and the next's.

    Args:
        errors: (steps, action size), of the policy.
        demonstrations: to which the steps belong.
    """
    owners = demonstrations.trajectory_of(np.arange(len(errors)))
    same = np.flatnonzero(owners[1:] == owners[:-1])
    before, after = errors[same], errors[same + 1]
    correlation = float((before * after).sum() / max(1e-12, (after**2).sum()))
    return (1 - correlation) / (1 + correlation) if correlation > 0 else 1.0


def segment(demonstrations: Demonstrations, codes: int, seed: int) -> Segmentation:
    """Return the likeliest segmentation into `codes` codes; the arguments are those of `find_groups`."""
    rng = np.random.default_rng(seed)
    inputs, actions = (normalized(values) for values in (demonstrations.vectors(), demonstrations.action_vectors()))
    weights = rng.standard_normal((inputs.shape[1], _FEATURES)) / np.sqrt(inputs.shape[1])
    hidden = np.tanh(1.5 * inputs @ weights + rng.standard_normal(_FEATURES))
    features = np.concatenate([hidden, inputs, np.ones((len(inputs), 1))], axis=1)
    folds = (rng.permutation(len(demonstrations)) % _FOLDS)[demonstrations.trajectory_of(np.arange(len(inputs)))]
    found = [
        _improved(start, features, actions, folds, demonstrations, codes)
        for start in _starts(demonstrations, codes, seed)
    ]
    return min(found, key=lambda one: one.nll)


def _starts(demonstrations: Demonstrations, codes: int, seed: int) -> Iterator[Integers]:
    """Yield paths (steps,) by clusters of whole trajectories, and of stretches."""
    mean = demonstrations.steps / len(demonstrations)
    lengths = {max(_LEAST_STRETCH, round(share * mean)) for share in _STRETCHES}
    for length in [0, *sorted(length for length in lengths if length < mean)]:
        stretches = demonstrations.lengths if not length else _cut(demonstrations.lengths, length)
        cut = Demonstrations(demonstrations.observations, demonstrations.actions, stretches)
        if len(cut) < codes:
            continue
        some = np.sort(np.random.default_rng(seed).permutation(len(cut))[:_MOST_STRETCHES])
        embedding = Embedding.fit(cut.select(some), seed)
        points = embedding(cut)
        metric, centres, _, _ = cluster(points[some], codes, seed)
        labels = ((points @ metric)[:, None] - centres).__pow__(2).sum(axis=2).argmin(axis=1)
        yield np.repeat(labels, stretches)


def _cut(lengths: Integers, stretch: int) -> Integers:
    """Return the lengths of stretches into which trajectories are cut, each of at least `stretch` steps if possible."""
    parts = [np.diff(np.linspace(0, length, max(1, length // stretch) + 1).astype(np.int64)) for length in lengths]
    return np.concatenate(parts)


def _improved(
    path: Integers, features: Floats, actions: Floats, folds: Integers, demonstrations: Demonstrations, codes: int
) -> Segmentation:
    """Return the segmentation at which EM from a path ends.

    Args:
        path: (steps,), to start from.
        features: (steps, features).
        actions: (steps, action size), normalised.
        folds: (steps,), which regressions judge each step.
        demonstrations: to which the steps belong.
        codes: how many.
    """
    size = actions.shape[1]
    best: Segmentation | None = None
    for _ in range(_ROUNDS):
        predicted = _predictions(path, features, actions, folds, codes)
        errors = np.square(predicted - actions[:, None]).sum(axis=2)
        own = actions - predicted[np.arange(len(path)), path]
        variance = max(float(np.square(own).mean()), 1e-6)
        price, weight = price_of_change(demonstrations, codes), weight_of_step(own, demonstrations)
        losses = weight * surprise(errors, variance, size)
        new = best_paths(losses, demonstrations.lengths, price)
        changes = count_changes(new, demonstrations.starts)
        least = float(errors[np.arange(len(new)), new].mean()) / size
        nll = weight * len(new) * size / 2 * math.log(max(least, 1e-6)) + price * changes
        found = Segmentation(new, price, weight, nll)
        best = found if best is None or found.nll < best.nll else best
        if np.array_equal(new, path):
            break
        path = new
    assert best is not None
    return best


def _predictions(path: Integers, features: Floats, actions: Floats, folds: Integers, codes: int) -> Floats:
    """Return the actions under each code, (steps, codes, action size), by regressions on the steps of other folds."""
    predicted = np.zeros((len(path), codes, actions.shape[1]))
    eye = np.eye(features.shape[1])
    for fold in range(_FOLDS):
        judged = folds == fold
        for code in range(codes):
            rows = np.flatnonzero(~judged & (path == code))
            known = features[rows]
            gram = known.T @ known + (_RIDGE * len(rows) + 1e-6) * eye
            predicted[judged, code] = features[judged] @ np.linalg.solve(gram, known.T @ actions[rows])
    return predicted
