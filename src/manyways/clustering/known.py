"""What labels and pairs say of groups that were found without them: which are one, and what tells the labels apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import gammaln
from scipy.stats import f as fisher

from manyways.clustering.constraints import Constraints, least_modes, mutually_different
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.pairs import Pairs

_TELLING = 3  # properties, at most, in which labels are told apart

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


def joined(groups: Integers, labels: Integers | None, pairs: Pairs | None) -> Integers:
    """Return groups of trajectories (trajectories,), of which those are one that labels and pairs say are one.

    Two groups become one if more trajectories say so than say the contrary. A trajectory says so if most of its label,
    or of those that are linked to it, are in the other group. Two labels, and a pair of different ways, say the
    contrary. The numbers are from 0, in the order of the old ones.
    """
    groups = groups.copy()
    known = np.full(len(groups), -1) if labels is None else labels
    linked = np.arange(len(groups)) if pairs is None else pairs.linked
    sizes = np.bincount(linked, minlength=len(groups))
    unlabelled = np.flatnonzero((known < 0) & (sizes[linked] > 1))
    sets = [np.flatnonzero(known == label) for label in np.unique(known[known >= 0])]
    labelled = len(sets)
    sets += [unlabelled[linked[unlabelled] == first] for first in np.unique(linked[unlabelled])]
    different = np.zeros((0, 2), np.int64) if pairs is None else pairs.different
    while len(sets) or len(different):
        numbers, groups = np.unique(groups, return_inverse=True)
        together, apart = np.zeros((2, len(numbers), len(numbers)))
        counts = np.array([np.bincount(groups[one], minlength=len(numbers)) for one in sets])
        for count in counts:
            together[count.argmax()] += count
        for one in range(labelled):
            for other in range(one):
                homes = counts[one].argmax(), counts[other].argmax()
                apart[homes] += min(counts[one].max(), counts[other].max())
        np.add.at(apart, (groups[different[:, 0]], groups[different[:, 1]]), 1)
        net = together + together.T - apart - apart.T
        np.fill_diagonal(net, 0)
        one, other = divmod(int(net.argmax()), len(net))
        if net[one, other] <= 0:
            break
        groups[groups == max(one, other)] = min(one, other)
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)


def told_apart(groups: Integers, labels: Integers | None, pairs: Pairs | None) -> int:
    """Return how many modes there are at least, by groups of trajectories (trajectories,) and by what is known.

    Groups that are one by `joined` count once. A group of which several trajectories are mutually different counts as
    often as they are; a label counts in the group that has most of it, and linked trajectories in that of the first.
    """
    found = joined(groups, labels, pairs)
    total = 0
    for group in range(int(found.max()) + 1):
        home = np.full(len(found), -1)
        for label in np.unique(labels[labels >= 0]) if labels is not None else ():
            if np.bincount(found[labels == label]).argmax() == group:
                home[(labels == label) & (found == group)] = label
        linked = np.arange(len(found)) if pairs is None else pairs.linked
        apart = np.zeros((0, 2), np.int64) if pairs is None else pairs.different
        apart = apart[(found[apart] == group).all(axis=1)]
        total += max(1, len(mutually_different(home, linked, apart)))
    return max(total, least_modes(labels, pairs))


def chance_of_agreement(labels: Integers, groups: int) -> float:
    """Return the chance that groups which know nothing of labels (trajectories,) agree with all of them.

    That is the share of the ways to deal the labels out that split the labelled trajectories alike; 1 where a group has
    no label, so that nothing confirms it.
    """
    counts = np.bincount(labels[labels >= 0], minlength=groups)
    if not counts.all():
        return 1.0
    alike = np.bincount(counts)  # labels that are equally frequent can change places
    return float(np.exp(gammaln(counts + 1).sum() + gammaln(alike + 1).sum() - gammaln(counts.sum() + 1)))


def numbered(groups: NDArray[np.integer[Any]], constraints: Constraints) -> Integers:
    """Return groups (trajectories,) with the numbers by which they agree best with the labels; -1 stays."""
    settled, size = constraints.settled, constraints.excluded.shape[1]
    agree = np.zeros((size, size))
    both = (groups >= 0) & (settled >= 0)
    np.add.at(agree, (groups[both], settled[both]), 1)
    return np.where(groups >= 0, linear_sum_assignment(agree, maximize=True)[1][groups], -1)


def kept(groups: NDArray[np.integer[Any]], constraints: Constraints) -> Integers:
    """Return groups (trajectories,), -1 where none is known, with the labels' numbers and as the constraints allow."""
    settled, size = constraints.settled, constraints.excluded.shape[1]
    named = numbered(groups, constraints)
    costs = np.where(groups[:, None] >= 0, named[:, None] != np.arange(size), 0.0)
    known = groups >= 0
    known[constraints.tied] = True
    return np.where(known | (settled >= 0), constraints.codes(costs), -1)


def known_sets(demonstrations: Demonstrations) -> Integers:
    """Return numbers (trajectories,) that are equal for trajectories of one label, or of one linked set; else -1."""
    labels, pairs = demonstrations.labels, demonstrations.pairs
    known = np.full(len(demonstrations), -1) if labels is None else labels
    if pairs is None:
        return known
    sizes = np.bincount(pairs.linked, minlength=len(known))
    linked = np.where(sizes[pairs.linked] > 1, known.max() + 1 + pairs.linked, -1)
    return np.where(known >= 0, known, linked)


def telling(values: Floats, labels: Integers, level: float) -> Integers:
    """Return the columns of values (trajectories, columns) that tell labels apart by more than chance, at most three.

    That is the analysis of variance (Fisher 1925) of the labelled trajectories; its chance is multiplied by the number
    of columns.

    Args:
        values: of each trajectory.
        labels: (trajectories,), -1 for none.
        level: of significance.
    """
    rows = np.flatnonzero(labels >= 0)
    _, own = np.unique(labels[rows], return_inverse=True)
    count = own.max() + 1 if len(rows) else 0
    if count < 2 or len(rows) < count + 2:
        return np.zeros(0, np.int64)
    some = values[rows].astype(np.float64)
    means = np.stack([some[own == label].mean(axis=0) for label in range(count)])
    within = np.square(some - means[own]).sum(axis=0) / (len(rows) - count)
    between = np.square(means[own] - some.mean(axis=0)).sum(axis=0) / (count - 1)
    varies = within > 1e-12 * (values.var(axis=0) + 1e-300)
    ratio = np.where(varies, between / np.where(varies, within, 1), 0)
    chances = fisher.sf(ratio, count - 1, len(rows) - count) * max(1, varies.sum())
    order = np.argsort(chances)[:_TELLING]
    return order[chances[order] < level].astype(np.int64)
