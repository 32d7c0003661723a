"""Trajectories of any length as points in a few dimensions: the principal components of features of several kinds.

- The kernel mean embedding of the (state, action) pairs: the mean of random Fourier features (Rahimi & Recht 2007). It
  says which pairs occur, whatever the length or the order. States are relative to the trajectory's mean, so the start
  does not matter.
- The trajectory itself at evenly spaced times: where, and in which order.
- Response correlations: the correlations of the changes of actions with the changes of states, from step to step. Only
  combinations in which the two halves of a trajectory agree are used: the noise of hundreds of state dimensions would
  hide one relation, and smooth motions have noise alone.
- Properties (`clustering.properties`) and components in which gaps tell trajectories apart. Then these are all.
- How badly each of some linear policies explains the trajectory, if there are such policies
  (`clustering.linear_policies`). Then these are the only features.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from manyways.clustering.linear_policies import policy_pairs
from manyways.clustering.properties import as_row
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import FARTHEST, inverse_std
from manyways.demonstrations.sampling import some_trajectories

_FEATURES = 512
_STEPS_PER_TRAJECTORY = 128  # of the kernel mean embedding; more hardly change it
_PAIRS_FOR_BANDWIDTH = 1000
_TRAJECTORIES_FOR_CENTRES = 10_000
_VALUES = 2**28
_POINTS_IN_TIME = 32
_VALUES_IN_TIME = 4096  # of all points together; bounds the memory for large states
_TRAJECTORIES_FOR_RESPONSES = 2000
_RESPONSES = 50  # principal components of the correlations, in which the halves are compared
_FARTHEST = 3.0  # standard deviations at which changes are clipped, such as those of a fall
_LEAST_CHANGE = 0.01  # variance of changes, as a share of all trajectories'; below it correlations shrink to 0
_AGREEMENT_OVER_CHANCE = 3.0  # least covariance of the halves over the most negative one, which is chance
_RELIABLE = 0.8  # least share of the variance that the halves have in common
_COMPONENTS = 12
_LEAST_ERROR = 1e-6  # of a linear policy, in variances of the action

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Maps trajectories of any length to a few dimensions.

    Args:
        mean, scale: (pair,), of the columns of (state, action) pairs.
        own_scale: (pair,), the same for states relative to the mean of their trajectory.
        frequencies: (pair, Fourier features).
        phases: (Fourier features,).
        centre: (features,), the mean of all features.
        components: (features, dimensions), from features to the result.
        change_scale: (pair,), inverse standard deviations of the changes from step to step.
        response_correlations: (observation size x action size, combinations), from correlations to features.
        policies: (policies, inputs, action size), linear ones; see `linear_policies.policy_pairs`.
        by_property: (properties, some), which properties are features.
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
    policies: Floats
    by_property: Floats

    @classmethod
    def fit(cls, demonstrations: Demonstrations, seed: int) -> "Embedding":
        """Measure the embedding by features of all kinds, with the same variance for each kind."""
        return next(cls.fit_kinds(demonstrations, seed))

    @classmethod
    def fit_kinds(cls, demonstrations: Demonstrations, seed: int) -> Iterator["Embedding"]:
        """Measure the embedding by features of all kinds, then by those of each kind alone.

        The kernel is Gaussian on normalised pairs, its bandwidth the median distance of two pairs.
        """
        rng = np.random.default_rng(seed)
        observations, actions = demonstrations.vectors(), demonstrations.action_vectors()
        own = observations - _trajectory_means(observations, demonstrations)
        # In the arrays' own precision, for positions far from the origin.
        mean = np.concatenate([values.mean(axis=0, dtype=np.float64) for values in (observations, actions)])
        mean = mean.astype(observations.dtype)
        scale = np.concatenate([inverse_std(observations), inverse_std(actions)])
        own_scale = np.concatenate([inverse_std(own), inverse_std(actions)])
        sample = rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False)
        pairs = np.concatenate([own[sample], actions[sample] - mean[own.shape[1] :]], axis=1)
        frequencies, phases = fourier_features(pairs * own_scale, rng)
        change_scale = _inverse_change(observations, actions, demonstrations)
        nothing = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        no_policies = np.zeros((0, observations.shape[1] + 1, actions.shape[1]), np.float32)
        raw = cls(
            mean, scale, own_scale, frequencies, phases, *nothing, change_scale, nothing[1], no_policies, nothing[1]
        )
        raw = replace(raw, response_correlations=raw._reliable_responses(demonstrations, seed))

        some = np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES_FOR_CENTRES])
        features = np.stack([raw._features(*pairs) for pairs in _rows(demonstrations, some)])
        centre = features.mean(axis=0)
        variance = (features - centre).var(axis=0)
        last = features.shape[1] - raw.response_correlations.shape[1]
        sizes = (_FEATURES, last - _FEATURES, raw.response_correlations.shape[1])
        totals = [part.sum() for part in np.split(variance, [_FEATURES, last])]
        weights = np.array([1 / np.sqrt(total) if total > 1e-12 else 0.0 for total in totals])
        yield replace(raw, centre=centre, components=_components(features - centre, np.repeat(weights, sizes), seed))
        if np.count_nonzero(weights) > 1:
            for kind in np.flatnonzero(weights):
                alone = np.where(np.arange(len(sizes)) == kind, weights, 0.0)
                components = _components(features - centre, np.repeat(alone, sizes), seed)
                yield replace(raw, centre=centre, components=components)

    def by_policies(self, policies: Floats) -> "Embedding":
        """Return the embedding by how badly linear policies explain a trajectory, a dimension for each.

        Args:
            policies: (policies, inputs, action size), of normalised states and actions.
        """
        count = len(policies)
        centre, components = np.zeros(count, np.float32), np.eye(count, dtype=np.float32)
        return replace(self, policies=policies.astype(np.float32), centre=centre, components=components)

    def by_gaps(self, embeddings: "list[Embedding]", by_property: Floats) -> "Embedding":
        """Return the embedding by all dimensions of some embeddings of the same features, and by properties.

        Args:
            embeddings: some of `fit_kinds`.
            by_property: (properties, some), from all properties to those that count.
        """
        count = by_property.shape[1]
        parts = [one.components for one in embeddings]
        width = sum(part.shape[1] for part in parts)
        components = np.zeros((len(self.centre) + count, width + count), np.float32)
        components[: len(self.centre), :width] = np.concatenate([np.zeros((len(self.centre), 0)), *parts], axis=1)
        components[len(self.centre) :, width:] = np.eye(count)
        centre = np.concatenate([self.centre, np.zeros(count, np.float32)])
        return replace(self, centre=centre, components=components, by_property=by_property.astype(np.float32))

    def __call__(self, demonstrations: Demonstrations) -> Floats:
        """Return the embedding of every trajectory, (trajectories, dimensions)."""
        return self.of_features(self.features(demonstrations))

    def features(self, demonstrations: Demonstrations) -> Floats:
        """Return all features of every trajectory, (trajectories, features); all of `fit_kinds` have the same."""
        rows = _rows(demonstrations, range(len(demonstrations)))
        return np.stack([self._features(*pairs) for pairs in rows])

    def of_features(self, features: Floats) -> Floats:
        """Return the embedding of trajectories with these features, (trajectories, dimensions)."""
        # Row by row: the last bit of a product of matrices would depend on how many trajectories there are.
        return np.stack([(row - self.centre) @ self.components for row in features]).astype(np.float32)

    def _features(self, observations: Floats, actions: Floats) -> Floats:
        """Return all features of one trajectory, (features,)."""
        if len(self.policies):
            return self._log_errors(observations, actions)
        steps, size = len(actions), observations.shape[1]
        rows = np.linspace(0, steps - 1, min(steps, _STEPS_PER_TRAJECTORY)).astype(np.int64)
        relative = observations[rows] - observations.mean(axis=0, dtype=np.float64).astype(observations.dtype)
        own = np.concatenate([relative, actions[rows] - self.mean[size:]], axis=1)
        kernel_mean = np.cos((own * self.own_scale) @ self.frequencies + self.phases).mean(axis=0)
        pairs = (np.concatenate([observations, actions], axis=1) - self.mean) * self.scale
        points = max(2, min(_POINTS_IN_TIME, _VALUES_IN_TIME // pairs.shape[1]))
        when = np.linspace(0, steps - 1, points)
        before = np.minimum(when.astype(np.int64), steps - 2)
        share = (when - before)[:, None]
        in_order = (1 - share) * pairs[before] + share * pairs[before + 1]
        features = [kernel_mean, in_order.ravel()]
        if self.response_correlations.shape[1]:
            features.append(self._correlations(observations, actions) @ self.response_correlations)
        if self.by_property.shape[1]:
            features.append(as_row(observations, actions, self.mean, self.scale) @ self.by_property)
        return np.concatenate(features).astype(np.float32)

    def _log_errors(self, observations: Floats, actions: Floats) -> Floats:
        """Return the logarithm of each linear policy's mean squared error, (policies,)."""
        pairs = (np.concatenate([observations, actions], axis=1) - self.mean) * self.scale
        size = self.policies.shape[2]
        states, actions = np.split(pairs.clip(-FARTHEST, FARTHEST), [pairs.shape[1] - size], axis=1)
        before = self.policies.shape[1] > states.shape[1] + 1
        inputs, actions = policy_pairs(states, actions, np.zeros(1, np.int64), before)
        errors: Floats = np.log(np.square(inputs @ self.policies - actions).mean(axis=(1, 2)) + _LEAST_ERROR)
        return errors

    def _correlations(self, observations: Floats, actions: Floats) -> Floats:
        """Return the correlation of the changes of each state dimension and each action dimension, as one row."""
        changes = np.diff(np.concatenate([observations, actions], axis=1), axis=0) * self.change_scale
        changes = changes.clip(-_FARTHEST, _FARTHEST)
        changes /= np.sqrt((changes**2).sum(axis=0) + _LEAST_CHANGE * max(1, len(changes)))
        size = observations.shape[1]
        correlations: Floats = (changes[:, :size].T @ changes[:, size:]).ravel()
        return correlations

    def _reliable_responses(self, demonstrations: Demonstrations, seed: int) -> Floats:
        """Return the combinations of correlations in which halves of a trajectory agree, (correlations, combinations).

        By chance alone the symmetric part of the halves' covariance has eigenvalues of similar size on both sides of
        zero. Eigenvalues that are much larger on the positive side are agreement.
        """
        some = np.sort(np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_RESPONSES])
        halves = []
        for observations, actions in _rows(demonstrations, some):
            middle = len(actions) // 2
            parts = (slice(0, middle + 1), slice(middle, None))  # no change is in both
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
        reliable = (shared > _AGREEMENT_OVER_CHANCE * max(0.0, -shared[0])) & (shared > _RELIABLE * whole) & (whole > 0)
        return np.ascontiguousarray(components @ directions[:, reliable], dtype=np.float32)


def _components(features: Floats, weights: Floats, seed: int) -> Floats:
    """Return the principal components of weighted features, (features, dimensions), from features to the result.

    Args:
        features: (trajectories, features), with mean 0.
        weights: (features,).
        seed: of the solver.
    """
    dimensions = min(_COMPONENTS, len(features) - 1, features.shape[1])
    if dimensions < 1 or not weights.any():  # one trajectory, or all the same
        return np.zeros((features.shape[1], 1), np.float32)
    used = np.flatnonzero(weights)
    pca = PCA(min(dimensions, len(used)), random_state=seed).fit(features[:, used] * weights[used])
    varies = pca.explained_variance_ > 1e-6 * pca.explained_variance_[0]
    components = np.zeros((features.shape[1], varies.sum()), np.float32)
    components[used] = weights[used, None] * pca.components_[varies].T
    return components


def fourier_features(pairs: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return frequencies (dimensions, features) and phases (features,) of a Gaussian kernel's features.

    Its bandwidth is the median distance of two of the pairs (n, dimensions).
    """
    distances = pdist(pairs)
    positive = distances[distances > 0]
    bandwidth = float(np.median(positive)) if positive.size else 1.0
    frequencies = (rng.standard_normal((pairs.shape[1], _FEATURES)) / bandwidth).astype(np.float32)
    return frequencies, rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)


def kernel_mean_embedding(demonstrations: Demonstrations, seed: int) -> NDArray[np.float32]:
    """Return the kernel mean embedding of every trajectory, (trajectories, features).

    The kernel is Gaussian on normalised (state, action) pairs, its bandwidth the median distance of two pairs. Of a
    large set, 10,000 trajectories and 2^28 values at most are measured for that.
    """
    rng = np.random.default_rng(seed)
    some = some_trajectories(demonstrations, _TRAJECTORIES_FOR_CENTRES, _VALUES, seed)
    arrays = some.vectors(), some.action_vectors()
    means = [values.mean(axis=0, dtype=np.float64) for values in arrays]
    scales = [inverse_std(values) for values in arrays]

    def normalized(pairs: tuple[Floats, Floats]) -> Floats:
        parts = [(values - m) * s for values, m, s in zip(pairs, means, scales, strict=True)]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    sample = np.sort(rng.choice(some.steps, min(_PAIRS_FOR_BANDWIDTH, some.steps), replace=False))
    frequencies, phases = fourier_features(normalized((arrays[0][sample], arrays[1][sample])), rng)
    embeddings = np.empty((len(demonstrations), _FEATURES), dtype=np.float32)
    for index, (start, length) in enumerate(zip(demonstrations.starts, demonstrations.lengths, strict=True)):
        rows = start + np.linspace(0, length - 1, min(length, _STEPS_PER_TRAJECTORY)).astype(np.int64)
        pairs = demonstrations.vectors(rows), demonstrations.action_vectors(rows)
        embeddings[index] = np.cos(normalized(pairs) @ frequencies + phases).mean(axis=0)
    return embeddings


def _rows(demonstrations: Demonstrations, trajectories: Iterable[int]) -> Iterator[tuple[Floats, Floats]]:
    """Yield the observations and actions of trajectories as vectors."""
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
