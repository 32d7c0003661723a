"""Methods that group trajectories and count their modes: ours, and the rivals that one would try first.

Grouping gets demonstrations, the true number of modes and a seed, and returns a group for each trajectory. Counting
gets demonstrations, the greatest number and a seed, and returns the number and, of ours, the sureness.

Time warping needs `pip install dtaidistance kmedoids`.
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from torch import nn

import manyways
from manyways.clustering.competition import find_groups
from manyways.clustering.embedding import Embedding
from motions import aligned

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Demonstrations = manyways.Demonstrations
Grouping = Callable[[Demonstrations, int, int], Integers]
Counting = Callable[[Demonstrations, int, int], tuple[int, float | None]]

TRAJECTORIES = 2000  # at most, for counting and for what compares all pairs; ours counts as many
_COMPONENTS = 12  # of aligned trajectories, as many as the embedding has
_STEPS = 64  # of a trajectory, for time warping
_STEPS_TO_ENCODE = 32
_RESTARTS = 10
_REGULARISATION = 1e-3  # of a mixture's variances, as a share of the points'
_REFERENCES = 10  # of the gap statistic (Tibshirani et al. 2001)
_HALVES = 5  # of prediction strength (Tibshirani and Walther 2005)
_STRONG = 0.8  # their threshold
_LEAST_CLUSTER = 4  # of HDBSCAN
_ALL_UP_TO = 30  # every number is tried up to here, then steps of a tenth
_NEIGHBOURS = 10
_AUTOENCODER = {"hidden": 64, "code": 8, "iterations": 400, "batch": 64}


class TooLarge(Exception):
    """The method compares all pairs, and there are too many."""


def embedded(demonstrations: Demonstrations, seed: int) -> Floats:
    """Return the library's own embedding, (trajectories, dimensions)."""
    return Embedding.fit(demonstrations, seed)(demonstrations)


def components(demonstrations: Demonstrations, seed: int) -> Floats:
    """Return principal components of trajectories at the same shares of their time, (trajectories, dimensions)."""
    rows = aligned(demonstrations)
    return np.asarray(PCA(min(_COMPONENTS, len(rows) - 1, rows.shape[1]), random_state=seed).fit_transform(rows))


def resampled(demonstrations: Demonstrations) -> Floats:
    """Return normalised trajectories of equal length, (trajectories, steps, columns)."""
    points = min(_STEPS_TO_ENCODE, int(demonstrations.lengths.max()))
    return aligned(demonstrations, points).reshape(len(demonstrations), points, -1)


def k_means(points: Floats, groups: int, seed: int) -> Integers:
    return np.asarray(KMeans(groups, n_init=_RESTARTS, random_state=seed).fit_predict(points))


def mixture(points: Floats, groups: int, seed: int, covariance: str, restarts: int = 3) -> GaussianMixture:
    """Return a fitted mixture of Gaussians with a covariance each ("full") or one for all ("tied")."""
    least = _REGULARISATION * float(points.var(axis=0).mean())
    model = GaussianMixture(groups, covariance_type=covariance, reg_covar=least, n_init=restarts, random_state=seed)
    return model.fit(points.astype(np.float64))


def spectral(points: Floats, groups: int, seed: int) -> Integers:
    """Return spectral clusters of the graph of nearest neighbours."""
    if len(points) > 5 * TRAJECTORIES:
        raise TooLarge
    neighbours = min(_NEIGHBOURS, len(points) - 1)
    model = SpectralClustering(groups, affinity="nearest_neighbors", n_neighbors=neighbours, random_state=seed)
    return np.asarray(model.fit_predict(points))


def time_warping(demonstrations: Demonstrations, groups: int, seed: int) -> Integers:
    """Return k-medoids (Schubert and Rousseeuw 2021) of distances by dynamic time warping."""
    import kmedoids  # type: ignore[import-not-found]
    from dtaidistance import dtw_ndim  # type: ignore[import-not-found]

    if len(demonstrations) > TRAJECTORIES:
        raise TooLarge
    steps = max(1, int(demonstrations.lengths.max()) // _STEPS)
    rows = np.concatenate([demonstrations.vectors(), demonstrations.action_vectors()], axis=1).astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / (rows.std(axis=0) + 1e-9)
    parts = [np.ascontiguousarray(part[::steps]) for part in np.split(rows, demonstrations.starts[1:])]
    distances = dtw_ndim.distance_matrix_fast(parts, parallel=False)
    return np.asarray(kmedoids.fasterpam(distances, groups, random_state=seed, n_cpu=1).labels, np.int64)


def autoencoder(demonstrations: Demonstrations, groups: int, seed: int) -> Integers:
    """Return k-means of the codes of a recurrent autoencoder."""
    torch.manual_seed(seed)
    values = torch.as_tensor(resampled(demonstrations), dtype=torch.float32)
    steps, columns = values.shape[1:]
    hidden, code = _AUTOENCODER["hidden"], _AUTOENCODER["code"]
    encoder, squeeze = nn.GRU(columns, hidden, batch_first=True), nn.Linear(hidden, code)
    decoder, answer = nn.GRU(code + 1, hidden, batch_first=True), nn.Linear(hidden, columns)
    parameters = [each for part in (encoder, squeeze, decoder, answer) for each in part.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=3e-3)
    clock = torch.linspace(-1, 1, steps)[None, :, None]

    def encode(batch: torch.Tensor) -> torch.Tensor:
        return squeeze(encoder(batch)[1][0])

    for _ in range(_AUTOENCODER["iterations"]):
        batch = values[torch.randint(len(values), (_AUTOENCODER["batch"],))]
        codes = encode(batch)[:, None].expand(-1, steps, -1)
        said = answer(decoder(torch.cat([codes, clock.expand(len(batch), -1, -1)], dim=2))[0])
        optimizer.zero_grad()
        ((said - batch) ** 2).mean().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    with torch.no_grad():
        codes = torch.cat([encode(batch) for batch in values.split(1000)])
    return k_means(codes.numpy(), groups, seed)


def own_groups(demonstrations: Demonstrations, groups: int, seed: int) -> Integers:
    demonstrations = demonstrations.encoded
    return find_groups(demonstrations, groups, seed).relative_nll(demonstrations).argmin(axis=1)


def sog_bc(iterations: int) -> Grouping:
    """Return the final codes of SOG-BC as a way of grouping."""

    def find(demonstrations: Demonstrations, groups: int, seed: int) -> Integers:
        settings = manyways.SOGBC(prior=manyways.Categorical(groups), seed=seed, iterations=iterations)
        return settings.fit(demonstrations).losses(demonstrations).argmin(axis=1)

    return find


def on(points: Callable[[Demonstrations, int], Floats], method: Callable[[Floats, int, int], Any]) -> Grouping:
    """Return a grouping of points as one of demonstrations."""
    return lambda demonstrations, groups, seed: np.asarray(method(points(demonstrations, seed), groups, seed))


def by_mixture(covariance: str) -> Callable[[Floats, int, int], Integers]:
    return lambda points, groups, seed: mixture(points, groups, seed, covariance).predict(points.astype(np.float64))


def tried(most: int) -> list[int]:
    """Return the numbers of groups to try first."""
    numbers = list(range(1, min(most, _ALL_UP_TO) + 1))
    while numbers[-1] < most:
        numbers.append(min(most, math.ceil(1.1 * numbers[-1])))
    return numbers


def best_number(score: Callable[[int], float], most: int, least: int = 1) -> int:
    """Return the number of groups with the greatest score: those tried first, then all near the best."""
    scores = {number: score(number) for number in tried(most) if number >= least}
    while True:
        best = max(scores, key=lambda number: scores[number])
        near = [n for n in range(max(least, best - 2), min(most, best + 2) + 1) if n not in scores]
        if not near:
            return best
        scores |= {number: score(number) for number in near}


def by_likelihood(points: Floats, most: int, seed: int, covariance: str, completed: bool) -> int:
    """Return the number of Gaussians by BIC (Schwarz 1978), or by ICL if `completed` (Biernacki et al. 2000)."""
    values = points.astype(np.float64)

    def score(groups: int) -> float:
        model = mixture(points, groups, seed, covariance, restarts=1)
        return -model.bic(values) - (2 * float(entr(model.predict_proba(values)).sum()) if completed else 0.0)

    return best_number(score, most)


def by_dirichlet_process(points: Floats, most: int, seed: int) -> int:
    """Return how many Gaussians of a Dirichlet process have two points or more."""
    least = _REGULARISATION * float(points.var(axis=0).mean())
    model = BayesianGaussianMixture(n_components=most, max_iter=500, reg_covar=least, random_state=seed)
    labels = model.fit_predict(points.astype(np.float64))
    return max(1, int((np.bincount(labels) >= 2).sum()))


def by_silhouette(points: Floats, most: int, seed: int) -> int:
    """Return the number with the greatest silhouette (Rousseeuw 1987), which is never 1."""

    def score(groups: int) -> float:
        labels = k_means(points, groups, seed)
        return float(silhouette_score(points, labels)) if 1 < len(np.unique(labels)) < len(points) else -1.0

    return best_number(score, most, least=2)


def by_gap(points: Floats, most: int, seed: int) -> int:
    """Return the first number whose gap is not surely less than the next one's."""
    rng = np.random.default_rng(seed)
    low, high = points.min(axis=0), points.max(axis=0)
    references = [rng.uniform(low, high, points.shape) for _ in range(_REFERENCES)]

    def gap(groups: int) -> tuple[float, float]:
        within = [
            np.log(KMeans(groups, n_init=3, random_state=seed).fit(rows).inertia_ + 1e-12)
            for rows in (points, *references)
        ]
        error = float(np.std(within[1:])) * math.sqrt(1 + 1 / _REFERENCES)
        return float(np.mean(within[1:])) - float(within[0]), error

    numbers = tried(most)
    before, _ = gap(1)
    for number, following in pairwise(numbers):
        now, error = gap(following)
        if before >= now - error:
            return number
        before = now
    return numbers[-1]


def by_density(points: Floats, most: int, seed: int) -> int:
    """Return how many clusters HDBSCAN finds (Campello et al. 2013); one if it finds none."""
    labels = HDBSCAN(min_cluster_size=min(_LEAST_CLUSTER, len(points) // 2), copy=True).fit_predict(points)
    return max(1, int(labels.max()) + 1)


def by_prediction(points: Floats, most: int, seed: int) -> int:
    """Return the greatest number whose clusters in one half of the points predict those in the other half."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(points)) for _ in range(_HALVES)]

    def strength(groups: int) -> float:
        values = []
        for order in orders:
            for one, other in (np.array_split(order, 2), np.array_split(order, 2)[::-1]):
                told = KMeans(groups, n_init=3, random_state=seed).fit(points[one]).predict(points[other])
                found = KMeans(groups, n_init=3, random_state=seed).fit_predict(points[other])
                shares = []
                for group in range(groups):
                    sizes = np.bincount(told[found == group])
                    pairs = sizes.sum() * (sizes.sum() - 1)
                    if pairs:
                        shares.append(float((sizes * (sizes - 1)).sum() / pairs))
                values.append(min(shares, default=0.0))
        return float(np.mean(values))

    strong = [number for number in tried(min(most, len(points) // 4)) if number == 1 or strength(number) >= _STRONG]
    return max(strong)


def own_count(demonstrations: Demonstrations, most: int, seed: int) -> tuple[int, float | None]:
    counted = manyways.count_modes(demonstrations, most=most, seed=seed)
    return counted.best, counted.sureness


def counted_by(method: Callable[[Floats, int, int], int]) -> Counting:
    """Return a count of the groups of embedded trajectories as one of the modes of demonstrations."""

    def count(demonstrations: Demonstrations, most: int, seed: int) -> tuple[int, float | None]:
        points = embedded(demonstrations, seed)
        rows = np.sort(np.random.default_rng(seed).permutation(len(points))[:TRAJECTORIES])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # more groups than distinct points, no convergence: the score says so
            return method(points[rows], max(1, min(most, len(np.unique(points[rows], axis=0)) - 1)), seed), None

    return count


OURS_GROUPING = ("groups", "SOG-BC")
RIVALS_GROUPING: dict[str, Grouping] = {
    "k-means, aligned": on(lambda demonstrations, seed: aligned(demonstrations), k_means),
    "tied mixture, aligned": on(components, by_mixture("tied")),
    "full mixture, aligned": on(components, by_mixture("full")),
    "tied mixture, embedding": on(embedded, by_mixture("tied")),
    "full mixture, embedding": on(embedded, by_mixture("full")),
    "spectral, aligned": on(components, spectral),
    "spectral, embedding": on(embedded, spectral),
    "k-medoids, time warping": time_warping,
    "k-means, autoencoder": autoencoder,
}
OURS_COUNTING = "count_modes"
RIVALS_COUNTING: dict[str, Counting] = {
    "BIC, tied": counted_by(partial(by_likelihood, covariance="tied", completed=False)),
    "BIC, full": counted_by(partial(by_likelihood, covariance="full", completed=False)),
    "ICL, tied": counted_by(partial(by_likelihood, covariance="tied", completed=True)),
    "ICL, full": counted_by(partial(by_likelihood, covariance="full", completed=True)),
    "Dirichlet process": counted_by(by_dirichlet_process),
    "silhouette": counted_by(by_silhouette),
    "gap statistic": counted_by(by_gap),
    "HDBSCAN": counted_by(by_density),
    "prediction strength": counted_by(by_prediction),
}
