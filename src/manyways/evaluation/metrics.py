"""Agreement of codes and ground-truth modes, and estimators of entropy and mutual information."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln
from sklearn.feature_selection import mutual_info_regression
from sklearn.metrics import normalized_mutual_info_score


def match_codes(return_matrix: NDArray[np.floating]) -> list[int | None]:
    """Match codes to modes one to one so that the sum of their returns is greatest (Section 4.2, Metrics).

    Args:
        return_matrix: (codes, modes), the mean return of each code's rollouts under each mode's reward.

    Returns:
        For each code its mode, or None for the codes without one if there are more codes than modes.
    """
    codes, modes = linear_sum_assignment(return_matrix, maximize=True)
    assignment: list[int | None] = [None] * len(return_matrix)
    for code, mode in zip(codes, modes, strict=True):
        assignment[code] = int(mode)
    return assignment


def purity(codes: ArrayLike, modes: ArrayLike) -> float:
    """Return the share of trajectories whose mode is the most frequent one among those of their code.

    Args:
        codes: (trajectories,), of the model.
        modes: (trajectories,), the ground truth.
    """
    _, code_indices = np.unique(codes, return_inverse=True)
    _, mode_indices = np.unique(modes, return_inverse=True)
    counts = np.zeros((code_indices.max() + 1, mode_indices.max() + 1), dtype=np.int64)
    np.add.at(counts, (code_indices, mode_indices), 1)
    return float(counts.max(axis=1).sum() / counts.sum())


def normalized_mutual_information(codes: ArrayLike, modes: ArrayLike) -> float:
    """Return the mutual information of codes and modes over the mean of their entropies: 0 for none, 1 for the same.

    Args:
        codes: (trajectories,), of the model.
        modes: (trajectories,), the ground truth.
    """
    return float(normalized_mutual_info_score(np.asarray(modes), np.asarray(codes)))


def mutual_information(codes: ArrayLike, values: ArrayLike, neighbors: int = 3) -> float:
    """Return the mutual information in nats of two real variables, by the estimator of Kraskov et al. (2004).

    Args:
        codes: (n,).
        values: (n,).
        neighbors: k of the estimator.
    """
    column = np.asarray(codes, dtype=np.float64)[:, None]
    result = mutual_info_regression(column, np.asarray(values, np.float64), n_neighbors=neighbors, random_state=0)
    return float(result[0])


def entropy(points: ArrayLike, neighbors: int = 3) -> float:
    """Return the differential entropy in nats, by the estimator of Kozachenko & Leonenko (1987).

    For a bounded distribution it is a little too large, since balls around points at the border extend beyond it.

    Args:
        points: (n, dimension), more than `neighbors`; noise of 1e-10 separates equal points.
        neighbors: k of the estimator.

    Raises:
        ValueError: there are not more points than neighbours.
    """
    places = np.asarray(points, dtype=np.float64)
    count, dimension = places.shape
    if count <= neighbors:
        raise ValueError(f"{count} points have no {neighbors} neighbours each; give more points")
    places = places + 1e-10 * np.random.default_rng(0).standard_normal(places.shape)
    distances = KDTree(places).query(places, k=neighbors + 1)[0][:, -1]
    log_ball = dimension / 2 * np.log(np.pi) - gammaln(dimension / 2 + 1)
    return float(digamma(count) - digamma(neighbors) + log_ball + dimension * np.log(distances).mean())
