"""Groups of points: a mixture of Gaussians with one covariance for all, by hard assignment; and isolated points.

That is k-means in a metric that learns how points of one group differ, and counts those directions little.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

_RESTARTS = 40
_MOST_IN_TREE = 2000  # points; the tree's cost grows with their square
_ROUNDS = 30  # of clustering and of the metric; they mostly agree after five
_ISOLATED = 4.0  # of synthetic motions none is so far out, and of the tasks' trajectories only falls, 5 to 30
_LEAST_WITHIN = 0.02  # variance within groups that is always assumed, as a share of the whole

Floats = NDArray[np.floating[Any]]


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
