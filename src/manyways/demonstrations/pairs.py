"""Owns `Pairs`: which trajectories are known to be done the same way, and which are not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.selection import listed
from manyways.errors import InputError

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Trajectories that are the same way (must-link), and that are different ways (cannot-link).

    Who is the same as a third one is the same, so the first kind makes sets of trajectories. The second kind holds for
    all members of two sets. So both last when some of the trajectories are taken.

    Args:
        linked: (trajectories,), the place of the first trajectory that is the same way; its own, if there is none.
        different: (pairs, 2), places of first trajectories, of ways that differ.
    """

    linked: Integers
    different: Integers

    @classmethod
    def of(cls, count: int, same: Iterable[Sequence[int]], different: Iterable[Sequence[int]]) -> "Pairs":
        """Return the pairs of places among `count` trajectories; different ones may be the same, see `clash`."""
        linked = np.arange(count)

        def first(place: int) -> int:
            while linked[place] != place:
                place = int(linked[place])
            return place

        for one, other in same:
            low, high = sorted((first(one), first(other)))
            linked[high] = low
        firsts = np.array([first(place) for place in range(count)], np.int64)
        apart = {tuple(sorted((int(firsts[one]), int(firsts[other])))) for one, other in different}
        return cls(firsts, np.array(sorted(apart), np.int64).reshape(-1, 2))

    @property
    def tied(self) -> Integers:
        """The trajectories that are in a pair, (n,)."""
        sizes = np.bincount(self.linked, minlength=len(self.linked))
        return np.flatnonzero((sizes[self.linked] > 1) | np.isin(self.linked, self.different))

    def links(self) -> Integers:
        """Return pairs of places (pairs, 2) that say the same as `linked`."""
        later = np.flatnonzero(self.linked != np.arange(len(self.linked)))
        return np.stack([self.linked[later], later], axis=1)

    def clash(self) -> int | None:
        """Return a trajectory whose set is different from itself; None if there is none."""
        found = self.different[self.different[:, 0] == self.different[:, 1], 0]
        return int(found[0]) if len(found) else None

    def select(self, trajectories: NDArray[np.integer[Any]]) -> "Pairs | None":
        """Return what is known of the trajectories at these indices (n,), in this order; None if that is nothing."""
        own = self.linked[np.asarray(trajectories, np.int64)]
        sets, first, inverse = np.unique(own, return_index=True, return_inverse=True)
        kept = self.different[np.isin(self.different, sets).all(axis=1)]
        places = first[np.searchsorted(sets, kept)]
        found = Pairs(first[inverse].astype(np.int64), np.sort(places, axis=1).astype(np.int64).reshape(-1, 2))
        return found if len(found.tied) else None

    @classmethod
    def concatenate(cls, parts: "Sequence[Pairs | None]", counts: Sequence[int]) -> "Pairs | None":
        """Return the pairs of all parts, which have so many trajectories each; None if there are none."""
        if all(part is None for part in parts):
            return None
        linked, different, before = [], [np.zeros((0, 2), np.int64)], 0
        for part, count in zip(parts, counts, strict=True):
            linked.append(before + (np.arange(count) if part is None else part.linked))
            different += [] if part is None else [before + part.different]
            before += count
        return cls(np.concatenate(linked), np.concatenate(different))

    def spread(self, labels: Integers, names: Sequence[str]) -> Integers:
        """Return labels (trajectories,), -1 for none, with each one's also on those that are the same way.

        Raises:
            InputError: the same way has two labels, or different ways have one.
        """
        known = np.flatnonzero(labels >= 0)
        found = np.full(len(labels), -1, np.int64)
        found[self.linked[known]] = labels[known]
        wrong = known[found[self.linked[known]] != labels[known]]
        if len(wrong):
            alike = known[(self.linked[known] == self.linked[wrong[0]]) & (labels[known] != labels[wrong[0]])]
            one, other = sorted((int(wrong[0]), int(alike[0])))
            raise InputError(
                f"trajectories {names[one]} and {names[other]} are given as the same way, but have the labels "
                f"{labels[one]} and {labels[other]}; change one of the three"
            )
        for one, other in self.different:
            if found[one] >= 0 and found[one] == found[other]:
                raise InputError(
                    f"trajectories {names[one]} and {names[other]} are given as different ways, but both have the "
                    f"label {found[one]}; change one of the three"
                )
        return found[self.linked]


def as_pairs(
    same: Iterable[Sequence[Any]],
    different: Iterable[Sequence[Any]],
    names: tuple[str, ...],
    before: Pairs | None = None,
) -> Pairs | None:
    """Return pairs by place or by name, beside those from before; see `Demonstrations.with_pairs`.

    Args:
        same: pairs of places from 0, or of names.
        different: the same.
        names: (trajectories,), their identities, or their places as words.
        before: what is known already.
    """
    places = {name: place for place, name in enumerate(names)}
    links = [_pair(pair, "same", places) for pair in same]
    apart = [_pair(pair, "different", places) for pair in different]
    if before is not None:
        links += [(one, other) for one, other in before.links().tolist()]
        apart += [(one, other) for one, other in before.different.tolist()]
    found = Pairs.of(len(names), links, apart)
    wrong = found.clash()
    if wrong is not None:
        one, other = next(pair for pair in apart if found.linked[pair[0]] == found.linked[pair[1]] == wrong)
        raise InputError(
            f"trajectories {names[one]} and {names[other]} are given as different ways, but also as the same one, "
            "if through others; leave out a pair"
        )
    return found if len(found.tied) else None


def _pair(pair: Any, what: str, places: dict[str, int]) -> tuple[int, int]:
    """Return the places of two trajectories."""
    if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
        raise InputError(f"the pairs of {what} ways have {pair!r}; give two trajectories each, such as (0, 3)")
    found = []
    for each in pair:
        place: Any = places.get(each, -1) if isinstance(each, str) else each
        whole = isinstance(place, int | np.integer) and not isinstance(place, bool | np.bool_)
        if not whole or not 0 <= place < len(places):
            raise InputError(
                f"there is no trajectory {each!r} to pair as {what}; give places from 0 to {len(places) - 1}, or one "
                f"of {listed(list(places))}"
            )
        found.append(int(place))
    if found[0] == found[1]:
        raise InputError(f"the pairs of {what} ways have {pair[0]!r} twice; give two trajectories each")
    return found[0], found[1]
