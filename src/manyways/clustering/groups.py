"""Groups of similar trajectories. They give initial codes, and a term of the search's loss.

With a random network the first search is a lottery: a code without trajectories never learns. So the trajectories are
grouped once by their content (`embedding`, `mixture`). Each group then gives the relative negative log-likelihood of a
trajectory under its code.

A mishap lies far from everything. As a group of its own it would force two modes into one group. So isolated
trajectories are left out of the fit, and trajectories far from all groups have equal likelihoods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import wilcoxon
from sklearn.metrics import adjusted_rand_score, homogeneity_score
from torch import Tensor

from manyways.clustering.constraints import Constraints
from manyways.clustering.embedding import Embedding
from manyways.clustering.further import split_further
from manyways.clustering.known import chance_of_agreement, joined, kept, known_sets, numbered, telling
from manyways.clustering.linear_policies import linear_policies
from manyways.clustering.mixture import cluster, isolated
from manyways.clustering.regressions import Regressions
from manyways.clustering.tree import AGREEMENT, LEVEL, Columns, Tree, columns_of, split_at_gaps
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.sampling import some_trajectories
from manyways.latents import Categorical

_TRAJECTORIES_FOR_CENTRES = 10_000
_VALUES = 2**28
_TRAJECTORIES_FOR_GAPS = 2000
_MORE = 10  # groups than wanted, and as many again, that are made at gaps
_STEPS = 3  # of a trajectory, at most, that count as independent beside sure groups
_AGAINST = 2  # labels and pairs, more than against the best groups, that rule groups out
_APART = 0.9  # of the entropy of fewer groups at sure gaps, at least, that other groups tell
_SIGNIFICANCE = 0.05  # of the gain in held-out likelihood over the groups by all features

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
_Array = TypeVar("_Array", Tensor, NDArray[np.float64])


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of trajectories, Gaussian in the embedding with one covariance.

    Args:
        embedding: of trajectories.
        metric: (dimensions, dimensions), a linear map of the embedding; after it the groups' covariance is the
            identity.
        centres: (groups, dimensions), after the map.
        max_distance: from the nearest centre, after the map; farther trajectories have equal likelihoods.
        residual_variance: σ² of one dimension of the normalised action under the policy of these groups.
        sure: whether gaps tell them apart beyond doubt, or held-out actions do.
    """

    embedding: Embedding
    metric: Floats
    centres: Floats
    max_distance: float = np.inf
    residual_variance: float = 0.0
    sure: bool = False

    @classmethod
    def fit(cls, demonstrations: Demonstrations, groups: int, seed: int) -> "Groups":
        """Find `groups` groups among the demonstrations, at most as many as there are trajectories.

        Where gaps tell just so many groups apart (`clustering.tree`), these count; if groups in the embedding of all
        features nearly agree with them, those do. Where they tell fewer apart, groups that mix them are out.
        Else those of all features count, or those at the surest gaps if they explain held-out actions better by more
        than chance (`clustering.regressions`), or if those of all features are out. Else groups in embeddings by each
        kind of features, or by linear policies, if they explain better. Groups at sure gaps that are split further
        (`clustering.further`) count where all these are out. The groups are sure if some of their gaps are, or if
        knowing a trajectory's group explains its held-out actions by more nats than it takes to tell the group.

        Labels and pairs judge all these: groups that contradict two more than others do are out. If those that would
        count contradict a label, groups by the properties in which labels differ do (`clustering.known`). Then the
        trajectories are grouped once more in the same embedding, and keep labels and pairs (`clustering.constraints`).

        Of a large set, 10,000 trajectories and 2^28 values at most take part, and all with a label or in a pair.

        Raises:
            InputError: a label is no group, or there are too few groups for what is different.
        """
        demonstrations = some_trajectories(demonstrations, _TRAJECTORIES_FOR_CENTRES, _VALUES, seed)
        if groups == 1:
            return cls.in_embedding(Embedding.fit(demonstrations, seed), demonstrations, groups, seed)
        kinds = list(Embedding.fit_kinds(demonstrations, seed))
        features = kinds[0].features(demonstrations)
        asked = Constraints.of(demonstrations, Categorical(groups))
        candidates: list[_Candidate] = []

        def add(embedding: Embedding, points: Floats, known: Labels | None = None) -> None:
            """Find groups; labels and pairs take no part, so that they can judge them."""
            found = cls._of_points(embedding, points, groups, seed, known)
            labels = found._relative_nll(points).argmin(axis=1)
            against = 0 if asked is None else asked.violations(numbered(labels, asked))
            candidates.append(_Candidate(found, points, known, labels, against))

        def chosen_as(place: int, sure: bool) -> Groups:
            """Return a candidate's groups, as labels and pairs ask."""
            one = candidates[place]
            found = one.groups
            if asked is not None:
                known = None if one.known is None else kept(one.known, asked)
                found = cls._of_points(found.embedding, one.points, groups, seed, known, asked)
            return replace(found, sure=sure)

        add(kinds[0], kinds[0].of_features(features))
        columns, rows = cls._columns(kinds, features, demonstrations, seed)
        at_gaps, fewer = cls._gaps(kinds, columns, demonstrations, groups, rows, seed)
        sure, usual = at_gaps is not None and at_gaps.sure, 0
        if at_gaps is not None:
            add(at_gaps.embedding, at_gaps.embedding(demonstrations), at_gaps.known)
            sure = sure and candidates[1].against < _AGAINST
        if sure:
            usual = 1
            if adjusted_rand_score(candidates[0].labels, candidates[1].labels) >= AGREEMENT:
                return chosen_as(0, True)
            if not candidates[1].against:
                return chosen_as(1, True)
        by_labels = None
        if asked is not None:
            properties = telling(columns.values, known_sets(demonstrations)[rows], LEVEL).tolist()
            if len(properties):
                by_labels = len(candidates)
                embedding = cls._by_properties(kinds, columns, properties, [])
                add(embedding, embedding(demonstrations))
        for embedding in kinds[1:]:
            add(embedding, embedding.of_features(features))
        for before in (False, True):
            policies = linear_policies(demonstrations, groups, seed, before)
            if policies is not None:
                embedding = kinds[0].by_policies(policies)
                add(embedding, embedding(demonstrations))
        regressions, further = Regressions.of(demonstrations, seed), -1
        if fewer is not None:
            further = len(candidates)
            points = [embedding.of_features(features) for embedding in kinds]
            known, embeddings = split_further(fewer.labels, points, groups, regressions, seed)
            embedding = cls._by_properties(kinds, columns, fewer.properties, sorted(embeddings.union(fewer.embeddings)))
            add(embedding, embedding(demonstrations), known)
        ungrouped, *nll = regressions.held_out_nll([one.labels for one in candidates])

        def better(one: Floats, other: Floats) -> bool:
            gain = other - one
            return bool(gain.any() and wilcoxon(gain, alternative="greater").pvalue < _SIGNIFICANCE)

        least = min(one.against for one in candidates)
        left = [place for place, one in enumerate(candidates) if one.against < least + _AGAINST]
        if fewer is not None:
            shares = [homogeneity_score(fewer.labels, one.labels) for one in candidates]
            left = [place for place in left if shares[place] >= _APART] or left
        likeliest = sorted(left, key=lambda place: nll[place].sum())
        if at_gaps is not None and not sure and 1 in left and better(nll[1], nll[0]):
            usual = 1
        if usual not in left:
            usual = 1 if at_gaps is not None and 1 in left else likeliest[0]
        if by_labels in left and candidates[by_labels].against < candidates[usual].against:
            usual = by_labels
        best = next((place for place in likeliest if place != further), usual)
        chosen = best if usual == 0 and better(nll[best], nll[usual]) else usual
        told = better(nll[chosen] + np.log(groups), ungrouped)  # more than it takes to say which group it is
        told |= fewer is not None and (chosen == further or (chosen == 1 and at_gaps is not None))
        labelled = False
        if asked is not None and not candidates[chosen].against:
            labelled = len(candidates) * chance_of_agreement(asked.settled, groups) < LEVEL
        return chosen_as(chosen, told or labelled or (sure and chosen == 1))

    @staticmethod
    def _columns(
        kinds: list[Embedding], features: Floats, demonstrations: Demonstrations, seed: int
    ) -> tuple[Columns, Labels]:
        """Return where gaps are sought, and among which trajectories (n,): some, and those in a known set."""
        rows = np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_GAPS]
        rows = np.union1d(rows, np.flatnonzero(known_sets(demonstrations) >= 0)[:_TRAJECTORIES_FOR_GAPS])
        return columns_of(demonstrations.select(rows), kinds, features[rows], seed), rows

    @classmethod
    def _gaps(
        cls,
        kinds: list[Embedding],
        columns: Columns,
        demonstrations: Demonstrations,
        groups: int,
        rows: Labels,
        seed: int,
    ) -> "tuple[_AtGaps | None, _Fewer | None]":
        """Return groups at gaps, and those at sure gaps alone, if they are fewer.

        Groups that labels or pairs say are one are one, if enough are left. Where sure gaps tell another number apart,
        the surest ones are taken. None if there are not enough of them.
        """
        labels, pairs = demonstrations.labels, demonstrations.pairs
        known = labels is not None or pairs is not None
        labels, pairs = None if labels is None else labels[rows], None if pairs is None else pairs.select(rows)

        def groups_of(tree: Tree, splits: int) -> Labels:
            return joined(tree.labels(splits + 1), labels, pairs)

        tree = split_at_gaps(columns, 2 * groups + _MORE)  # mishaps are split off, too, and are no groups
        splits = len(tree.splits)
        surely = groups_of(tree, splits)
        number, used = int(surely.max()) + 1, columns.used(tree.splits)
        fewer = None
        sure = groups in (number, splits + 1)
        if number < groups == splits + 1:  # so many modes were asked for: a pair across a gap is a stray
            labels = pairs = None
        elif not sure:
            if number < groups:
                fewer = cls._fewer(cls._by_properties(kinds, columns, *used), demonstrations, surely, rows, seed, used)
                tree = split_at_gaps(columns, 2 * groups if known else groups, sure=False)
            enough = range(groups - 1, len(tree.splits) + 1)
            splits = next((number for number in enough if groups_of(tree, number).max() == groups - 1), 0)
            if not splits:
                return None, fewer
        found = np.full(len(demonstrations), -1)
        found[rows] = groups_of(tree, splits)
        embedding = cls._by_properties(kinds, columns, *columns.used(tree.splits[:splits]))
        return _AtGaps(embedding, found, sure), fewer

    @classmethod
    def _fewer(
        cls,
        embedding: Embedding,
        demonstrations: Demonstrations,
        surely: Labels,
        rows: Labels,
        seed: int,
        used: tuple[list[int], list[int]],
    ) -> "_Fewer | None":
        """Return the groups at sure gaps of all trajectories; None where there is no such gap."""
        number = int(surely.max()) + 1
        if number == 1:
            return None
        found = np.full(len(demonstrations), -1)
        found[rows] = surely
        if len(rows) < len(found):
            points = embedding(demonstrations)
            nearest = cls._of_points(embedding, points, number, seed, found)._relative_nll(points).argmin(axis=1)
            found = np.where(found < 0, nearest, found)
        return _Fewer(found, *used)

    @staticmethod
    def _by_properties(
        kinds: list[Embedding], columns: Columns, properties: Sequence[int], embeddings: Sequence[int]
    ) -> Embedding:
        """Return the embedding by these properties and these embeddings."""
        spread = columns.values[:, properties].std(axis=0)
        by_property = np.zeros((len(columns.kinds), len(properties)))
        by_property[properties, np.arange(len(properties))] = 1 / np.where(spread > 0, spread, 1)
        return kinds[0].by_gaps([kinds[place] for place in embeddings], by_property)

    @classmethod
    def in_embedding(cls, embedding: Embedding, demonstrations: Demonstrations, groups: int, seed: int) -> "Groups":
        """Find groups in this embedding; trajectories with a label are in the group of that number."""
        asked = Constraints.of(demonstrations, Categorical(groups))
        return cls._of_points(embedding, embedding(demonstrations), groups, seed, None, asked)

    @classmethod
    def _of_points(
        cls,
        embedding: Embedding,
        points: Floats,
        groups: int,
        seed: int,
        known: Labels | None,
        asked: Constraints | None = None,
    ) -> "Groups":
        """Find groups of embedded trajectories, with the group of each that is `known` (trajectories,), else -1."""
        rows = np.random.default_rng(seed).permutation(len(points))[:_TRAJECTORIES_FOR_CENTRES]
        if known is None and len(embedding.policies):  # each policy has its group, also where clusters would differ
            known = points.argmin(axis=1)
            known = known if asked is None else kept(known, asked)
        needed = np.zeros(len(points), bool) if known is None else known >= 0
        if asked is not None:
            needed[asked.asked] = True
        rows = np.union1d(rows, np.flatnonzero(needed))
        usual = ~isolated(points[rows]) | needed[rows]
        if usual.sum() < groups:
            usual[:] = True
        rows = rows[usual]
        points, known = points[rows], None if known is None else known[rows]
        constraints = None if asked is None else asked.select(rows)
        metric, centres, labels, _ = cluster(points, groups, seed, known=known, constraints=constraints)
        max_distance = np.linalg.norm(points @ metric - centres[labels], axis=1).max()
        return cls(embedding, metric, centres, float(max_distance))

    def relative_nll(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return the negative log-likelihood under each group less the least, in nats, (trajectories, groups).

        It is half the squared distance to the group's centre, in units of the spread within groups, less the least of
        the row. A row beyond `max_distance` of all groups is 0.
        """
        return self._relative_nll(self.embedding(demonstrations))

    def _relative_nll(self, points: Floats) -> NDArray[np.float64]:
        """Return `relative_nll` of embedded trajectories (trajectories, dimensions)."""
        distances = cdist(points @ self.metric, self.centres)
        least = distances.min(axis=1, keepdims=True)
        nll: NDArray[np.float64] = np.where(least <= 1.001 * self.max_distance, (distances**2 - least**2) / 2, 0.0)
        return nll

    def nats_per_step(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return `relative_nll` for each step of the trajectory, (trajectories, groups).

        The policy's steps share what a trajectory is like, and say it again and again. So beside sure groups a few of
        them count, however many there are.
        """
        lengths = demonstrations.lengths[:, None]
        return self.relative_nll(demonstrations) / (np.minimum(lengths, _STEPS) if self.sure else lengths)

    def loss(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return what to add to the policy's mean squared errors over steps, (trajectories, groups)."""
        return nats_as_loss(self.nats_per_step(demonstrations), self.residual_variance)

    def with_residual(
        self, losses: NDArray[np.float64], demonstrations: Demonstrations, variance: Callable[[float], float]
    ) -> "Groups":
        """Return the same groups with the residual variance of a policy.

        Args:
            losses: (trajectories, codes), of the policy alone.
            demonstrations: of any lengths.
            variance: from a mean loss to σ² of one dimension of the normalised action.
        """
        least = np.average(losses.min(axis=1), weights=demonstrations.lengths)
        return replace(self, residual_variance=float(np.float32(variance(least))))

    def tensors(self) -> dict[str, Floats]:
        """Return these groups as tensors for `from_tensors`."""
        parts = {field.name: getattr(self.embedding, field.name) for field in fields(Embedding)}
        own = {
            "metric": self.metric,
            "centres": self.centres,
            "max_distance": np.array(self.max_distance),
            "residual_variance": np.array(self.residual_variance),
            "sure": np.array(self.sure),
        }
        arrays = {name: np.array(value, order="C") for name, value in (parts | own).items()}
        return {name: array if name == "mean" else array.astype(np.float32) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Floats]) -> "Groups":
        """Return the groups of `tensors`.

        Raises:
            KeyError: a tensor is missing.
        """
        embedding = Embedding(**{field.name: tensors[field.name] for field in fields(Embedding)})
        max_distance, variance = (float(tensors[name]) for name in ("max_distance", "residual_variance"))
        sure = bool(tensors.get("sure", False))  # policies of the paper's tables are older
        return cls(embedding, tensors["metric"], tensors["centres"], max_distance, variance, sure)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Groups to choose among.

    Args:
        groups: as found without labels and pairs.
        points: (trajectories, dimensions), of all trajectories.
        known: (trajectories,), the group of each that was given, else -1; None if none was.
        labels: (trajectories,), the group of each.
        against: how many labels and pairs contradict them.
    """

    groups: Groups
    points: Floats
    known: Labels | None
    labels: Labels
    against: int


@dataclass(frozen=True, eq=False)
class _AtGaps:
    """Groups at gaps.

    Args:
        embedding: by what the gaps are in.
        known: (trajectories,), the group of each, or -1.
        sure: whether all gaps are.
    """

    embedding: Embedding
    known: Labels
    sure: bool


@dataclass(frozen=True, eq=False)
class _Fewer:
    """Groups at sure gaps, fewer than wanted.

    Args:
        labels: (trajectories,), the group of each.
        properties, embeddings: by which they are told apart.
    """

    labels: Labels
    properties: list[int]
    embeddings: list[int]


def nats_as_loss(nats: _Array, residual_variance: Any) -> _Array:
    """Return nats for each step in units of the mean squared error over steps.

    By Equation 2 the negative log-likelihood of a step is its error over 2 σ².

    Args:
        nats: (trajectories, groups), for each step.
        residual_variance: σ² of one dimension of the normalised action.
    """
    return nats * (2 * residual_variance)
