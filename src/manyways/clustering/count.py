"""The number of modes: the number of groups of trajectories with the shortest description (Rissanen 1978).

That counts modes by their places. Where linear policies explain held-out actions better, their number counts instead
(`clustering.count_policies`), as for modes that turn at different rates anywhere.

1. Embed the trajectories (`clustering.embedding`). Leave out isolated ones, mishaps (`clustering.mixture.isolated`).
2. Describe the points by K Gaussian groups with one covariance, for many K. The description length in nats is the
   negative log-likelihood of the points within their groups, plus the entropy of the groups, plus half the logarithm of
   the number of trajectories for each coordinate of a centre (BIC, Schwarz 1978). With few groups the spread within
   them is large; with many the centres cost more than they save.
3. Merge neighbouring groups that are not separate. Trajectories of one mode may lie on a bent line, which several
   Gaussians describe better than one. Two groups are separate if their centres are at least 4.5 times
   the smaller of their spreads apart. Halves of one Gaussian have 2.6, halves of a uniform line 3.5.
4. Choose between two scales, since the shortest description may follow chance. The coarser one assumes a blur of
   a hundredth of the variance. It is chosen if parts of the trajectories agree on its groups more than on the finer
   ones (Ben-Hur et al. 2002); the more groups it merges, the larger the lead must be. Any parts agree that all are one
   group, so one group is chosen only if they hardly agree on anything finer.
5. Use the first actions. A whole trajectory depends on mode and chance: one policy may have several gaits. The first
   action, given the first state, depends on the mode alone. So first actions, less a linear fit to the first state, are
   described in the same way. If they form groups on which parts agree, a small lead is enough for the coarser
   description, and one of its groups counts as several modes if its first actions form several groups.
6. Do this for five parts of the trajectories. The answer is the most frequent number, its share is the sureness. More
   trajectories reveal finer modes, such as the gaits of one policy, so the parts are as small as possible: ten
   trajectories for each mode if all five parts agree, twenty if four do, and 240 if the answer is one mode, since small
   parts miss groups. Otherwise the parts grow, up to the whole, whose answer counts.
7. Leave out groups with less than a quarter of an equal share, such as repeated stumbles, and count again. A single
   trajectory is never a mode.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from manyways.clustering.count_policies import count_policies
from manyways.clustering.embedding import Embedding
from manyways.clustering.mixture import Floats, cluster, isolated
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import inverse_std
from manyways.errors import InputError

_MOST = 100
_ALL_UP_TO = 12  # every number of groups up to here, then steps of a sixth, then all near the best
_NEAR = 3
_TRAJECTORIES = 2000  # at most; more do not make the answer surer
_RESTARTS = 3
_LEAST_SEPARATION = 4.5
_BLUR = 0.01
_LEAD = 0.3  # of the coarser description in the adjusted Rand index of two parts, for each share of modes it merges
_LEAST_LEAD = 0.04  # of the same, if first actions form groups
_NO_AGREEMENT = 0.6  # adjusted Rand index on the finer groups, below which all are one group
_PAIRS = 4  # of parts, for the agreement
_WITHIN = 0.95  # least homogeneity of the trajectories' groups within groups of first actions
_PENALTIES = np.logspace(-3, 3, 7)  # of the ridge regression on the first state, chosen by cross-validation
_NO_DIFFERENCE = 1e-4
_FIRST_COMPONENTS = 12
_RARE = 0.1  # of an equal share, within a part
_RARE_IN_ALL = 0.25
_PER_MODE = 20  # trajectories, if nearly all parts agree
_PER_MODE_IF_ALL_AGREE = 10
_FOR_ONE_MODE = 240  # trajectories
_FIRST_PART = 60
_PARTS = 5
_SHARE = 0.8  # of the trajectories, at most, in each part but the first


@dataclass(frozen=True)
class ModeCount:
    """The number of modes, and the evidence.

    Attributes:
        best: the answer of most parts of the data, or of the whole.
        runner_up: the next answer; the same as `best` if there is no other.
        sureness: the share of the parts with the answer `best`.
        votes: the share of the parts with each answer.
        description_length: for each number of groups, the description length in nats a trajectory, before groups are
            merged, in the first part with the answer `best`; that of the first actions if these decided.
        gain: where linear policies decided, for each number of them how much likelier they make held-out actions than
            one policy, in nats a trajectory; else empty.
    """

    best: int
    runner_up: int
    sureness: float
    votes: dict[int, float]
    description_length: dict[int, float]
    gain: dict[int, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the evidence for a file."""
        return {
            "best": self.best,
            "runner_up": self.runner_up,
            "sureness": self.sureness,
            "votes": {str(number): share for number, share in self.votes.items()},
            "description_length": {str(number): length for number, length in self.description_length.items()},
            "gain": {str(number): value for number, value in self.gain.items()},
        }


def count_modes(demonstrations: Demonstrations, *, most: int | None = None, seed: int = 0) -> ModeCount:
    """Return the number of modes in the demonstrations, and how sure it is.

    Args:
        demonstrations: four trajectories or more; a mode with a single trajectory is not counted.
        most: the greatest number to try; None for half the trajectories, and at most 100.
        seed: of everything random.

    Raises:
        InputError: there are fewer than four trajectories, or `most` is below 1.
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
    points, firsts = Embedding.fit(demonstrations, seed)(demonstrations), _first_actions(demonstrations)
    usual = np.flatnonzero(~isolated(points))
    rows = usual[np.sort(rng.permutation(len(usual))[:_TRAJECTORIES])]
    points, firsts = points[rows], firsts[rows]
    while True:
        result = _count_parts(points, firsts, most or _MOST, rng, seed)
        rare = _rare(points, result.best, seed)
        if not rare.any():
            break
        points, firsts = points[~rare], firsts[~rare]
    some = demonstrations.select(np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES]))
    by_policies = count_policies(some, result.best, most or _MOST, seed)
    return result if by_policies is None else _of_policies(result, *by_policies)


def _of_policies(by_places: ModeCount, votes: dict[int, float], gain: dict[int, float]) -> ModeCount:
    """Return the count by linear policies; where all samples agree, the count by places is the next answer."""
    best, *others = sorted(votes, key=lambda number: -votes[number])
    runner_up = (others or [by_places.best])[0]
    return ModeCount(best, runner_up, votes[best], dict(sorted(votes.items())), by_places.description_length, gain)


def _first_actions(demonstrations: Demonstrations) -> Floats:
    """Return each trajectory's first action less a linear fit to its first state, (trajectories, components).

    The unit is the standard deviation of all actions; all are 0 if the first actions do not differ.
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
    """Return the number of modes by parts of the points, as small as possible."""
    size = min(_FIRST_PART, len(points))
    while True:
        partitions = []
        for part in range(_PARTS):
            share = 1 if part == 0 else _SHARE
            rows = np.sort(rng.permutation(len(points))[: max(4, min(size, round(share * len(points))))])
            partitions.append(_select_partition(points[rows], firsts[rows], min(most, len(rows) // 2), seed + part))
        answers = Counter(partition.modes for partition in partitions)
        best = partitions[0].modes if size == len(points) else answers.most_common(1)[0][0]
        per_mode = _PER_MODE_IF_ALL_AGREE if answers[best] == _PARTS else _PER_MODE
        needed = best * per_mode if best > 1 else _FOR_ONE_MODE
        if size == len(points) or (needed <= size and answers[best] >= _PARTS - 1):
            break
        size = min(max(needed, round(1.5 * size)), len(points))
    lengths = next(partition.lengths for partition in partitions if partition.modes == best)
    others = [number for number, _ in answers.most_common() if number != best]
    if not others:
        others = sorted((number for number in lengths if number != best), key=lambda number: lengths[number])
    votes = {number: count / _PARTS for number, count in sorted(answers.items())}
    return ModeCount(best, (others or [best])[0], votes[best], votes, lengths)


def _rare(points: Floats, groups: int, seed: int) -> NDArray[np.bool_]:
    """Return which points (n,) are in rare groups; none if less than four points would remain."""
    labels = cluster(points, groups, seed)[2]
    sizes = np.bincount(labels, minlength=groups)
    rare: NDArray[np.bool_] = (sizes < _RARE_IN_ALL * len(points) / groups)[labels]
    return rare if len(points) - rare.sum() >= 4 else np.zeros_like(rare)


@dataclass(frozen=True)
class _Partition:
    """A description of points by groups.

    Args:
        modes: the number of groups after those that are not separate were merged.
        labels: (n,), the group of each point before merging.
        lengths: the description length for each number of groups.
        floor: the blur, see `cluster`.
    """

    modes: int
    labels: NDArray[np.int64]
    lengths: dict[int, float]
    floor: float

    @property
    def groups(self) -> int:
        """The number of groups with the shortest description."""
        return min(self.lengths, key=lambda number: self.lengths[number])


def _select_partition(points: Floats, firsts: Floats, most: int, seed: int) -> _Partition:
    """Return the best description: finer, coarser, or that of the first actions."""
    fine, coarse, lead = _fit_two_scales(points, most, seed)
    if lead <= _LEAST_LEAD:
        return fine
    first = _clear_partition(firsts, most, seed) if coarse.groups > 1 else None
    if first is None:
        return coarse if lead > _LEAD * (1 - coarse.modes / fine.modes) else fine
    finer = first.modes > coarse.modes > 1 and homogeneity_score(coarse.labels, first.labels) > _WITHIN
    return first if finer else coarse


def _clear_partition(firsts: Floats, most: int, seed: int) -> _Partition | None:
    """Return a description of first actions on whose groups parts agree, or None."""
    fine, coarse, lead = _fit_two_scales(firsts, most, seed)
    best = coarse if lead > _LEAST_LEAD else fine
    clear = best.modes > 1 and _agreement(firsts, best, seed) > 1 - _LEAST_LEAD
    return best if clear else None


def _fit_two_scales(points: Floats, most: int, seed: int) -> tuple[_Partition, _Partition, float]:
    """Return a finer and a coarser description of points, and the coarser one's lead in agreement.

    Any parts agree that all are one group: it leads only if they hardly agree on the finer groups.
    """
    fine, coarse = (_fit_partition(points, most, seed, floor) for floor in (0.0, _BLUR))
    if fine.groups == coarse.groups:
        return fine, coarse, 0.0
    on_fine = _agreement(points, fine, seed)
    if coarse.groups == 1:
        return fine, coarse, 1.0 if on_fine < _NO_AGREEMENT else 0.0
    return fine, coarse, _agreement(points, coarse, seed) - on_fine


def _fit_partition(points: Floats, most: int, seed: int, floor: float) -> _Partition:
    """Return the shortest description of points by at most `most` groups."""
    partitions: dict[int, _Partition] = {}
    lengths: dict[int, float] = {}

    def attempt(numbers: Iterable[int]) -> int:
        for number in numbers:
            if 1 <= number <= most and number not in lengths:
                metric, _, labels, volume = cluster(points, number, seed, _RESTARTS, floor)
                lengths[number] = _description_length(volume, labels, points.shape[1])
                often = (np.bincount(labels) >= max(2, _RARE * len(points) / number))[labels]
                modes = max(1, _separated_groups((points @ metric)[often], labels[often]))
                partitions[number] = _Partition(modes, labels, lengths, floor)
        return min(lengths, key=lambda number: lengths[number])

    few = range(1, _ALL_UP_TO + 1)
    many = (n for n in range(_ALL_UP_TO + 1, most + 1) if int(6 * np.log(n)) > int(6 * np.log(n - 1)))
    best, near = attempt([*few, *many]), 0
    while near != best:
        near, best = best, attempt(range(best - _NEAR, best + _NEAR + 1))
    return replace(partitions[best], lengths=dict(sorted(lengths.items())))


def _agreement(points: Floats, partition: _Partition, seed: int) -> float:
    """Return the adjusted Rand index of the groups that two parts of the points give, a mean over pairs of parts."""
    rng = np.random.default_rng(seed)
    indices = []
    for _ in range(_PAIRS):
        pair = []
        for _ in range(2):
            rows = np.sort(rng.permutation(len(points))[: max(partition.groups, round(_SHARE * len(points)))])
            metric, centres, _, _ = cluster(points[rows], partition.groups, seed, _RESTARTS, partition.floor)
            pair.append(cdist(points @ metric, centres).argmin(axis=1))
        indices.append(adjusted_rand_score(*pair))
    return float(np.mean(indices))


def _description_length(volume: float, labels: NDArray[np.int64], dimensions: int) -> float:
    """Return the description length in nats a trajectory, up to a constant."""
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    centres = len(shares) * dimensions / 2 * np.log(len(labels)) / len(labels)
    return float(volume - (shares * np.log(shares)).sum() + centres)


def _separated_groups(places: Floats, labels: NDArray[np.int64]) -> int:
    """Return the number of groups after neighbours that are not separate were merged.

    Args:
        places: (n, dimensions), in units of the spread within groups.
        labels: (n,), the group of each.
    """
    groups = [places[labels == label] for label in np.unique(labels)]
    while len(groups) > 1:
        separations = np.full((len(groups), len(groups)), np.inf)
        centres = np.stack([group.mean(axis=0) for group in groups])
        for one, row in enumerate(cdist(centres, centres)):
            for other in np.argsort(row)[1:4]:
                separations[one, other] = _separation(groups[one], groups[other])
        one, other = sorted(int(i) for i in np.unravel_index(separations.argmin(), separations.shape))
        if separations.min() >= _LEAST_SEPARATION:
            break
        groups[one] = np.concatenate([groups[one], groups.pop(other)])
    return len(groups)


def _separation(one: Floats, other: Floats) -> float:
    """Return the distance of two groups' centres over the smaller of their spreads along it.

    The estimate of a spread includes two more members at distance 1, the mean spread of groups.
    """
    between = one.mean(axis=0) - other.mean(axis=0)
    distance = float(np.linalg.norm(between))
    if distance == 0:
        return 0.0
    variances = [
        (len(group) * float((group @ (between / distance)).var()) + 2) / (len(group) + 2) for group in (one, other)
    ]
    return distance / float(np.sqrt(min(variances)))
