"""The number of modes: as many groups as gaps tell apart.

1. Split the trajectories at gaps that one group would hardly have (`clustering.tree`): in a property, in an embedding,
   or in what the policies of two sides say of a trajectory that they were not fitted on (`clustering.recognition`).
   How often a count is right, docs/results.md says.
2. Many modes with few trajectories each hide each other's gaps on any line. So describe the embedding by Gaussian
   groups with one covariance, as many as the description length asks for (Rissanen 1978; BIC, Schwarz 1978). Their
   number counts if it is twice that of the gaps or more, the groups are small, and parts of the trajectories agree on
   them (Ben-Hur et al. 2002).
3. Labels and pairs, where there are some, say which of these groups are one, and which are several
   (`clustering.known`).
4. The sureness grows with the share of random parts with the same answer. A part has fewer trajectories, and so fewer
   sure gaps: none with the same answer means that it is half sure. It is less if one more gap is nearly sure, and at
   most a half if labels or pairs tell modes apart that no gap does.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from manyways.clustering.constraints import least_modes
from manyways.clustering.embedding import Embedding
from manyways.clustering.known import joined, told_apart
from manyways.clustering.mixture import Floats, cluster, isolated
from manyways.clustering.properties import property_names
from manyways.clustering.tree import AGREEMENT, Tree, columns_of, split_at_gaps
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError

_MOST = 200
_TRAJECTORIES = 2000  # at most, in which gaps are sought
_DESCRIBED = 500  # trajectories at most, that are described by Gaussian groups
_HIDDEN = 17  # trajectories of a group at most, whose gaps others hide; larger groups show theirs
_TIMES = 2  # as many groups as gaps have, which a description must have to count
PARTS = 10
_SHARE = 0.9  # of the trajectories, in each part
_RESTARTS = 3
_PAIRS = 4  # of parts, for the agreement
_NEARLY = 0.25  # the chance of a gap that is nearly sure
_UNSEEN = 0.5  # the greatest sureness where a gap that is known to be there is not seen; others may be unseen, too
_DOUBT = 0.7  # how often a count is right that leaves such a gap out, if all parts agree


@dataclass(frozen=True)
class ModeCount:
    """The number of modes, and the evidence.

    Attributes:
        best: the answer.
        runner_up: the next answer.
        sureness: how likely `best` is right, 0 to 1; development sets gave the scale.
        votes: the share of the parts with each answer.
        chances: for each number of modes that gaps tell apart, from 2 on, the chance of a gap as sure as its last one
            if there were one mode less; the last number is one more than the gaps' answer.
        least: how many modes labels and pairs tell apart; 1 without any.
        splits: for each gap, "by" which property it is, else "the whole course" or, where policies say it, "what is
            done"; and the "sizes" of both sides.
    """

    best: int
    runner_up: int
    sureness: float
    votes: dict[int, float]
    chances: dict[int, float] = field(default_factory=dict)
    splits: tuple[dict[str, Any], ...] = ()
    least: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the evidence for a file."""
        return {
            "best": self.best,
            "runner_up": self.runner_up,
            "sureness": self.sureness,
            "votes": {str(number): share for number, share in self.votes.items()},
            "chances": {str(number): chance for number, chance in self.chances.items()},
            "splits": list(self.splits),
        } | ({"least": self.least} if self.least > 1 else {})


def count_modes(
    demonstrations: Demonstrations,
    *,
    most: int | None = None,
    seed: int = 0,
    callback: Callable[[int], object] | None = None,
) -> ModeCount:
    """Return the number of modes in the demonstrations, and how sure it is.

    Args:
        demonstrations: four trajectories or more; a mode with fewer is not counted, unless labels or pairs show it.
        most: the greatest number to try; None for half the trajectories, and at most 200.
        seed: of everything random.
        callback: called with how many of the 10 parts are counted.

    Raises:
        InputError: there are fewer than four trajectories, or `most` is below 1 or what labels and pairs tell apart.
    """
    if len(demonstrations) < 4:
        raise InputError(
            f"{len(demonstrations)} trajectories are too few to count the modes among them; "
            "give four or more, or say how many modes there are"
        )
    if most is not None and most < 1:
        raise InputError(f"at most {most} modes cannot be counted; give 1 or more")
    demonstrations = demonstrations.encoded
    rng = np.random.default_rng(seed)
    if len(demonstrations) > _TRAJECTORIES:
        demonstrations = demonstrations.select(_some(demonstrations, rng))
    labels, pairs = demonstrations.labels, demonstrations.pairs
    least = least_modes(labels, pairs)
    if most is not None and most < least:
        raise InputError(f"labels and pairs tell {least} modes apart, so at most {most} cannot be right; give {least}")
    most = min(most or _MOST, max(1, len(demonstrations) // 2))
    kinds = list(Embedding.fit_kinds(demonstrations, seed))
    columns = columns_of(demonstrations, kinds, kinds[0].features(demonstrations), seed)
    tree = split_at_gaps(columns, most)
    by_gaps, count = len(tree.splits) + 1, len(demonstrations)
    groups = tree.labels(by_gaps)
    by_known, shown = told_apart(groups, labels, pairs), int(joined(groups, labels, pairs).max()) + 1
    described = _described(columns.points[0], by_gaps, most, seed)
    votes: Counter[int] = Counter()
    for part in range(PARTS):
        rows = np.sort(rng.permutation(count)[: max(4, round(_SHARE * count))])
        if described is None:
            part_tree = split_at_gaps(columns.select(rows), most, tree)
            found = part_tree.labels(len(part_tree.splits) + 1)
            own = None if labels is None else labels[rows], None if pairs is None else pairs.select(rows)
            votes[max(least, told_apart(found, *own))] += 1
        else:
            near = range(max(1, described - 3), min(most, described + 3) + 1)
            votes[max(least, _shortest(_usual(columns.points[0][rows], seed), [*near], seed)[0])] += 1
        if callback is not None:
            callback(part + 1)
    best = max(described or by_known, least)
    others = [number for number, _ in votes.most_common() if number != best]
    nearly = described is None and tree.next_chance < _NEARLY
    next_best = best + 1 if best == least or tree.next_chance < 1 else best - 1
    others = [number for number in others if number >= least]
    share = votes[best] / PARTS
    sureness = _DOUBT * share if nearly else (1 + share) / 2
    if best > (described or shown):
        sureness = min(sureness, _UNSEEN)
    chances = {number: split.chance for number, split in enumerate(tree.splits, 2)}
    names = property_names(demonstrations)
    return ModeCount(
        best,
        next_best if nearly or not others else others[0],
        sureness,
        {number: times / PARTS for number, times in sorted(votes.items())},
        chances | {by_gaps + 1: tree.next_chance},
        tuple(_told(tree, names)),
        least,
    )


def _some(demonstrations: Demonstrations, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return trajectories to count modes among (n,), with all that have a label or are in a pair."""
    labels, pairs = demonstrations.labels, demonstrations.pairs
    rows = np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES])
    rows = rows if labels is None else np.union1d(rows, np.flatnonzero(labels >= 0))
    return rows if pairs is None else np.union1d(rows, pairs.tied)


def _told(tree: Tree, names: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return what a file says of each split."""
    told = []
    for split in tree.splits:
        unnamed = "what is done" if split.recognised else "the whole course", ""
        kind, of = unnamed if split.named is None else names[split.named]
        told.append({"by": f"{kind} of {of}" if of else kind, "sizes": [len(side) for side in split.sides]})
    return told


def _usual(points: Floats, seed: int) -> Floats:
    """Return points without isolated ones, and not too many."""
    points = points[~isolated(points)]
    return points[np.sort(np.random.default_rng(seed).permutation(len(points))[:_DESCRIBED])]


def _described(points: Floats, by_gaps: int, most: int, seed: int) -> int | None:
    """Return how many Gaussian groups describe the points best, or None if that number does not count."""
    least = len(points) / _HIDDEN
    points = _usual(points, seed)
    most = min(most, len(points) // 2)
    numbers = list(range(1, min(12, most) + 1))
    while numbers and numbers[-1] < most:
        numbers.append(min(most, int(np.ceil(1.15 * numbers[-1]))))
    if _TIMES * by_gaps > most:
        return None
    number, floor = _shortest(points, numbers, seed)
    near = range(max(1, number - 5), min(most, number + 5) + 1)
    number = _shortest(points, [*near], seed, floor)[0]
    enough = number >= max(least, _TIMES * by_gaps)
    return number if enough and _agreement(points, number, seed) >= AGREEMENT else None


def _shortest(
    points: Floats, numbers: list[int], seed: int, known: dict[int, float] | None = None
) -> tuple[int, dict[int, float]]:
    """Return the number of groups with the shortest description, and the length in nats a trajectory of each."""
    lengths = dict(known or {})
    for number in numbers:
        if number not in lengths and number <= len(points):
            _, _, labels, volume = cluster(points, number, seed, _RESTARTS)
            shares = np.bincount(labels) / len(labels)
            shares = shares[shares > 0]
            centres = len(shares) * points.shape[1] / 2 * np.log(len(labels)) / len(labels)
            lengths[number] = float(volume - (shares * np.log(shares)).sum() + centres)
    return min(lengths, key=lambda number: lengths[number]), lengths


def _agreement(points: Floats, groups: int, seed: int) -> float:
    """Return the adjusted Rand index of the groups that two parts of the points give, a mean over pairs of parts."""
    rng = np.random.default_rng(seed)
    indices = []
    for _ in range(_PAIRS):
        pair: list[NDArray[np.integer[Any]]] = []
        for _ in range(2):
            rows = np.sort(rng.permutation(len(points))[: max(groups, round(_SHARE * len(points)))])
            metric, centres, _, _ = cluster(points[rows], groups, seed, _RESTARTS)
            pair.append(cdist(points @ metric, centres).argmin(axis=1))
        indices.append(adjusted_rand_score(*pair))
    return float(np.mean(indices))
