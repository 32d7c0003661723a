"""Groups of similar trajectories: codes to begin with, and what the search asks beside the policy's error.

From a random network the first search is a lottery: a code that wins nothing never learns, and stays dead. So the
trajectories are grouped once by what is done in them. A trajectory is described by three views together:

- the kernel mean embedding of its (state, action) pairs, the mean of random Fourier features (Rahimi & Recht 2007):
  which pairs occur, whatever the length or the order, with states counted from the trajectory's own mean, so that it
  does not matter where the trajectory began;
- the trajectory itself at points evenly spaced in its time: where, and in which order;
- how actions answer to states: the correlations of their changes from one step to the next. Of the many only those
  combinations are kept in which the two halves of a trajectory agree: one relation among hundreds of state
  numbers is drowned by the chance in all others, and in smooth motions there is nothing but chance.

Their first principal components are modelled as a mixture of Gaussians with one covariance for all groups and hard
assignment: k-means in a metric that learns how trajectories of one group differ (a start elsewhere, another speed)
and counts those directions little. The groups then say in nats how unlikely a trajectory is under each code.

A mishap lies far from everything, other mishaps too, and would be a group of its own at the price of two ways in one.
So trajectories that are isolated shape no group, and of what is far from all groups these say nothing.
"""

import warnings
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist, pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from torch import Tensor

from manyways.demonstrations import Demonstrations
from manyways.latents import Gaussian
from manyways.networks.policy_network import Normalizer

_FEATURES = 512
_STEPS_PER_TRAJECTORY = 128  # more say little new about which pairs occur
_PAIRS_FOR_BANDWIDTH = 1000
_TRAJECTORIES_FOR_CENTRES = 10_000
_POINTS_IN_TIME = 32
_NUMBERS_IN_TIME = 4096  # of all points together: what bounds the memory where states are large
_TRAJECTORIES_FOR_ANSWERS = 2000
_ANSWERS = 50  # principal components of the correlations, among which the halves' agreement is sought
_FARTHEST = 3.0  # deviations; a change beyond, as in a fall, counts as this
_LEAST_CHANGE = 0.01  # variance, as a share of all trajectories'; with less, a number stands still
_AGREEMENT_OVER_CHANCE = 3.0  # the halves' covariance, in units of the most negative, which is chance
_RELIABLE = 0.8  # the least share of variance that the halves have in common
_COMPONENTS = 12
_RESTARTS = 40
_MOST_IN_TREE = 2000  # trajectories; the tree's cost grows with their square
_ROUNDS = 30  # of clustering and of the metric; they mostly agree after five
_ISOLATED = 4.0  # of synthetic motions none is so far out, and of the tasks' trajectories only falls, 5 to 30
_LEAST_WITHIN = 0.02  # variance within groups that is always assumed, as a share of the whole

Floats = NDArray[np.float32]
_Numbers = TypeVar("_Numbers", Tensor, NDArray[np.float64])


def groups(demonstrations: Demonstrations, codes: int, seed: int) -> NDArray[np.int64]:
    """Return the index of a group of similar trajectories for every trajectory, (trajectories,)."""
    return Groups.fit(demonstrations, codes, seed).nats(demonstrations).argmin(axis=1)


def continuous_codes(demonstrations: Demonstrations, prior: Gaussian, seed: int) -> NDArray[np.float32]:
    """Return codes along the directions in which trajectories' embeddings differ most, (trajectories, dimension)."""
    embeddings = embed(demonstrations, seed)
    return ComponentCodes.fit(embeddings, prior)(embeddings)


@dataclass(frozen=True, eq=False)
class ComponentCodes:
    """Codes along the directions in which rows differ most: similar rows have similar codes, which fill the prior.

    Args:
        prior: whose codes they are.
        components: the principal ones, as many as the prior has numbers or, if these are fewer, as the rows allow.
        values: (rows, components), those of the rows they were measured on, each column sorted.
    """

    prior: Gaussian
    components: PCA
    values: NDArray[np.floating[Any]]

    @classmethod
    def fit(cls, rows: NDArray[np.floating[Any]], prior: Gaussian) -> "ComponentCodes":
        """Measure the components of rows (rows, numbers)."""
        components = PCA(min(prior.dimension, *rows.shape), svd_solver="full").fit(rows)
        return cls(prior, components, np.sort(components.transform(rows), axis=0))

    def __call__(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return a code for each row, (rows, dimension), by its rank along each component; 0 beyond the components."""
        codes = np.zeros((len(rows), self.prior.dimension), dtype=np.float32)
        for number, values in enumerate(self.components.transform(rows).T):
            known = self.values[:, number]
            rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
            shares = rank.clip(0.5, len(known) - 0.5) / len(known)
            codes[:, [number]] = Gaussian(1).quantile(shares[:, None])
        return codes


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
        answers: (observation size x action size, kept), the combinations of correlations that are the third view.
    """

    mean: Floats
    scale: Floats
    own_scale: Floats
    frequencies: Floats
    phases: Floats
    centre: Floats
    components: Floats
    change_scale: Floats
    answers: Floats

    @classmethod
    def fit(cls, demonstrations: Demonstrations, seed: int) -> "Embedding":
        """Measure the embedding on demonstrations.

        The kernel is Gaussian on normalised pairs, its bandwidth the median distance of two pairs. All views have the
        same variance before the principal components are taken.
        """
        rng = np.random.default_rng(seed)
        observations, actions = demonstrations.observations, demonstrations.actions
        own = observations - _trajectory_means(demonstrations)
        mean = np.concatenate([observations.mean(axis=0), actions.mean(axis=0)])
        scale = np.concatenate([inverse_std(observations), inverse_std(actions)])
        own_scale = np.concatenate([inverse_std(own), inverse_std(actions)])
        chosen = rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False)
        distances = pdist(np.concatenate([own[chosen], actions[chosen] - mean[own.shape[1] :]], axis=1) * own_scale)
        positive = distances[distances > 0]
        bandwidth = float(np.median(positive)) if positive.size else 1.0
        frequencies = (rng.standard_normal((len(mean), _FEATURES)) / bandwidth).astype(np.float32)
        phases = rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)
        change_scale = _inverse_change(demonstrations)
        nothing = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        raw = cls(mean, scale, own_scale, frequencies, phases, *nothing, change_scale, nothing[1])
        raw = replace(raw, answers=raw._reliable_answers(demonstrations, seed))

        some = np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES_FOR_CENTRES])
        views = np.stack([raw._views(*demonstrations[index]) for index in some])
        centre = views.mean(axis=0)
        variance = (views - centre).var(axis=0)
        last = views.shape[1] - raw.answers.shape[1]
        sizes = (_FEATURES, last - _FEATURES, raw.answers.shape[1])
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
        rows = [(self._views(*trajectory) - self.centre) @ self.components for trajectory in demonstrations]
        return np.stack(rows).astype(np.float32)

    def _views(self, observations: Floats, actions: Floats) -> Floats:
        """Return all views of one trajectory, (features of all views,)."""
        steps, size = len(actions), observations.shape[1]
        rows = np.linspace(0, steps - 1, min(steps, _STEPS_PER_TRAJECTORY)).astype(np.int64)
        own = np.concatenate([observations[rows] - observations.mean(axis=0), actions[rows] - self.mean[size:]], axis=1)
        occurring = np.cos((own * self.own_scale) @ self.frequencies + self.phases).mean(axis=0)
        pairs = (np.concatenate([observations, actions], axis=1) - self.mean) * self.scale
        points = max(2, min(_POINTS_IN_TIME, _NUMBERS_IN_TIME // pairs.shape[1]))
        when = np.linspace(0, steps - 1, points)
        before = np.minimum(when.astype(np.int64), steps - 2)
        share = (when - before)[:, None]
        in_order = (1 - share) * pairs[before] + share * pairs[before + 1]
        views = [occurring, in_order.ravel()]
        if self.answers.shape[1]:
            views.append(self._answers(observations, actions) @ self.answers)
        return np.concatenate(views).astype(np.float32)

    def _answers(self, observations: Floats, actions: Floats) -> Floats:
        """Return the correlation of each state number's and each action number's changes, as one row."""
        changes = np.diff(np.concatenate([observations, actions], axis=1), axis=0) * self.change_scale
        changes = changes.clip(-_FARTHEST, _FARTHEST)
        changes /= np.sqrt((changes**2).sum(axis=0) + _LEAST_CHANGE * max(1, len(changes)))
        size = observations.shape[1]
        correlations: Floats = (changes[:, :size].T @ changes[:, size:]).ravel()
        return correlations

    def _reliable_answers(self, demonstrations: Demonstrations, seed: int) -> Floats:
        """Return the combinations of correlations in which halves of a trajectory agree, (correlations, kept).

        The covariance of the two halves, made symmetric, has eigenvalues on both sides of zero where there is only
        chance, alike on both; what stands out on the positive side is no chance.
        """
        some = np.sort(np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_ANSWERS])
        halves = []
        for observations, actions in (demonstrations[index] for index in some):
            middle = len(actions) // 2
            parts = (
                slice(0, middle + 1),
                slice(middle, None),
            )  # the change to the middle is the first's, from it the last's
            halves.append([self._answers(observations[part], actions[part]) for part in parts])
        both = np.array(halves)
        both -= both.mean(axis=0)
        count = min(_ANSWERS, len(some) - 1, both.shape[2])
        stacked = both.reshape(-1, both.shape[2])
        if count < 1 or not stacked.any():
            return np.zeros((both.shape[2], 0), np.float32)
        components = PCA(count, random_state=seed).fit(stacked).components_.T
        one, other = ((both[:, half] @ components).astype(np.float64) for half in (0, 1))
        shared, directions = np.linalg.eigh((one.T @ other + other.T @ one) / (2 * len(one)))
        whole = ((one @ directions) ** 2 + (other @ directions) ** 2).mean(axis=0) / 2
        kept = (shared > _AGREEMENT_OVER_CHANCE * max(0.0, -shared[0])) & (shared > _RELIABLE * whole) & (whole > 0)
        return np.ascontiguousarray(components @ directions[:, kept], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of trajectories, Gaussian in the embedding with one covariance.

    Args:
        embedding: of trajectories.
        metric: (dimensions, dimensions), takes the embedding to where the groups' covariance is the identity.
        centres: (groups, dimensions), there.
        reach: how far from its centre a trajectory may lie, there, and still be told from other groups'.
        residual_variance: σ² of one number of the normalised action under the policy that these groups go with.
    """

    embedding: Embedding
    metric: Floats
    centres: Floats
    reach: float = np.inf
    residual_variance: float = 0.0

    @classmethod
    def fit(cls, demonstrations: Demonstrations, groups: int, seed: int) -> "Groups":
        """Find so many groups among the demonstrations, at most as many as there are trajectories."""
        embedding = Embedding.fit(demonstrations, seed)
        chosen = np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_CENTRES]
        points = embedding(demonstrations)[np.sort(chosen)]
        shaping = points[~isolated(points)]
        if len(shaping) < groups:
            shaping = points
        metric, centres, labels, _ = cluster(shaping, groups, seed)
        reach = np.linalg.norm(shaping @ metric - centres[labels], axis=1).max()
        return cls(embedding, metric, centres, float(reach))

    def nats(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return how unlikely each trajectory is under each group, beside the likeliest, (trajectories, groups).

        That is half the squared distance to each group's centre in units of the spread within groups, less the least
        of the row: negative log-likelihoods, up to what a row's numbers share. Out of reach of all groups a row is 0.
        """
        distances = cdist(self.embedding(demonstrations) @ self.metric, self.centres)
        least = distances.min(axis=1, keepdims=True)
        nats: NDArray[np.float64] = np.where(least <= 1.001 * self.reach, (distances**2 - least**2) / 2, 0.0)
        return nats

    def loss(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return the nats as a mean squared error over steps, (trajectories, groups), to be added to the policy's."""
        lengths = demonstrations.lengths[:, None].astype(np.float64)
        return nats_as_loss(self.nats(demonstrations), lengths, self.residual_variance)

    def with_residual(self, losses: NDArray[np.float64], demonstrations: Demonstrations) -> "Groups":
        """Return the same groups beside a policy with these losses (trajectories, codes) on the demonstrations."""
        least = np.average(losses.min(axis=1), weights=demonstrations.lengths)
        return replace(self, residual_variance=float(np.float32(least / demonstrations.action_size)))

    def tensors(self) -> dict[str, Floats]:
        """Return what `from_tensors` makes these groups of."""
        parts = {field.name: getattr(self.embedding, field.name) for field in fields(Embedding)}
        own = {
            "metric": self.metric,
            "centres": self.centres,
            "reach": np.array(self.reach),
            "residual_variance": np.array(self.residual_variance),
        }
        return {name: np.array(value, dtype=np.float32, order="C") for name, value in (parts | own).items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Floats]) -> "Groups":
        """Return the groups that `tensors` described.

        Raises:
            KeyError: a tensor is missing.
        """
        # Groups of before there was a third view have none, and those of before there was a reach no bound.
        missing = {
            "change_scale": np.zeros(0, np.float32),
            "answers": np.zeros((0, 0), np.float32),
            "reach": np.array(np.inf, np.float32),
        }
        tensors = missing | tensors
        embedding = Embedding(**{field.name: tensors[field.name] for field in fields(Embedding)})
        reach, variance = (float(tensors[name]) for name in ("reach", "residual_variance"))
        return cls(embedding, tensors["metric"], tensors["centres"], reach, variance)


def isolated(points: Floats) -> NDArray[np.bool_]:
    """Return which points (n, dimensions) lie far from all others, (n,).

    Those are the ones with fewer than two neighbours within four times the distance at which the median point has two:
    a way that is shown three times is none of them.
    """
    if len(points) < 4:
        return np.zeros(len(points), dtype=bool)
    distances = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0][:, 2]  # the first is the point itself
    far: NDArray[np.bool_] = distances > _ISOLATED * np.median(distances)
    return far


def nats_as_loss(nats: _Numbers, lengths: _Numbers, residual_variance: Any) -> _Numbers:
    """Return nats of whole trajectories in units of their mean squared error over steps.

    By Equation 2 a trajectory's negative log-likelihood is its length times its loss over twice the variance of the
    residual, so that a nat weighs as much as 2 σ² / length of loss.

    Args:
        nats: (trajectories, groups).
        lengths: (trajectories, 1).
        residual_variance: σ² of one number of the normalised action.
    """
    return nats * (2 * residual_variance) / lengths


def cluster(
    points: Floats, groups: int, seed: int, restarts: int = _RESTARTS, floor: float = 0.0
) -> tuple[Floats, Floats, NDArray[np.int64], float]:
    """Group points by k-means in the metric of the covariance within groups, which both learn from each other.

    That maximises the likelihood of a mixture of Gaussians with one covariance and hard assignment. From random starts
    k-means leaves two of many groups in one and one in two; so the last start is a tree (Ward 1963) in the best metric.

    Args:
        points: (n, dimensions).
        groups: how many; at most n.
        seed: of the starts.
        restarts: how many starts, of which the likeliest result is kept.
        floor: variance within groups that is always assumed in every direction, as a share of the points' variance.

    Returns:
        The metric (dimensions, dimensions), the centres in it (groups, dimensions), the group of each point (n,), and
        half the logarithm of the determinant of the covariance within groups over that of the whole, which is least at
        the likeliest.
    """
    whole = points.var(axis=0, dtype=np.float64) + 1e-12
    always = np.diag(_LEAST_WITHIN * whole + floor * whole.sum())
    distinct = min(groups, len(np.unique(points, axis=0)))

    def improve(labels: NDArray[np.integer]) -> tuple[Floats, Floats, NDArray[np.int64], float]:
        """Learn metric and groups from each other until both agree."""
        for _ in range(_ROUNDS):
            centres = _centres(points, labels, groups)
            errors = points - centres[labels]
            within = errors.T @ errors / len(points) + always
            metric = np.ascontiguousarray(np.linalg.cholesky(np.linalg.inv(within)), dtype=np.float32)
            moved = KMeans(distinct, init=centres[:distinct] @ metric, n_init=1).fit(points @ metric).labels_
            if np.array_equal(moved, labels):
                break
            labels = moved
        volume = float(np.linalg.slogdet(within)[1] - np.log(whole).sum()) / 2
        return metric, centres @ metric, labels.astype(np.int64), volume

    # Threads would add up the centres in an order that changes from run to run, and now and then a label with it.
    # Points that differ by rounding alone are warned of as one; groups without points are no harm.
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = [
            improve(KMeans(distinct, n_init=1, random_state=seed * restarts + restart).fit(points).labels_)
            for restart in range(restarts)
        ]
        best = min(found, key=lambda result: result[3])
        if distinct < len(points) <= _MOST_IN_TREE:
            labels = fcluster(linkage(points @ best[0], "ward"), distinct, "maxclust") - 1
            if labels.max() + 1 == distinct:  # no group without points
                best = min(best, improve(labels), key=lambda result: result[3])
    return best


def _centres(points: Floats, labels: NDArray[np.integer], groups: int) -> Floats:
    """Return the mean of each group, (groups, dimensions); far away for a group without points."""
    centres = np.full((groups, points.shape[1]), 1e3, dtype=np.float32)
    for label in np.unique(labels):
        centres[label] = points[labels == label].mean(axis=0)
    return centres


def _trajectory_means(demonstrations: Demonstrations) -> Floats:
    """Return for every step the mean observation of its trajectory, (steps, observation size)."""
    sums = np.add.reduceat(demonstrations.observations.astype(np.float64), demonstrations.starts)
    means = (sums / demonstrations.lengths[:, None]).astype(np.float32)
    return np.repeat(means, demonstrations.lengths, axis=0)


def _inverse_change(demonstrations: Demonstrations) -> Floats:
    """Return the inverse standard deviation of each column's changes from step to step, (pair,)."""
    inside = np.ones(demonstrations.steps, dtype=bool)
    inside[demonstrations.starts] = False
    arrays = demonstrations.observations, demonstrations.actions
    if not inside.any():  # one step a trajectory
        return np.zeros(sum(array.shape[1] for array in arrays), np.float32)
    return np.concatenate([inverse_std(np.diff(array, axis=0)[inside[1:]]) for array in arrays])


def inverse_std(values: Floats) -> Floats:
    """Return the inverse standard deviation of each column, 0 where it does not vary."""
    std = values.std(axis=0, dtype=np.float64)
    varies = std > 1e-6 * (1e-30 + np.abs(values).max(axis=0))
    return np.divide(1, std, out=np.zeros_like(std), where=varies).astype(np.float32)


def embed(demonstrations: Demonstrations, seed: int) -> NDArray[np.float32]:
    """Return the kernel mean embedding of every trajectory, (trajectories, features).

    The kernel is Gaussian on normalised (state, action) pairs, its bandwidth the median distance of two pairs.
    """
    rng = np.random.default_rng(seed)
    size = demonstrations.observation_size + demonstrations.action_size
    mean, scale = _normalisation(demonstrations)
    sample = np.sort(rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False))
    pairs = np.concatenate([demonstrations.observations[sample], demonstrations.actions[sample]], axis=1)
    distances = pdist((pairs - mean) * scale)
    positive = distances[distances > 0]
    bandwidth = float(np.median(positive)) if positive.size else 1.0
    frequencies = (rng.standard_normal((size, _FEATURES)) / bandwidth).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)

    embeddings = np.empty((len(demonstrations), _FEATURES), dtype=np.float32)
    for index, (observations, actions) in enumerate(demonstrations):
        rows = np.linspace(0, len(actions) - 1, min(len(actions), _STEPS_PER_TRAJECTORY)).astype(np.int64)
        pairs = (np.concatenate([observations[rows], actions[rows]], axis=1) - mean) * scale
        embeddings[index] = np.cos(pairs @ frequencies + phases).mean(axis=0)
    return embeddings


def _normalisation(demonstrations: Demonstrations) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the inverse standard deviation of the columns of (state, action) pairs."""
    means, scales = [], []
    for values in (demonstrations.observations, demonstrations.actions):
        normalizer = Normalizer(values.shape[1])
        normalizer.fit(values)
        std = normalizer.std.numpy()
        means.append(normalizer.mean.numpy())
        scales.append(np.divide(1, std, out=np.zeros_like(std), where=std > 0))
    return np.concatenate(means), np.concatenate(scales)
