"""The number of linear policies that trajectories follow: as many as held-out actions need.

Groups by linear policies (`clustering.linear_policies`) are tried for every number. Where they exist, halves of a
trajectory agree on its group, and hardly any trajectory lies between two groups, so they are modes, not parts of a
range. Each of K modes makes held-out actions likelier by about a K-th of the whole gain. So the number is the least one
whose gain over a single policy misses less than a quarter of a K-th of the greatest gain.

The answer counts if it makes held-out actions likelier than the groups that were counted by their places, by more than
chance.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import wilcoxon

from manyways.clustering.embedding import Embedding
from manyways.clustering.linear_policies import linear_policies
from manyways.clustering.mixture import cluster
from manyways.clustering.regressions import Regressions
from manyways.demonstrations import Demonstrations

_MOST = 12
_FAILURES = 4  # numbers in a row without linear policies, after which no more are tried
_LEAST_MEMBERS = 3
_RESTARTS = 3  # of clusters
_STEPS = 20_000  # on which the likelihood is measured, at most
_NEEDED = 0.25  # of an equal share of the gain, which one more group must add
_SIGNIFICANCE = 0.05
_SAMPLES = 200


def count_policies(
    demonstrations: Demonstrations, rival: int, most: int, seed: int
) -> tuple[dict[int, float], dict[int, float]] | None:
    """Return the share of bootstrap samples (Efron 1979) with each number, and each number's gain; None if none counts.

    The gain is that in the likelihood of held-out actions over a single policy, in nats a trajectory.

    Args:
        demonstrations: of any lengths.
        rival: the number that was counted otherwise.
        most: the greatest number to try.
        seed: of everything random.
    """
    count = len(demonstrations)
    embeddings = list(Embedding.fit_kinds(demonstrations, seed))
    groupings = _groupings(demonstrations, embeddings[-1], min(most, _MOST), seed)
    if not groupings:
        return None
    places = []
    for embedding in embeddings if rival > 1 else []:
        points = embedding(demonstrations)
        metric, centres, _, _ = cluster(points, rival, seed, _RESTARTS)
        places.append(cdist(points @ metric, centres).argmin(axis=1))
    numbers = np.array([1, *(number for number, _ in groupings)])
    partitions = [*(labels for _, labels in groupings), *places]
    nll = np.stack(Regressions.of(demonstrations, seed, _STEPS).held_out_nll(partitions))
    gain = nll[0] - nll[: len(numbers)]  # (numbers, trajectories)
    best = _answer(numbers, gain)
    chosen = min(nll[: len(numbers)][numbers == best], key=lambda row: row.sum())
    otherwise = min(nll[[0, *range(len(numbers), len(nll))]], key=lambda row: row.sum())
    better = otherwise - chosen
    if best == 1 or not better.any() or wilcoxon(better, alternative="greater").pvalue >= _SIGNIFICANCE:
        return None
    rng = np.random.default_rng(seed)
    samples = Counter(_answer(numbers, gain[:, rng.integers(count, size=count)]) for _ in range(_SAMPLES))
    votes = {number: times / _SAMPLES for number, times in samples.items()}
    return votes, {int(number): float(row.mean()) for number, row in zip(numbers, gain, strict=True)}


def _groupings(
    demonstrations: Demonstrations, embedding: Embedding, most: int, seed: int
) -> list[tuple[int, NDArray[np.integer]]]:
    """Return numbers of groups, ascending, with the groups by linear policies, where each has enough members."""
    found: list[tuple[int, NDArray[np.integer]]] = []
    failures = 0
    for number in range(2, min(most, len(demonstrations) // _LEAST_MEMBERS) + 1):
        here = []
        for before in (False, True):
            policies = linear_policies(demonstrations, number, seed, before)
            if policies is not None:
                labels = embedding.by_policies(policies)(demonstrations).argmin(axis=1)
                if np.bincount(labels, minlength=number).min() >= _LEAST_MEMBERS:
                    here.append((number, labels))
        found += here
        failures = 0 if here else failures + 1
        if failures == _FAILURES:
            break
    return found


def _answer(numbers: NDArray[np.int64], gain: NDArray[np.float64]) -> int:
    """Return the number of modes.

    Args:
        numbers: of groups, ascending from 1; one may be there twice.
        gain: (numbers, trajectories), over one group.
    """
    sums = gain.sum(axis=1)
    return int(numbers[np.flatnonzero(sums >= (1 - _NEEDED / numbers) * sums.max())[0]])
