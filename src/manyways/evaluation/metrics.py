"""How well codes and ground-truth modes agree."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import normalized_mutual_info_score


def match_codes(return_matrix: NDArray[np.floating]) -> list[int | None]:
    """Match codes to modes one to one so that the sum of their returns is greatest (Section 4.2, Metrics).

    Args:
        return_matrix: (codes, modes), the mean return of each code's rollouts under each mode's reward.

    Returns:
        For each code its mode, or None for codes left over where there are more codes than modes.
    """
    codes, modes = linear_sum_assignment(return_matrix, maximize=True)
    assignment: list[int | None] = [None] * len(return_matrix)
    for code, mode in zip(codes, modes, strict=True):
        assignment[code] = int(mode)
    return assignment


def purity(codes: ArrayLike, modes: ArrayLike) -> float:
    """Return the share of trajectories whose mode is the most frequent one among those of their code.

    Args:
        codes: (trajectories,), what was found.
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
        codes: (trajectories,), what was found.
        modes: (trajectories,), the ground truth.
    """
    return float(normalized_mutual_info_score(np.asarray(modes), np.asarray(codes)))
