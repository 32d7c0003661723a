"""What labels and pairs ask of the codes, or groups, of trajectories: constrained k-means, and constrained hard EM.

Trajectories that are linked are a block, and move as one: they get the code with the least sum of their losses
(must-link; Wagstaff et al. 2001). Blocks that are different get the cheapest codes that differ (cannot-link). That is
a colouring of a graph. A few blocks are tried in all ways. More of them begin with any colouring, and then two codes
are exchanged along chains of different blocks (Kempe 1879) as long as that lowers the sum.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.pairs import Pairs
from manyways.demonstrations.vectors import identities_of
from manyways.errors import InputError
from manyways.latents import Categorical, Prior

_TRIED = 8  # blocks, at most, whose codes are tried in all ways
_NODES = 20_000  # of the search for a colouring, or for the greatest clique
_ROUNDS = 20  # of exchanges
_CHAIN = 64  # blocks at most, in which two codes are exchanged

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Graph = list[set[int]]


@dataclass(frozen=True, eq=False)
class Constraints:
    """What is known of the codes of trajectories.

    Args:
        excluded: (trajectories, codes), which codes each cannot have.
        tied: (n,), the trajectories whose code depends on that of others.
        blocks: (n,), the block of each of them.
        allowed: (blocks, codes), which codes a block may have.
        different: (pairs, 2), blocks that have different codes.
        possible: (blocks,), codes that keep all that.
    """

    excluded: NDArray[np.bool_]
    tied: Integers
    blocks: Integers
    allowed: NDArray[np.bool_]
    different: Integers
    possible: Integers

    @classmethod
    def of(cls, demonstrations: Demonstrations, prior: Prior) -> "Constraints | None":
        """Return what the labels and pairs of demonstrations ask; None if there are none.

        Raises:
            InputError: the codes are no list, a label is no code, or there are too few codes.
        """
        labels, pairs = demonstrations.labels, demonstrations.pairs
        labelled = labels is not None and bool((labels >= 0).any())
        if not labelled and pairs is None:
            return None
        if not isinstance(prior, Categorical):
            what = "labels" if labelled else "pairs"
            raise InputError(f"there are {what}, but the codes are continuous; leave the {what} out, or give --modes")
        size = prior.size
        known = np.full(len(demonstrations), -1) if labels is None else labels
        if known.max() >= size:
            raise InputError(f"the label {known.max()} is no code of {size}; give more modes, or 0 to {size - 1}")
        excluded = (known[:, None] >= 0) & (known[:, None] != np.arange(size))
        linked = np.arange(len(known)) if pairs is None else pairs.linked
        apart = np.zeros((0, 2), np.int64) if pairs is None else pairs.different
        clique = mutually_different(known, linked, apart)
        if len(clique) > size:
            names = [identities_of(demonstrations)[place] for place in clique]
            raise InputError(
                f"trajectories {', '.join(names[:-1])} and {names[-1]} are all different ways, but there are {size} "
                f"codes; give {len(clique)} modes or more, or leave out pairs"
            )
        _exclude(excluded, apart)
        excluded = excluded[linked]
        open_ = (~excluded).sum(axis=1) > 1
        apart = apart[open_[apart].all(axis=1)]
        sizes = np.bincount(linked, minlength=len(linked))
        tied = np.flatnonzero(open_ & ((sizes[linked] > 1) | np.isin(linked, apart)))
        firsts, blocks = np.unique(linked[tied], return_inverse=True)
        apart, allowed = np.searchsorted(firsts, apart), ~excluded[firsts]
        possible = None if excluded.all(axis=1).any() else _coloured(allowed, apart)
        if possible is None:
            raise InputError(
                f"no {size} codes keep all trajectories apart that are given as different ways; give more modes, or "
                "leave out pairs"
            )
        return cls(excluded, tied, blocks.astype(np.int64), allowed, apart, possible)

    @property
    def settled(self) -> Integers:
        """The code of each trajectory that can have one alone, -1 elsewhere, (trajectories,)."""
        return np.where((~self.excluded).sum(axis=1) == 1, self.excluded.argmin(axis=1), -1)

    @property
    def asked(self) -> Integers:
        """The trajectories of which anything is known, (n,)."""
        return np.union1d(self.tied, np.flatnonzero(self.excluded.any(axis=1)))

    def select(self, rows: NDArray[np.integer[Any]]) -> "Constraints":
        """Return the same for these trajectories (n,), which are sorted and among which all tied ones are."""
        return replace(self, excluded=self.excluded[rows], tied=np.searchsorted(rows, self.tied))

    def codes(self, losses: Floats) -> Integers:
        """Return the code of each trajectory (trajectories,) with the least losses (trajectories, codes)."""
        found = np.where(self.excluded, np.inf, losses).argmin(axis=1)
        if len(self.tied):
            found[self.tied] = self.tied_codes(losses[self.tied])
        return found

    def tied_codes(self, losses: Floats) -> Integers:
        """Return the same of the tied trajectories alone, from their losses (n, codes) to (n,)."""
        return self.block_codes(losses)[self.blocks]

    def block_codes(self, losses: Floats, last: Integers | None = None, new: Integers | None = None) -> Integers:
        """Return the codes of blocks (blocks,) by the losses (n, codes) of the tied trajectories.

        Args:
            losses: of all that are tied.
            last: (blocks,), codes to go on from, where not all are tried.
            new: blocks whose losses are new since then; only they are tried anew.
        """
        sums = np.zeros(self.allowed.shape)
        np.add.at(sums, self.blocks, losses)
        sums[~self.allowed] = np.inf
        found = sums.argmin(axis=1)
        clash = found[self.different[:, 0]] == found[self.different[:, 1]]
        for number in np.unique(self._part_of[self.different[clash, 0]]):
            members, graph = self._parts[number]
            if len(members) <= _TRIED:
                found[members] = _best_of_all(sums[members], graph)
            elif last is None or new is None:
                found[members] = _exchanged(sums[members], graph, self.possible[members])
            else:
                some = np.flatnonzero(np.isin(members, new)).tolist()
                found[members] = _exchanged(sums[members], graph, last[members], some, 1)
        return found

    @cached_property
    def _parts(self) -> list[tuple[Integers, Graph]]:
        """The blocks of each part that hangs together, and who is different in it, by their places there."""
        graph, parts = _graph(len(self.allowed), self.different), []
        for members in _components(graph, np.arange(len(graph))):
            places = {block: place for place, block in enumerate(members)}
            parts.append((np.array(members, np.int64), [{places[other] for other in graph[one]} for one in members]))
        return parts

    @cached_property
    def _part_of(self) -> Integers:
        """The part of each block, (blocks,)."""
        found = np.zeros(len(self.allowed), np.int64)
        for number, (members, _) in enumerate(self._parts):
            found[members] = number
        return found

    def violations(self, groups: NDArray[np.integer[Any]]) -> int:
        """Return how many labels and pairs groups (trajectories,) contradict that have the codes' numbers."""
        own, settled = groups[self.tied], self.settled
        first = np.full(len(self.allowed), -1)
        first[self.blocks[::-1]] = own[::-1]
        apart = first[self.different]
        wrong = (settled >= 0) & (groups != settled)
        return int(wrong.sum() + (own != first[self.blocks]).sum() + (apart[:, 0] == apart[:, 1]).sum())


def best_codes(losses: Floats, demonstrations: Demonstrations, prior: Prior) -> Integers:
    """Return the code of each trajectory with the least losses (trajectories, codes), as labels and pairs allow.

    Raises:
        InputError: as `Constraints.of`.
    """
    asked = Constraints.of(demonstrations, prior)
    return losses.argmin(axis=1).astype(np.int64) if asked is None else asked.codes(losses)


def least_modes(labels: Integers | None, pairs: Pairs | None) -> int:
    """Return how many modes there are at least: mutually different labels and trajectories; 1 if nothing is known."""
    if pairs is not None:
        known = np.full(len(pairs.linked), -1) if labels is None else labels
        return max(1, len(mutually_different(known, pairs.linked, pairs.different)))
    return 1 if labels is None else max(1, len(np.unique(labels[labels >= 0])))


def mutually_different(labels: Integers, linked: Integers, different: Integers) -> list[int]:
    """Return trajectories, as many as possible, of which all pairs are different by labels or pairs."""
    firsts = np.unique(np.concatenate([linked[different].ravel(), linked[labels >= 0]]))
    if not len(firsts):
        return []
    own = labels[firsts]
    # Trajectories of one label are one way; the first stands for all.
    same = np.array([np.flatnonzero(own == label)[0] if label >= 0 else place for place, label in enumerate(own)])
    if not len(different):
        return [int(place) for place in firsts[np.unique(same)]]
    graph = _graph(len(firsts), same[np.searchsorted(firsts, linked[different])])
    heads = [int(place) for place in np.unique(same) if own[place] >= 0]
    for head in heads:
        graph[head] |= {other for other in heads if other != head}
    best: list[int] = []
    nodes = 0

    def grow(chosen: list[int], left: set[int]) -> None:
        nonlocal best, nodes
        nodes += 1
        if len(chosen) > len(best):
            best = chosen
        for place in sorted(left, key=lambda one: -len(graph[one] & left)):
            if len(chosen) + len(left) <= len(best) or nodes > _NODES:
                return
            grow([*chosen, place], left & graph[place])
            left = left - {place}

    grow([], {int(place) for place in np.unique(same)})
    return [int(firsts[place]) for place in best]


def _exclude(excluded: NDArray[np.bool_], different: Integers) -> None:
    """Exclude the code of a trajectory that can have one alone from those that are different, in place."""
    graph = _graph(len(excluded), different)
    waiting = [int(place) for place in np.unique(different) if (~excluded[place]).sum() == 1]
    while waiting:
        place = waiting.pop()
        code = int(excluded[place].argmin())
        for other in graph[place]:
            if not excluded[other, code]:
                excluded[other, code] = True
                waiting += [other] if (~excluded[other]).sum() == 1 else []


def _graph(count: int, edges: Integers) -> Graph:
    graph: Graph = [set() for _ in range(count)]
    for one, other in edges.tolist():
        graph[one].add(other)
        graph[other].add(one)
    return graph


def _components(graph: Graph, starts: Integers) -> Iterator[list[int]]:
    """Yield the connected parts of a graph in which any of the starts is."""
    seen: set[int] = set()
    for start in starts.tolist():
        if start in seen:
            continue
        found, waiting = {start}, [start]
        while waiting:
            new = graph[waiting.pop()] - found
            found |= new
            waiting += new
        seen |= found
        yield sorted(found)


def _coloured(allowed: NDArray[np.bool_], different: Integers) -> Integers | None:
    """Return any codes that keep different blocks apart, (blocks,), or None if there are none.

    The block with the fewest codes left is next (Brélaz 1979).
    """
    codes, graph = np.full(len(allowed), -1), _graph(len(allowed), different)
    degrees = np.array([len(others) for others in graph])
    taken = np.zeros(allowed.shape, np.int64)  # by how many blocks that differ

    def put(block: int, code: int, times: int) -> None:
        codes[block] = code if times > 0 else -1
        taken[list(graph[block]), code] += times

    for members in _components(graph, np.arange(len(allowed))):
        path: list[tuple[int, list[int]]] = []  # each block, and the codes that it may still try
        nodes = 0
        while len(path) < len(members):
            nodes += 1
            free = allowed[members] & (taken[members] == 0)
            first = np.lexsort((-degrees[members], free.sum(axis=1), codes[members] >= 0))[0]
            path.append((members[first], np.flatnonzero(free[first]).tolist()))
            while path and not path[-1][1]:
                path.pop()
                if path:
                    put(path[-1][0], int(codes[path[-1][0]]), -1)
            if not path or nodes > _NODES:
                return None
            block, left = path[-1]
            put(block, left.pop(0), 1)
    return codes.astype(np.int64)


def _best_of_all(costs: Floats, graph: Graph) -> Integers:
    """Return the codes of blocks (blocks,) with the least sum of costs (blocks, codes) that differ where they must."""
    order = np.argsort(costs, axis=1)
    floor = np.append(np.cumsum(costs.min(axis=1)[::-1])[::-1], 0.0)  # of the costs of all later blocks
    best, least, codes = np.zeros(len(costs), np.int64), np.inf, np.full(len(costs), -1)

    def assign(block: int, cost: float) -> None:
        nonlocal best, least
        if block == len(costs):
            best, least = codes.copy(), cost
            return
        taken = {int(codes[other]) for other in graph[block] if other < block}
        for code in order[block].tolist():
            if cost + costs[block, code] + floor[block + 1] >= least:
                break
            if code not in taken:
                codes[block] = code
                assign(block + 1, cost + costs[block, code])

    assign(0, 0.0)
    return best


def _exchanged(
    costs: Floats, graph: Graph, start: Integers, some: list[int] | None = None, rounds: int = _ROUNDS
) -> Integers:
    """Return such codes (blocks,) with a smaller sum than that of the start, by exchanges at some of the blocks."""
    codes = start.copy()
    for _ in range(rounds):
        improved = False
        for block in range(len(costs)) if some is None else some:
            for code in np.argsort(costs[block]).tolist():
                own = int(codes[block])
                if code == own:
                    break  # the others cost more
                chain, waiting = {block}, [block]
                while waiting and len(chain) <= _CHAIN:
                    new = {other for other in graph[waiting.pop()] if codes[other] in (own, code)} - chain
                    chain |= new
                    waiting += new
                members = sorted(chain)
                other_codes = own + code - codes[members]
                less = costs[members, other_codes].sum() < costs[members, codes[members]].sum() - 1e-12
                if less and not waiting:
                    codes[members] = other_codes
                    improved = True
        if not improved:
            break
    return codes
