"""A tree of splits: trajectories are split at gaps, the surest first, until no gap is left.

A gap is sought in every property (`clustering.properties`) and, among the trajectories at hand, in the first principal
components of each embedding (`clustering.embedding`). The chance of a gap as sure as the surest is at most the sum over
all columns where it was sought (Bonferroni). Properties in which a gap was found above in the tree are then also tested
as a family of their own: where ends have told some modes apart, other ends are likely to tell more.

Where none of these gaps is sure, one is sought in what policies say (`clustering.recognition`).
"""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.clustering.embedding import Embedding
from manyways.clustering.gaps import LEAST, surest_gaps, surest_gaps_together
from manyways.clustering.properties import normalisation, on_lines, property_names, tabulated, without_directions
from manyways.clustering.recognition import Recognition
from manyways.demonstrations import Demonstrations

LEVEL = 0.05  # of significance: the chance of a gap where there is none
AGREEMENT = 0.9  # adjusted Rand index of two groupings that are nearly the same
_SAME = 0.95  # of the trajectories, on the same sides of two gaps that are nearly the same
_FEW = 60  # trajectories, at most, among which several gaps are also judged together
_COMPONENTS = 3  # of each embedding
_MISHAPS = 1 / 30  # of an equal share; smaller groups are no modes, such as repeated stumbles

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Columns:
    """Where gaps are sought.

    Args:
        values: (trajectories, properties), on lines.
        kinds: of each property.
        points: (trajectories, dimensions), of each embedding.
        recognition: of splits by policies.
    """

    values: Floats
    kinds: list[str]
    points: list[Floats]
    recognition: Recognition

    def select(self, rows: Integers) -> "Columns":
        """Return these trajectories alone."""
        points = [points[rows] for points in self.points]
        return Columns(self.values[rows], self.kinds, points, self.recognition.select(rows))

    def used(self, splits: list["Split"]) -> tuple[list[int], list[int]]:
        """Return which properties and which embeddings some splits use; of a direction, all its columns."""
        properties = {split.column for split in splits if split.column < len(self.kinds)}
        if any(self.kinds[column] == "gesture" for column in properties):
            properties |= {column for column, kind in enumerate(self.kinds) if kind == "gesture"}
        beyond = (split.column - len(self.kinds) for split in splits if split.column >= len(self.kinds))
        return sorted(properties), sorted({column // _COMPONENTS for column in beyond})


def columns_of(demonstrations: Demonstrations, embeddings: list[Embedding], features: Floats, seed: int) -> Columns:
    """Return where gaps between demonstrations are sought.

    Args:
        demonstrations: of any lengths.
        embeddings: of `Embedding.fit_kinds`.
        features: (trajectories, features), theirs of these demonstrations.
        seed: of everything random.
    """
    kinds = [kind for kind, _ in property_names(demonstrations)]
    values = tabulated(demonstrations, *normalisation(demonstrations))
    values = on_lines(without_directions(values, kinds, demonstrations), kinds)
    points = [((features - one.centre) @ one.components).astype(np.float32) for one in embeddings]
    return Columns(values, kinds, points, Recognition.of(demonstrations, seed))


@dataclass(frozen=True, eq=False)
class Split:
    """A split of some trajectories in two.

    Args:
        column: the property, or, beyond those, the embedding; if policies say it, that of the split they began with.
        chance: that there is a gap as sure if they were one group.
        sides: (n,), (m,): the trajectories on either side.
        named: a property with a sure gap between nearly the same sides; None if there is none.
        recognised: whether the gap is in what policies say.
    """

    column: int
    chance: float
    sides: tuple[Integers, Integers]
    named: int | None
    recognised: bool = False


@dataclass(frozen=True, eq=False)
class Tree:
    """Splits, in their order.

    Args:
        trajectories: how many.
        splits: sure ones.
        next_chance: the chance of the surest gap that was not sure enough; 1 if there is none.
        columns: (columns,), whether it was among those with the surest gaps anywhere.
        begun: (columns,), whether policies began with it and told more groups apart.
    """

    trajectories: int
    splits: list[Split]
    next_chance: float
    columns: NDArray[np.bool_]
    begun: NDArray[np.bool_]

    def labels(self, groups: int) -> Integers:
        """Return the group of each trajectory (trajectories,) after so many groups were made, or all."""
        labels = np.zeros(self.trajectories, np.int64)
        for number, split in enumerate(self.splits[: groups - 1], 1):
            labels[split.sides[1]] = number
        return labels


def split_at_gaps(columns: Columns, most: int, whole: Tree | None = None, sure: bool = True) -> Tree:
    """Split trajectories at their surest gaps, into `most` groups at most.

    Args:
        columns: where gaps are sought.
        most: groups.
        whole: the tree of a set that these are a part of; gaps are sought only in columns where that had some, and are
            counted as if they were sought in all.
        sure: split at sure gaps alone; else also at the surest of the others.
    """
    count = len(columns.values)
    names = [*columns.kinds, *(f"embedding {i}" for i in range(len(columns.points)) for _ in range(_COMPONENTS))]
    kinds = np.array(names)
    promising, begun = np.zeros((2, len(names)), bool)
    every = np.ones(len(names), bool)
    sought = np.flatnonzero(every if whole is None else whole.columns)
    policies = np.flatnonzero(every if whole is None else whole.begun)
    splits: list[Split] = []
    waiting: list[tuple[float, int, Split, frozenset[str]]] = []
    number = 0

    def look(rows: Integers, families: frozenset[str]) -> None:
        """Put the surest gap among trajectories into the queue."""
        nonlocal number
        if len(rows) < 2 * LEAST:
            return
        table = _table(columns, rows)
        varies = np.ptp(table, axis=0) > 0
        found, places = np.zeros(len(names)), np.full(len(names), np.nan)
        found[sought], places[sought] = _either(table[:, sought])
        sizes = np.sum(table <= places, axis=0)
        found[np.minimum(sizes, len(rows) - sizes) < LEAST] = 0
        promising[:] |= found + np.log(len(rows)) < -np.log(len(names))
        chances = found + np.log(max(1, varies.sum()))
        for family in families:
            own = kinds == family
            chances[own] = np.minimum(
                chances[own], found[own] + np.log(2 * len(families) * max(1, (own & varies).sum()))
            )
        chances[np.isnan(places)] = 0
        best = int(chances.argmin())
        chance, beyond, more = float(chances[best]), table[:, best] > places[best], frozenset({str(kinds[best])})
        recognised = False
        if chance >= np.log(LEVEL):
            by_policies, column, sides = _by_policies(columns.recognition.select(rows), table, places, policies)
            recognised = by_policies < chance
            if recognised:
                chance, best, beyond, more = by_policies, column, sides, frozenset()
                begun[column] |= chance < np.log(LEVEL)
        if chance >= 0:
            return
        alike = (table > places)[:, : len(columns.kinds)] == beyond[:, None]
        same = np.maximum(alike.mean(axis=0), 1 - alike.mean(axis=0)) >= _SAME
        same &= chances[: len(same)] < np.log(LEVEL)
        named = int(np.where(same, chances[: len(same)], np.inf).argmin()) if same.any() else None
        split = Split(best, float(np.exp(chance)), (rows[~beyond], rows[beyond]), named, recognised)
        number += 1
        heapq.heappush(waiting, (chance, number, split, families | more))

    look(np.arange(count), frozenset())
    while waiting and waiting[0][0] < np.log(LEVEL if sure else 1) and len(splits) < most - 1:
        _, _, split, families = heapq.heappop(waiting)
        splits.append(split)
        for side in split.sides:
            look(side, families)
    least = _MISHAPS * count / (len(splits) + 1)
    modes = [split for split in splits if min(map(len, split.sides)) >= least]
    return Tree(count, modes, waiting[0][2].chance if waiting else 1.0, promising, begun)


def _either(columns: Floats) -> tuple[Floats, Floats]:
    """Return the logarithm of the chance of the surest gap in each column, alone or, of few numbers, with others."""
    found, places = surest_gaps(columns)
    if len(columns) > _FEW:
        return found, places
    together, elsewhere = surest_gaps_together(columns)
    chances = np.minimum(0.0, np.minimum(found, together) + np.log(2))
    return chances, np.where(together < found, elsewhere, places)


def _by_policies(
    recognition: Recognition, table: Floats, places: Floats, sought: Integers
) -> tuple[float, int, NDArray[np.bool_]]:
    """Return the surest gap in what policies say: the logarithm of its chance, the column they began with, the sides.

    The policies begin with a split at a column's gap, or at its median if it has none.
    """
    sides = table > np.where(np.isnan(places), np.median(table, axis=0), places)
    sizes = sides.sum(axis=0)
    tried = sought[np.minimum(sizes, len(sides) - sizes)[sought] >= LEAST]
    if not len(tried):
        return 0.0, 0, sides[:, 0]
    splits, ratios = recognition.best(sides[:, tried])
    found, where = _either(ratios)
    beyond = ratios > where
    sizes = beyond.sum(axis=0)
    found[np.minimum(sizes, len(sides) - sizes) < LEAST] = 0
    best = int(found.argmin())
    return float(found[best] + np.log(len(found))), int(tried[splits[best]]), beyond[:, best]


def _table(columns: Columns, rows: Integers) -> Floats:
    """Return the properties of some trajectories, and the principal components of each embedding among them."""
    parts = [columns.values[rows]]
    for points in columns.points:
        centred = points[rows] - points[rows].mean(axis=0)
        values, directions = np.linalg.eigh(centred.T @ centred)
        components = centred @ directions[:, ::-1][:, :_COMPONENTS]
        components[:, values[::-1][:_COMPONENTS] <= 1e-12 * max(values[-1], 1e-300)] = 0
        parts.append(np.pad(components, ((0, 0), (0, _COMPONENTS - components.shape[1]))))
    return np.concatenate(parts, axis=1)
