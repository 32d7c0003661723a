"""How many ways there are: the number of groups of trajectories that describes them in the fewest nats.

The trajectories' embedding (`clustering.embedding`) is described by K groups with one covariance. What that costs is
the negative log-likelihood of the places within the groups, the entropy of the groups, and half the logarithm of the
number of trajectories for every number that says where a group lies (the description length of Rissanen 1978, BIC of
Schwarz 1978). Where K is too small, the spread within groups is large; where it is too large, centres cost more than
they save. It needs no run of the policy. Isolated trajectories (`clustering.mixture.isolated`), mishaps, are left out.

Four things go beyond that. Trajectories of one way may lie on a bent line (cut here or there, slow or fast), which
several Gaussians describe better than one: so two neighbours count as one unless there is room between them, the
distance of their centres 4.5 times the smaller of their spreads along it. Halves of one Gaussian are 2.6, halves of a
uniform line 3.5 of these apart.

The finest description may follow chance: so the trajectories are described twice, as they are and with a hundredth of
their variance taken for blur, and the coarser description is believed where other parts of the trajectories agree on
its groups more than on the finer ones (Ben-Hur et al. 2002), much more if it undoes many of them. That all are one
group is what any parts agree on: it is believed where they hardly agree on anything finer.

What a trajectory is like as a whole, its way and chance decide together: one policy may fall into several gaits, and
two policies into nearly the same. Only before anything was done has chance no part: the first action, given the first
state, is the way's alone. So first actions are described in the same way, less what a linear answer to the first state
explains. If they fall into groups, and parts agree on these, then chance can be told from ways: the coarser description
of the trajectories is believed even where parts agree on it only a little more, and one of its groups counts as several
ways where its first actions do.

Mishaps lie far from everything, each as if it were a way, and a stumble that happens now and then is a little group: so
one trajectory alone is no way, and what has less than a quarter of an equal share among all trajectories is left out,
and the others are counted again.

How sure that is, is asked of the data: it is done with several parts of the trajectories, and the number that most of
them give is as sure as they agree. The more often a way is shown, the finer the ways within it that can be told apart:
a trained gait has some. So the parts are only as large as the answer needs: ten trajectories for each way found if all
five parts agree, twenty if four do; that there is but one way is what small parts say of groups that are hard to see,
and is believed from 240 on. Otherwise they grow. If they grow to the whole, its answer counts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from manyways.clustering.embedding import Embedding
from manyways.clustering.mixture import Floats, cluster, isolated
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import inverse_std
from manyways.errors import InputError

_MOST = 100
_ALL_UP_TO = 12  # beyond, numbers are tried a sixth apart, and then all near the best
_NEAR = 3
_TRAJECTORIES = 2000  # more make the answer no surer
_RESTARTS = 3
_ROOM = 4.5
_BLUR = 0.01
# In the adjusted Rand index of the groups that two parts give:
_AHEAD = 0.3  # by how much the coarser description must be ahead for each share of the ways that it undoes,
_LEAST_AHEAD = 0.04  # but at least, and where first actions fall into groups
_NO_AGREEMENT = 0.6  # with less on the finer ones all are one group
_PAIRS = 4  # of parts
_WITHIN = 0.95  # homogeneity: how nearly every group of first actions must lie within one group of trajectories
_PENALTIES = np.logspace(-3, 3, 7)  # of the answer to the first state, among which left-out trajectories choose
_NO_DIFFERENCE = 1e-4
_FIRST_COMPONENTS = 12
_RARE = 0.1  # of an equal share, in a part
_RARE_IN_ALL = 0.25
_SHOWN = 20  # trajectories for each way, where nearly all parts agree
_SHOWN_IF_SURE = 10  # where all do
_SHOWN_ALONE = 240  # where they say there is but one
_FIRST_PART = 60
_PARTS = 5
_SHARE = 0.8  # of the trajectories, at most, in each part but one


@dataclass(frozen=True)
class ModeCount:
    """How many ways were found, and the evidence.

    Attributes:
        best: the number that most parts of the data give, or the whole where it has no more than is needed.
        runner_up: the number that comes next; the same as `best` if there is no other.
        sureness: the share of these parts in which `best` is found.
        votes: for each number found in a part of the data, in what share of them.
        description_length: for each number of groups that was tried, what it costs to describe the trajectories of the
            first part in which `best` is found, in nats a trajectory, before any group counts as none; or their first
            actions, where these decided.
    """

    best: int
    runner_up: int
    sureness: float
    votes: dict[int, float]
    description_length: dict[int, float]

    def to_json(self) -> dict[str, Any]:
        """Return the evidence for a file."""
        return {
            "best": self.best,
            "runner_up": self.runner_up,
            "sureness": self.sureness,
            "votes": {str(number): share for number, share in self.votes.items()},
            "description_length": {str(number): nats for number, nats in self.description_length.items()},
        }


def count_modes(demonstrations: Demonstrations, *, most: int | None = None, seed: int = 0) -> ModeCount:
    """Return how many ways the demonstrations show, and how sure that is.

    Args:
        demonstrations: four trajectories or more; ways that are shown only once cannot be told from chance.
        most: the greatest number tried; half the trajectories, and at most 100, unless given.
        seed: of everything random.

    Raises:
        InputError: there are fewer than four trajectories, or `most` is below 1.
    """
    if len(demonstrations) < 4:
        raise InputError(
            f"{len(demonstrations)} trajectories are too few to count the ways among them; "
            "give four or more, or say how many ways there are"
        )
    if most is not None and most < 1:
        raise InputError(f"at most {most} ways cannot be counted; give 1 or more")
    rng = np.random.default_rng(seed)
    points, firsts = Embedding.fit(demonstrations, seed)(demonstrations), _first_actions(demonstrations)
    usual = np.flatnonzero(~isolated(points))
    chosen = usual[np.sort(rng.permutation(len(usual))[:_TRAJECTORIES])]
    points, firsts = points[chosen], firsts[chosen]
    while True:
        counted = _count_parts(points, firsts, most or _MOST, rng, seed)
        rare = _rare(points, counted.best, seed)
        if not rare.any():
            return counted
        points, firsts = points[~rare], firsts[~rare]


def _first_actions(demonstrations: Demonstrations) -> Floats:
    """Return each trajectory's first action less its answer to the first state, (trajectories, components).

    The unit is the standard deviation of all actions; all are 0 where the way makes no difference to the first one.
    """
    states = demonstrations.vectors(demonstrations.starts)
    states = (states - states.mean(axis=0)) * inverse_std(states)
    actions = demonstrations.action_vectors(demonstrations.starts) * inverse_std(demonstrations.action_vectors())
    own = actions - RidgeCV(_PENALTIES).fit(states, actions).predict(states).reshape(actions.shape)
    if own.std() < _NO_DIFFERENCE:
        return np.zeros((len(own), 1), np.float32)
    count = min(_FIRST_COMPONENTS, own.shape[1], len(own) - 1)
    return PCA(count, svd_solver="full").fit_transform(own).astype(np.float32)


def _count_parts(points: Floats, firsts: Floats, most: int, rng: np.random.Generator, seed: int) -> ModeCount:
    """Return what parts of the points say, as small as it can be said."""
    size = min(_FIRST_PART, len(points))
    while True:
        partitions = []
        for part in range(_PARTS):
            share = 1 if part == 0 else _SHARE
            chosen = np.sort(rng.permutation(len(points))[: max(4, min(size, round(share * len(points))))])
            partitions.append(
                _select_partition(points[chosen], firsts[chosen], min(most, len(chosen) // 2), seed + part)
            )
        found = Counter(description.modes for description in partitions)
        best = partitions[0].modes if size == len(points) else found.most_common(1)[0][0]
        shown = _SHOWN_IF_SURE if found[best] == _PARTS else _SHOWN
        needed = best * shown if best > 1 else _SHOWN_ALONE
        if size == len(points) or (needed <= size and found[best] >= _PARTS - 1):
            break
        size = min(max(needed, round(1.5 * size)), len(points))
    lengths = next(description.lengths for description in partitions if description.modes == best)
    others = [number for number, _ in found.most_common() if number != best]
    if not others:
        others = sorted((number for number in lengths if number != best), key=lambda number: lengths[number])
    votes = {number: count / _PARTS for number, count in sorted(found.items())}
    return ModeCount(best, (others or [best])[0], votes[best], votes, lengths)


def _rare(points: Floats, groups: int, seed: int) -> NDArray[np.bool_]:
    """Return which of the points are in groups that are so rare in all that they are no ways, but not all points."""
    labels = cluster(points, groups, seed)[2]
    sizes = np.bincount(labels, minlength=groups)
    rare: NDArray[np.bool_] = (sizes < _RARE_IN_ALL * len(points) / groups)[labels]
    return rare if len(points) - rare.sum() >= 4 else np.zeros_like(rare)


@dataclass(frozen=True)
class _Description:
    """Points in groups.

    Args:
        modes: how many groups there are when those without room between them count as one.
        labels: (n,), the group of each point.
        lengths: for each number of groups that was tried, the description length.
        floor: the blur that was assumed.
    """

    modes: int
    labels: NDArray[np.int64]
    lengths: dict[int, float]
    floor: float

    @property
    def groups(self) -> int:
        """How many groups the shortest description has."""
        return min(self.lengths, key=lambda number: self.lengths[number])


def _select_partition(points: Floats, firsts: Floats, most: int, seed: int) -> _Description:
    """Return the description of the points, or of their first actions, that is chosen."""
    fine, coarse, ahead = _fit_two_scales(points, most, seed)
    if ahead <= _LEAST_AHEAD:
        return fine
    first = _clear_partition(firsts, most, seed) if coarse.groups > 1 else None
    if first is None:
        return coarse if ahead > _AHEAD * (1 - coarse.modes / fine.modes) else fine
    finer = first.modes > coarse.modes > 1 and homogeneity_score(coarse.labels, first.labels) > _WITHIN
    return first if finer else coarse


def _clear_partition(firsts: Floats, most: int, seed: int) -> _Description | None:
    """Return the description of first actions in groups that parts agree on, if there is one."""
    fine, coarse, ahead = _fit_two_scales(firsts, most, seed)
    chosen = coarse if ahead > _LEAST_AHEAD else fine
    clear = chosen.modes > 1 and _agreement(firsts, chosen, seed) > 1 - _LEAST_AHEAD
    return chosen if clear else None


def _fit_two_scales(points: Floats, most: int, seed: int) -> tuple[_Description, _Description, float]:
    """Return a finer and a coarser description of points, and how much more parts agree on the coarser one's groups.

    That all are one group, any parts agree on: it counts as ahead of what parts hardly agree on, and of nothing else.
    """
    fine, coarse = (_describe(points, most, seed, floor) for floor in (0.0, _BLUR))
    if fine.groups == coarse.groups:
        return fine, coarse, 0.0
    on_fine = _agreement(points, fine, seed)
    if coarse.groups == 1:
        return fine, coarse, 1.0 if on_fine < _NO_AGREEMENT else 0.0
    return fine, coarse, _agreement(points, coarse, seed) - on_fine


def _describe(points: Floats, most: int, seed: int, floor: float) -> _Description:
    """Return the shortest description of points by at most so many groups."""
    found: dict[int, _Description] = {}
    lengths: dict[int, float] = {}

    def attempt(numbers: Iterable[int]) -> int:
        for number in numbers:
            if 1 <= number <= most and number not in lengths:
                metric, _, labels, volume = cluster(points, number, seed, _RESTARTS, floor)
                lengths[number] = _description_length(volume, labels, points.shape[1])
                often = (np.bincount(labels) >= max(2, _RARE * len(points) / number))[labels]
                modes = max(1, _separated_groups((points @ metric)[often], labels[often]))
                found[number] = _Description(modes, labels, lengths, floor)
        return min(lengths, key=lambda number: lengths[number])

    few = range(1, _ALL_UP_TO + 1)
    many = (n for n in range(_ALL_UP_TO + 1, most + 1) if int(6 * np.log(n)) > int(6 * np.log(n - 1)))
    best, near = attempt([*few, *many]), 0
    while near != best:
        near, best = best, attempt(range(best - _NEAR, best + _NEAR + 1))
    return replace(found[best], lengths=dict(sorted(lengths.items())))


def _agreement(points: Floats, description: _Description, seed: int) -> float:
    """Return how alike the groups are that two parts of the points give, as an adjusted Rand index."""
    rng = np.random.default_rng(seed)
    indices = []
    for _ in range(_PAIRS):
        pair = []
        for _ in range(2):
            chosen = np.sort(rng.permutation(len(points))[: max(description.groups, round(_SHARE * len(points)))])
            metric, centres, _, _ = cluster(points[chosen], description.groups, seed, _RESTARTS, description.floor)
            pair.append(cdist(points @ metric, centres).argmin(axis=1))
        indices.append(adjusted_rand_score(*pair))
    return float(np.mean(indices))


def _description_length(volume: float, labels: NDArray[np.int64], dimensions: int) -> float:
    """Return the nats a trajectory of describing points by groups, up to what does not depend on the groups."""
    shares = np.bincount(labels) / len(labels)
    used = shares[shares > 0]
    centres = len(used) * dimensions / 2 * np.log(len(labels)) / len(labels)
    return float(volume - (used * np.log(used)).sum() + centres)


def _separated_groups(places: Floats, labels: NDArray[np.int64]) -> int:
    """Return how many groups there are when neighbours without room between them count as one.

    Args:
        places: (n, dimensions), where the spread within groups is about 1.
        labels: (n,), the group of each.
    """
    groups = [places[labels == label] for label in np.unique(labels)]
    while len(groups) > 1:
        rooms = np.full((len(groups), len(groups)), np.inf)
        centres = np.stack([group.mean(axis=0) for group in groups])
        for one, row in enumerate(cdist(centres, centres)):
            for other in np.argsort(row)[1:4]:
                rooms[one, other] = _separation(groups[one], groups[other])
        one, other = sorted(int(i) for i in np.unravel_index(rooms.argmin(), rooms.shape))
        if rooms.min() >= _ROOM:
            break
        groups[one] = np.concatenate([groups[one], groups.pop(other)])
    return len(groups)


def _separation(one: Floats, other: Floats) -> float:
    """Return the distance of two groups' centres over the smaller of their spreads along it.

    A spread is estimated as if the group had two more members, one spread of all groups (1) from the centre.
    """
    between = one.mean(axis=0) - other.mean(axis=0)
    distance = float(np.linalg.norm(between))
    if distance == 0:
        return 0.0
    variances = [
        (len(group) * float((group @ (between / distance)).var()) + 2) / (len(group) + 2) for group in (one, other)
    ]
    return distance / float(np.sqrt(min(variances)))
