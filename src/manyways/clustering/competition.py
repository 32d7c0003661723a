"""Which groups count: trajectories are grouped in several ways, and these compete.

Where gaps tell just so many groups apart as are wanted, they count without a contest. Else the groups are judged by
labels and pairs, by what sure gaps tell apart, and by how well they explain held-out actions (`regressions`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon
from sklearn.metrics import adjusted_rand_score, homogeneity_score

from manyways.clustering.at_gaps import Gaps
from manyways.clustering.constraints import Constraints
from manyways.clustering.embedding import Embedding
from manyways.clustering.further import split_further
from manyways.clustering.groups import TRAJECTORIES_FOR_CENTRES, Groups
from manyways.clustering.known import chance_of_agreement, kept, known_sets, numbered, telling
from manyways.clustering.linear_policies import linear_policies
from manyways.clustering.regressions import Regressions
from manyways.clustering.tree import AGREEMENT, LEVEL
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.sampling import some_trajectories
from manyways.latents import Categorical

_VALUES = 2**28
_AGAINST = 2  # labels and pairs, more than against the best groups, that rule groups out
_APART = 0.9  # of the entropy of fewer groups at sure gaps, at least, that other groups tell
_SIGNIFICANCE = 0.05  # of the gain in held-out likelihood over the groups by all features

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def find_groups(demonstrations: Demonstrations, groups: int, seed: int) -> Groups:
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
    demonstrations = some_trajectories(demonstrations, TRAJECTORIES_FOR_CENTRES, _VALUES, seed)
    if groups == 1:
        return Groups.in_embedding(Embedding.fit(demonstrations, seed), demonstrations, groups, seed)
    competition = _Competition(demonstrations, groups, seed)
    return competition.uncontested() or competition.winner()


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Groups that compete.

    Args:
        groups: as found without labels and pairs, so that these can judge them.
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


class _Competition:
    """All ways to group some trajectories; the arguments are those of `find_groups`."""

    def __init__(self, demonstrations: Demonstrations, groups: int, seed: int) -> None:
        self.demonstrations, self.number, self.seed = demonstrations, groups, seed
        self.kinds = list(Embedding.fit_kinds(demonstrations, seed))
        self.features = self.kinds[0].features(demonstrations)
        self.asked = Constraints.of(demonstrations, Categorical(groups))
        self.by_all = self._candidate(self.kinds[0], self.kinds[0].of_features(self.features))
        self.gaps = Gaps(self.kinds, self.features, demonstrations, seed)
        at_gaps, self.fewer = self.gaps.groups(groups)
        self.at_gaps, self.sure = None, False
        if at_gaps is not None:
            self.at_gaps = self._candidate(at_gaps.embedding, at_gaps.embedding(demonstrations), at_gaps.known)
            self.sure = at_gaps.sure and self.at_gaps.against < _AGAINST

    def uncontested(self) -> Groups | None:
        """Return the groups at just so many sure gaps, or those of all features that agree with them, if any."""
        if self.at_gaps is None or not self.sure:
            return None
        if adjusted_rand_score(self.by_all.labels, self.at_gaps.labels) >= AGREEMENT:
            return self._finished(self.by_all, True)
        return None if self.at_gaps.against else self._finished(self.at_gaps, True)

    def winner(self) -> Groups:
        """Return the groups that count, by all that can be said of them."""
        regressions = Regressions.of(self.demonstrations, self.seed)
        by_labels, further = self._by_labels(), self._further(regressions)
        first = [self.by_all, self.at_gaps, by_labels]
        candidates = [one for one in (*first, *self._others(), further) if one is not None]
        ungrouped, *own = regressions.held_out_nll([one.labels for one in candidates])
        nll = dict(zip(candidates, own, strict=True))

        def explains_better(one: _Candidate, other: _Candidate) -> bool:
            return _is_better(nll[one], nll[other])

        left = self._admitted(candidates)
        likeliest = sorted(left, key=lambda one: float(nll[one].sum()))
        chosen = self.by_all
        if self.at_gaps is not None and (
            self.sure or (self.at_gaps in left and explains_better(self.at_gaps, self.by_all))
        ):
            chosen = self.at_gaps
        if chosen not in left:
            chosen = self.at_gaps if self.at_gaps is not None and self.at_gaps in left else likeliest[0]
        if by_labels is not None and by_labels in left and by_labels.against < chosen.against:
            chosen = by_labels
        best = next((one for one in likeliest if one is not further), chosen)
        if chosen is self.by_all and explains_better(best, chosen):
            chosen = best
        sure = _is_better(nll[chosen] + np.log(self.number), ungrouped)  # more than it takes to say which group it is
        sure |= self.fewer is not None and chosen in (further, self.at_gaps)
        sure |= self.sure and chosen is self.at_gaps
        if self.asked is not None and not chosen.against:
            sure |= len(candidates) * chance_of_agreement(self.asked.settled, self.number) < LEVEL
        return self._finished(chosen, bool(sure))

    def _candidate(self, embedding: Embedding, points: Floats, known: Labels | None = None) -> _Candidate:
        found = Groups.of_points(embedding, points, self.number, self.seed, known)
        labels = found.relative_nll_of_points(points).argmin(axis=1)
        against = 0 if self.asked is None else self.asked.violations(numbered(labels, self.asked))
        return _Candidate(found, points, known, labels, against)

    def _embedded(self, embedding: Embedding, known: Labels | None = None) -> _Candidate:
        return self._candidate(embedding, embedding(self.demonstrations), known)

    def _by_labels(self) -> _Candidate | None:
        """Return groups by the properties in which labels differ."""
        if self.asked is None:
            return None
        sets = known_sets(self.demonstrations)[self.gaps.rows]
        properties = telling(self.gaps.columns.values, sets, LEVEL).tolist()
        return self._embedded(self.gaps.embedding(properties)) if len(properties) else None

    def _others(self) -> Iterator[_Candidate]:
        """Yield groups by each kind of features, and by linear policies."""
        for embedding in self.kinds[1:]:
            yield self._candidate(embedding, embedding.of_features(self.features))
        for before in (False, True):
            policies = linear_policies(self.demonstrations, self.number, self.seed, before)
            if policies is not None:
                yield self._embedded(self.kinds[0].by_policies(policies))

    def _further(self, regressions: Regressions) -> _Candidate | None:
        """Return the groups at sure gaps, split until they are enough."""
        if self.fewer is None:
            return None
        points = [embedding.of_features(self.features) for embedding in self.kinds]
        known, used = split_further(self.fewer.labels, points, self.number, regressions, self.seed)
        embeddings = sorted(used.union(self.fewer.embeddings))
        return self._embedded(self.gaps.embedding(self.fewer.properties, embeddings), known)

    def _admitted(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Return those that labels, pairs and sure gaps do not rule out."""
        least = min(one.against for one in candidates)
        left = [one for one in candidates if one.against < least + _AGAINST]
        if self.fewer is None:
            return left
        return [one for one in left if homogeneity_score(self.fewer.labels, one.labels) >= _APART] or left

    def _finished(self, one: _Candidate, sure: bool) -> Groups:
        """Return a candidate's groups, as labels and pairs ask."""
        groups = one.groups
        if self.asked is not None:
            known = None if one.known is None else kept(one.known, self.asked)
            groups = Groups.of_points(groups.embedding, one.points, self.number, self.seed, known, self.asked)
        return replace(groups, sure=sure)


def _is_better(one: Floats, other: Floats) -> bool:
    """Return whether one negative log-likelihood of each trajectory is less than the other by more than chance."""
    gain = other - one
    return bool(gain.any() and wilcoxon(gain, alternative="greater").pvalue < _SIGNIFICANCE)
