"""Trajectories of any length as points in a few dimensions, the principal components of three views.

- the kernel mean embedding of its (state, action) pairs, the mean of random Fourier features (Rahimi & Recht 2007):
  which pairs occur, whatever the length or the order, with states counted from the trajectory's own mean, so that it
  does not matter where the trajectory began;
- the trajectory itself at points evenly spaced in its time: where, and in which order;
- response correlations: how the changes of actions from one step to the next correlate with those of states. Only
  those combinations are kept in which the two halves of a trajectory agree: one relation among hundreds of state
  numbers is drowned by the chance in all others, and in smooth motions there is nothing but chance.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import inverse_std

_FEATURES = 512
_STEPS_PER_TRAJECTORY = 128  # more say little new about which pairs occur
_PAIRS_FOR_BANDWIDTH = 1000
_TRAJECTORIES_FOR_CENTRES = 10_000
_POINTS_IN_TIME = 32
_NUMBERS_IN_TIME = 4096  # of all points together: what bounds the memory where states are large
_TRAJECTORIES_FOR_RESPONSES = 2000
_RESPONSES = 50  # principal components of the correlations, among which the halves' agreement is sought
_FARTHEST = 3.0  # deviations; a change beyond, as in a fall, counts as this
_LEAST_CHANGE = 0.01  # variance, as a share of all trajectories'; with less, a number stands still
_AGREEMENT_OVER_CHANCE = 3.0  # the halves' covariance, in units of the most negative, which is chance
_RELIABLE = 0.8  # the least share of variance that the halves have in common
_COMPONENTS = 12

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Puts trajectories of any length into a few dimensions, the principal components of three views.

    Args:
        mean, scale: (pair,), of the columns of (state, action) pairs.
        own_scale: (pair,), the same with states counted from the mean of their trajectory.
        frequencies: (pair, features) and
        phases: (features,), of the random Fourier features.
        centre: (features of all views,) and
        components: (features of all views, dimensions), what takes the views to the result.
        change_scale: (pair,), inverse standard deviations of the changes from step to step.
        response_correlations: (observation size x action size, kept), which combinations of correlations are used.
    """

    mean: Floats
    scale: Floats
    own_scale: Floats
    frequencies: Floats
    phases: Floats
    centre: Floats
    components: Floats
    change_scale: Floats
    response_correlations: Floats

    @classmethod
    def fit(cls, demonstrations: Demonstrations, seed: int) -> "Embedding":
        """Measure the embedding on demonstrations.

        The kernel is Gaussian on normalised pairs, its bandwidth the median distance of two pairs. All views have the
        same variance before the principal components are taken.
        """
        rng = np.random.default_rng(seed)
        observations, actions = demonstrations.vectors(), demonstrations.action_vectors()
        own = observations - _trajectory_means(observations, demonstrations)
        # In the arrays' own precision: of positions far from the origin single precision loses the differences.
        mean = np.concatenate([values.mean(axis=0, dtype=np.float64) for values in (observations, actions)])
        mean = mean.astype(observations.dtype)
        scale = np.concatenate([inverse_std(observations), inverse_std(actions)])
        own_scale = np.concatenate([inverse_std(own), inverse_std(actions)])
        chosen = rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False)
        pairs = np.concatenate([own[chosen], actions[chosen] - mean[own.shape[1] :]], axis=1)
        frequencies, phases = fourier_features(pairs * own_scale, rng)
        change_scale = _inverse_change(observations, actions, demonstrations)
        nothing = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        raw = cls(mean, scale, own_scale, frequencies, phases, *nothing, change_scale, nothing[1])
        raw = replace(raw, response_correlations=raw._reliable_responses(demonstrations, seed))

        some = np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES_FOR_CENTRES])
        views = np.stack([raw._views(*pairs) for pairs in _rows(demonstrations, some)])
        centre = views.mean(axis=0)
        variance = (views - centre).var(axis=0)
        last = views.shape[1] - raw.response_correlations.shape[1]
        sizes = (_FEATURES, last - _FEATURES, raw.response_correlations.shape[1])
        totals = [part.sum() for part in np.split(variance, [_FEATURES, last])]
        weights = np.repeat([1 / np.sqrt(total) if total > 1e-12 else 0.0 for total in totals], sizes)
        dimensions = min(_COMPONENTS, len(some) - 1, views.shape[1])
        if dimensions < 1 or not weights.any():  # one trajectory, or all the same
            components = np.zeros((views.shape[1], 1))
        else:
            pca = PCA(dimensions, random_state=seed).fit((views - centre) * weights)
            kept = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
            components = weights[:, None] * pca.components_[kept].T
        return replace(raw, centre=centre, components=np.ascontiguousarray(components, dtype=np.float32))

    def __call__(self, demonstrations: Demonstrations) -> Floats:
        """Return the embedding of every trajectory, (trajectories, dimensions)."""
        trajectories = _rows(demonstrations, range(len(demonstrations)))
        rows = [(self._views(*pairs) - self.centre) @ self.components for pairs in trajectories]
        return np.stack(rows).astype(np.float32)

    def _views(self, observations: Floats, actions: Floats) -> Floats:
        """Return all views of one trajectory, (features of all views,)."""
        steps, size = len(actions), observations.shape[1]
        rows = np.linspace(0, steps - 1, min(steps, _STEPS_PER_TRAJECTORY)).astype(np.int64)
        relative = observations[rows] - observations.mean(axis=0, dtype=np.float64).astype(observations.dtype)
        own = np.concatenate([relative, actions[rows] - self.mean[size:]], axis=1)
        occurring = np.cos((own * self.own_scale) @ self.frequencies + self.phases).mean(axis=0)
        pairs = (np.concatenate([observations, actions], axis=1) - self.mean) * self.scale
        points = max(2, min(_POINTS_IN_TIME, _NUMBERS_IN_TIME // pairs.shape[1]))
        when = np.linspace(0, steps - 1, points)
        before = np.minimum(when.astype(np.int64), steps - 2)
        share = (when - before)[:, None]
        in_order = (1 - share) * pairs[before] + share * pairs[before + 1]
        views = [occurring, in_order.ravel()]
        if self.response_correlations.shape[1]:
            views.append(self._correlations(observations, actions) @ self.response_correlations)
        return np.concatenate(views).astype(np.float32)

    def _correlations(self, observations: Floats, actions: Floats) -> Floats:
        """Return the correlation of each state number's and each action number's changes, as one row."""
        changes = np.diff(np.concatenate([observations, actions], axis=1), axis=0) * self.change_scale
        changes = changes.clip(-_FARTHEST, _FARTHEST)
        changes /= np.sqrt((changes**2).sum(axis=0) + _LEAST_CHANGE * max(1, len(changes)))
        size = observations.shape[1]
        correlations: Floats = (changes[:, :size].T @ changes[:, size:]).ravel()
        return correlations

    def _reliable_responses(self, demonstrations: Demonstrations, seed: int) -> Floats:
        """Return the combinations of correlations in which halves of a trajectory agree, (correlations, kept).

        The covariance of the two halves, made symmetric, has eigenvalues on both sides of zero where there is only
        chance, alike on both; what stands out on the positive side is no chance.
        """
        some = np.sort(np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_RESPONSES])
        halves = []
        for observations, actions in _rows(demonstrations, some):
            middle = len(actions) // 2
            parts = (slice(0, middle + 1), slice(middle, None))  # no change from step to step is in both
            halves.append([self._correlations(observations[part], actions[part]) for part in parts])
        both = np.array(halves)
        both -= both.mean(axis=0)
        count = min(_RESPONSES, len(some) - 1, both.shape[2])
        stacked = both.reshape(-1, both.shape[2])
        if count < 1 or not stacked.any():
            return np.zeros((both.shape[2], 0), np.float32)
        components = PCA(count, random_state=seed).fit(stacked).components_.T
        one, other = ((both[:, half] @ components).astype(np.float64) for half in (0, 1))
        shared, directions = np.linalg.eigh((one.T @ other + other.T @ one) / (2 * len(one)))
        whole = ((one @ directions) ** 2 + (other @ directions) ** 2).mean(axis=0) / 2
        kept = (shared > _AGREEMENT_OVER_CHANCE * max(0.0, -shared[0])) & (shared > _RELIABLE * whole) & (whole > 0)
        return np.ascontiguousarray(components @ directions[:, kept], dtype=np.float32)


def fourier_features(pairs: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return frequencies (numbers, features) and phases (features,) of a Gaussian kernel's features.

    Its bandwidth is the median distance of two of the pairs (n, numbers).
    """
    distances = pdist(pairs)
    positive = distances[distances > 0]
    bandwidth = float(np.median(positive)) if positive.size else 1.0
    frequencies = (rng.standard_normal((pairs.shape[1], _FEATURES)) / bandwidth).astype(np.float32)
    return frequencies, rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)


def kernel_mean_embedding(demonstrations: Demonstrations, seed: int) -> NDArray[np.float32]:
    """Return the kernel mean embedding of every trajectory, (trajectories, features).

    The kernel is Gaussian on normalised (state, action) pairs, its bandwidth the median distance of two pairs.
    """
    rng = np.random.default_rng(seed)
    arrays = demonstrations.vectors(), demonstrations.action_vectors()
    means = [values.mean(axis=0, dtype=np.float64) for values in arrays]
    scales = [inverse_std(values) for values in arrays]

    def normalized(rows: Any) -> Floats:
        parts = [(a[rows] - m) * s for a, m, s in zip(arrays, means, scales, strict=True)]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    sample = np.sort(rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False))
    frequencies, phases = fourier_features(normalized(sample), rng)
    embeddings = np.empty((len(demonstrations), _FEATURES), dtype=np.float32)
    for index, (start, length) in enumerate(zip(demonstrations.starts, demonstrations.lengths, strict=True)):
        rows = start + np.linspace(0, length - 1, min(length, _STEPS_PER_TRAJECTORY)).astype(np.int64)
        embeddings[index] = np.cos(normalized(rows) @ frequencies + phases).mean(axis=0)
    return embeddings


def _rows(demonstrations: Demonstrations, trajectories: Iterable[int]) -> Iterator[tuple[Floats, Floats]]:
    """Yield the observations and actions of trajectories as rows of numbers."""
    for index in trajectories:
        rows = slice(demonstrations.starts[index], demonstrations.starts[index] + demonstrations.lengths[index])
        yield demonstrations.vectors(rows), demonstrations.action_vectors(rows)


def _trajectory_means(observations: Floats, demonstrations: Demonstrations) -> Floats:
    """Return for every step the mean observation of its trajectory, (steps, n)."""
    sums = np.add.reduceat(observations.astype(np.float64), demonstrations.starts)
    means = (sums / demonstrations.lengths[:, None]).astype(observations.dtype)
    return np.repeat(means, demonstrations.lengths, axis=0)


def _inverse_change(observations: Floats, actions: Floats, demonstrations: Demonstrations) -> Floats:
    """Return the inverse standard deviation of each column's changes from step to step, (pair,)."""
    inside = np.ones(demonstrations.steps, dtype=bool)
    inside[demonstrations.starts] = False
    return np.concatenate([inverse_std(np.diff(array, axis=0)[inside[1:]]) for array in (observations, actions)])
