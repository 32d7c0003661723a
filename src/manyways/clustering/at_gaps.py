"""As many groups as are wanted, at the gaps that `tree` finds; and those at sure gaps alone, where they are fewer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.clustering.embedding import Embedding
from manyways.clustering.groups import Groups
from manyways.clustering.known import joined, known_sets
from manyways.clustering.tree import Columns, Tree, columns_of, split_at_gaps
from manyways.demonstrations import Demonstrations

_TRAJECTORIES = 2000  # at most, among which gaps are sought, and as many with a label or in a pair
_MORE = 10  # groups than wanted, and as many again, that are made at gaps

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class AtGaps:
    """Groups at gaps.

    Attributes:
        embedding: by what the gaps are in.
        known: (trajectories,), the group of each, or -1.
        sure: whether all gaps are.
    """

    embedding: Embedding
    known: Labels
    sure: bool


@dataclass(frozen=True, eq=False)
class Fewer:
    """Groups at sure gaps, fewer than wanted.

    Attributes:
        labels: (trajectories,), the group of each.
        properties, embeddings: by which they are told apart.
    """

    labels: Labels
    properties: list[int]
    embeddings: list[int]


class Gaps:
    """Gaps between trajectories.

    Args:
        kinds: embeddings, the first by all features.
        features: (trajectories, features), of the trajectories.
        demonstrations: the trajectories.
        seed: of the choice of trajectories.

    Attributes:
        columns: in which gaps are sought.
        rows: (n,), the trajectories among which they are.
    """

    def __init__(self, kinds: list[Embedding], features: Floats, demonstrations: Demonstrations, seed: int) -> None:
        rows = np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES]
        self.rows = np.union1d(rows, np.flatnonzero(known_sets(demonstrations) >= 0)[:_TRAJECTORIES])
        self.columns: Columns = columns_of(demonstrations.select(self.rows), kinds, features[self.rows], seed)
        self._kinds, self._demonstrations, self._seed = kinds, demonstrations, seed

    def groups(self, groups: int) -> tuple[AtGaps | None, Fewer | None]:
        """Return groups at gaps, and those at sure gaps alone, if they are fewer.

        Groups that labels or pairs say are one are one, if enough are left. Where sure gaps tell another number apart,
        the surest ones are taken. None if there are not enough of them.
        """
        labels, pairs = self._demonstrations.labels, self._demonstrations.pairs
        known = labels is not None or pairs is not None
        labels = None if labels is None else labels[self.rows]
        pairs = None if pairs is None else pairs.select(self.rows)

        def groups_of(tree: Tree, splits: int) -> Labels:
            return joined(tree.labels(splits + 1), labels, pairs)

        tree = split_at_gaps(self.columns, 2 * groups + _MORE)  # mishaps are split off, too, and are no groups
        splits = len(tree.splits)
        surely = groups_of(tree, splits)
        number = int(surely.max()) + 1
        sure = groups in (number, splits + 1)
        fewer = None
        if number < groups == splits + 1:  # so many modes were asked for: a pair across a gap is a stray
            labels = pairs = None
        elif not sure:
            if 1 < number < groups:
                fewer = self._fewer(surely, *self.columns.used(tree.splits))
            if number < groups:
                tree = split_at_gaps(self.columns, 2 * groups if known else groups, sure=False)
            enough = range(groups - 1, len(tree.splits) + 1)
            splits = next((number for number in enough if groups_of(tree, number).max() == groups - 1), 0)
            if not splits:
                return None, fewer
        embedding = self.embedding(*self.columns.used(tree.splits[:splits]))
        return AtGaps(embedding, self._of_all(groups_of(tree, splits)), sure), fewer

    def embedding(self, properties: Sequence[int], embeddings: Sequence[int] = ()) -> Embedding:
        """Return the embedding by these properties and these embeddings."""
        spread = self.columns.values[:, properties].std(axis=0)
        by_property = np.zeros((len(self.columns.kinds), len(properties)))
        by_property[properties, np.arange(len(properties))] = 1 / np.where(spread > 0, spread, 1)
        return self._kinds[0].by_gaps([self._kinds[place] for place in embeddings], by_property)

    def _of_all(self, labels: Labels) -> Labels:
        """Return the groups of all trajectories (trajectories,) from those of some; -1 for the others."""
        found = np.full(len(self._demonstrations), -1)
        found[self.rows] = labels
        return found

    def _fewer(self, labels: Labels, properties: list[int], embeddings: list[int]) -> Fewer:
        """Return the groups at sure gaps of all trajectories: the others are of the nearest group."""
        found = self._of_all(labels)
        if (found < 0).any():
            embedding = self.embedding(properties, embeddings)
            points = embedding(self._demonstrations)
            groups = Groups.of_points(embedding, points, int(labels.max()) + 1, self._seed, found)
            found = np.where(found < 0, groups.relative_nll_of_points(points).argmin(axis=1), found)
        return Fewer(found, properties, embeddings)
