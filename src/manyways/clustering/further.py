"""More groups than gaps tell apart: those at sure gaps are split further, each time where it explains most.

A split is worth as much as the policies of its halves explain held-out actions better (`clustering.regressions`).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.clustering.mixture import cluster
from manyways.clustering.regressions import Regressions

_RESTARTS = 10  # of the mixture in each group; two groups are found more easily than many

Labels = NDArray[np.integer[Any]]


def split_further(
    labels: Labels, points: list[NDArray[np.floating[Any]]], groups: int, regressions: Regressions, seed: int
) -> tuple[Labels, set[int]]:
    """Split groups in two until there are as many as wanted, or none can be split.

    Args:
        labels: (trajectories,), the group of each.
        points: (trajectories, dimensions), the trajectories in each of several embeddings.
        groups: how many are wanted.
        regressions: of the same trajectories.
        seed: of the mixtures.

    Returns:
        The group of each trajectory, and the places of the embeddings in which groups were split.
    """
    used: set[int] = set()
    halves: dict[tuple[int, int], Labels] = {}  # the trajectories split off, by group and embedding
    while (count := int(labels.max()) + 1) < groups:
        for group in range(count):
            rows = np.flatnonzero(labels == group)
            for place, own in enumerate(points):
                if (group, place) not in halves and len(rows) > 1:
                    second = cluster(own[rows], 2, seed, _RESTARTS)[2] == 1
                    halves[group, place] = rows[second]
        splits = {key: rows for key, rows in halves.items() if 0 < len(rows) < (labels == key[0]).sum()}
        if not splits:
            break
        partitions = [np.where(np.isin(np.arange(len(labels)), rows), count, labels) for rows in splits.values()]
        _, *nll = regressions.held_out_nll(partitions)
        best = min(range(len(nll)), key=lambda place: nll[place].sum())
        group, place = list(splits)[best]
        labels = partitions[best]
        used.add(place)
        halves = {key: rows for key, rows in halves.items() if key[0] != group}
    return labels, used
