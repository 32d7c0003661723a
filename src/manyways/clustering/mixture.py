"""Groups of points, by a mixture of Gaussians with one covariance and hard assignment; and isolated points.

It is k-means in a metric that is learned from how points of one group differ.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn import config_context
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from manyways.clustering.constraints import Constraints

_RESTARTS = 40
_MOST_IN_TREE = 2000  # points; the tree's cost grows with their square
_ROUNDS = 30  # of clustering and of the metric; five are mostly enough
_ISOLATED = 4.0  # median distances; no synthetic motion is so far out, and of the tasks' trajectories only falls (5-30)
_LEAST_WITHIN = 0.02  # least variance within groups, as a share of the whole

Floats = NDArray[np.floating[Any]]


def isolated(points: Floats) -> NDArray[np.bool_]:
    """Return which points (n, dimensions) lie far from all others, (n,).

    An isolated point has fewer than two neighbours within four times the distance at which the median point has two. So
    three similar trajectories are not isolated.
    """
    if len(points) < 4:
        return np.zeros(len(points), dtype=bool)
    distances = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0][:, 2]  # the first is the point itself
    far: NDArray[np.bool_] = distances > _ISOLATED * np.median(distances)
    return far


def cluster(
    points: Floats,
    groups: int,
    seed: int,
    restarts: int = _RESTARTS,
    floor: float = 0.0,
    known: NDArray[np.integer] | None = None,
    constraints: Constraints | None = None,
) -> tuple[Floats, Floats, NDArray[np.int64], float]:
    """Group points by k-means in the metric of the covariance within groups, alternately.

    That maximises the likelihood of a mixture of Gaussians with one covariance and hard assignment. From random starts
    k-means often joins two of many groups and splits another. So the last start is a tree (Ward 1963) in the best
    metric.

    Args:
        points: (n, dimensions).
        groups: how many; at most n.
        seed: of the starts.
        restarts: how many starts; the likeliest result counts.
        floor: variance added to the covariance within groups in every direction, as a share of the points' variance.
        known: (n,), the group of each point that is known, -1 elsewhere; those stay in their groups.
        constraints: what labels and pairs ask of the groups; `known` must keep it.

    Returns:
        The metric (dimensions, dimensions); the centres in it (groups, dimensions); the group of each point (n,); and
        the volume, half the logarithm of the determinant of the covariance within groups over that of the whole. The
        likeliest groups have the least volume.
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
            if known is None and constraints is None:
                new = KMeans(distinct, init=centres[:distinct] @ metric, n_init=1).fit(points @ metric).labels_
            else:
                new = _nearest(points @ metric, centres @ metric, known, constraints)
            if np.array_equal(new, labels):
                break
            labels = new
        volume = float(np.linalg.slogdet(within)[1] - np.log(whole).sum()) / 2
        return metric, centres @ metric, labels.astype(np.int64), volume

    def begin(start: NDArray[np.integer]) -> NDArray[np.integer]:
        fixed = known if known is not None else None if constraints is None else constraints.settled
        return start if fixed is None else renamed(start, fixed, groups)

    # With several threads the order of summation, and so now and then a label, would change from run to run.
    # KMeans warns of points that differ by rounding alone; groups without points are allowed.
    # Hundreds of small problems are solved, in which its checks of the same points would take half of the time.
    unchecked = config_context(assume_finite=True, skip_parameter_validation=True)
    with threadpool_limits(1, user_api="openmp"), unchecked, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        starts = (
            KMeans(distinct, n_init=1, random_state=seed * restarts + restart).fit(points).labels_
            for restart in range(restarts)
        )
        results = [improve(begin(start)) for start in starts]
        best = min(results, key=lambda result: result[3])
        if distinct < len(points) <= _MOST_IN_TREE:
            labels = fcluster(linkage(points @ best[0], "ward"), distinct, "maxclust") - 1
            if labels.max() + 1 == distinct:  # no group without points
                best = min(best, improve(begin(labels)), key=lambda result: result[3])
    return best


def renamed(labels: NDArray[np.integer], known: NDArray[np.integer], groups: int) -> NDArray[np.int64]:
    """Return labels (n,) whose numbers agree best with the known ones (n,), and which are those where known."""
    agree = np.zeros((groups, groups), np.int64)
    np.add.at(agree, (labels[known >= 0], known[known >= 0]), 1)
    names = linear_sum_assignment(agree, maximize=True)[1]
    return np.where(known >= 0, known, names[labels]).astype(np.int64)


def _nearest(
    points: Floats, centres: Floats, known: NDArray[np.integer] | None, constraints: Constraints | None
) -> NDArray[np.integer]:
    """Return the nearest centre of each point (n,), or its known one, or the nearest that the constraints allow."""
    distances = cdist(points, centres, "sqeuclidean")
    nearest = distances.argmin(axis=1) if constraints is None else constraints.codes(distances)
    return nearest if known is None else np.where(known >= 0, known, nearest)


def _centres(points: Floats, labels: NDArray[np.integer], groups: int) -> Floats:
    """Return the mean of each group, (groups, dimensions); far away for a group without points."""
    centres = np.full((groups, points.shape[1]), 1e3, dtype=np.float32)
    for label in np.unique(labels):
        centres[label] = points[labels == label].mean(axis=0)
    return centres
