"""Gaps between groups of numbers: valleys that numbers of one group would hardly leave.

In a row of sorted numbers, take `between` spacings and, on either side, `beside` more. If one group has all of them,
its density has a single peak, so it is no lower in the middle than on the lower side (Hartigan & Hartigan 1985). The
middle's share of the width of both then is at most as large as for a uniform density, where it has the beta
distribution with parameters `between` and `beside`. So the chance of as wide a valley is known exactly, for few numbers
and many; such local tests at all places and scales are those of Dümbgen & Walther (2008). Valleys of many places and
scales overlap: by simulation they are worth about as many independent tests as there are numbers, by which the least
chance is multiplied.

With many numbers a shallow valley is sure, too. It counts only where its density is a quarter of its sides' or less,
and where it has at most a quarter of their numbers: places around a circle, seen from the side, have a long valley with
high edges, but no gap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln

LEAST = 4  # numbers in a group
_DEPTH = 0.25  # greatest density of a valley, as a share of the lower side's
_INSIDE = 4  # as many numbers beside a valley as in it, at least
_TOGETHER = 8  # gaps at most
_SCALE = 1.5  # from one number of spacings to the next
_SAME = 1e-9  # a smaller range of numbers is rounding

Floats = NDArray[np.floating[Any]]


def surest_gaps(columns: Floats) -> tuple[Floats, Floats]:
    """Return for each column (n, columns) the logarithm of its surest gap's chance (columns,), and where to cut.

    The chance is that of a gap as sure somewhere, if all numbers were one group's; 0 and no place (NaN) without a gap.
    """
    ordered = np.sort(_without_ties(columns), axis=0)
    count, width = ordered.shape
    least, places, every = np.zeros(width), np.full(width, np.nan), np.arange(width)
    tiny = 1e-9 * (ordered[-1] - ordered[0]) + 1e-300
    for beside in _numbers(LEAST - 1, (count - 2) // 2):
        for between in _numbers(1, max(1, beside // _INSIDE)):
            left = np.arange(beside, count - beside - between)
            if not len(left):
                continue
            right = left + between
            middle = ordered[right] - ordered[left] + 1e-300
            side = np.maximum(ordered[left] - ordered[left - beside], ordered[right + beside] - ordered[right]) + tiny
            share = np.where(between * side <= _DEPTH * beside * middle, side / (side + middle), 1.0)
            best = share.argmin(axis=0)
            chance = np.log(np.maximum(betainc(beside, between, share[best, every]), 1e-300))
            for column in np.flatnonzero((chance < least) & (ordered[-1] - ordered[0] > _SAME)):
                inside = ordered[left[best[column]] : right[best[column]] + 1, column]
                widest = np.diff(inside).argmax()
                least[column], places[column] = chance[column], inside[widest : widest + 2].mean()
    return np.minimum(0.0, least + np.log(count)), places


def surest_gaps_together(columns: Floats) -> tuple[Floats, Floats]:
    """Return the same for several gaps in a column together, none of which need be sure alone.

    The widest spacings are tried, with a group's numbers between them at least. If one group had all numbers, its peak
    would lie somewhere. Each gap on the left of it is then judged by the group on its left, each gap on its right by
    the one on its right. These are different groups, so their chances multiply. The least favourable peak counts, and
    the result is multiplied by the number of ways to choose so many places.
    """
    count, width = columns.shape
    least, places = np.zeros(width), np.full(width, np.nan)
    ordered = np.sort(_without_ties(columns), axis=0).T  # (columns, n)
    spacings = np.diff(ordered)
    widest = [
        _cuts(own) if numbers[-1] - numbers[0] > _SAME else [] for numbers, own in zip(ordered, spacings, strict=True)
    ]
    for many in range(2, _TOGETHER + 1):
        own = np.array([column for column, cuts in enumerate(widest) if len(cuts) >= many], np.int64)
        if not len(own):
            break
        rows = own[:, None]
        chosen = np.sort([widest[column][:many] for column in own], axis=1)  # (columns, many)
        ends = np.pad(chosen, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, count - 1)))
        groups, gaps = ordered[rows, ends[:, 1:]] - ordered[rows, ends[:, :-1] + 1], spacings[rows, chosen]
        within = np.diff(ends) - 1  # spacings in each group
        left = within[:, :-1] * np.log((groups[:, :-1] + _SAME) / (groups[:, :-1] + _SAME + gaps))
        right = within[:, 1:] * np.log((groups[:, 1:] + _SAME) / (groups[:, 1:] + _SAME + gaps))
        peaks = np.pad(left.cumsum(axis=1), ((0, 0), (1, 0)))
        peaks[:, :-1] += right[:, ::-1].cumsum(axis=1)[:, ::-1]
        chances = peaks.max(axis=1) + many * np.log(count) - gammaln(many + 1) + np.log(_TOGETHER)
        surest = chosen[np.arange(len(own)), np.maximum(left, right).argmin(axis=1)]
        less = chances < least[own]
        least[own[less]] = chances[less]
        places[own[less]] = (ordered[own[less], surest[less]] + ordered[own[less], surest[less] + 1]) / 2
    return least, places


def _cuts(spacings: Floats) -> list[int]:
    """Return the widest spacings (n - 1,) with a group's numbers between them at least, the widest first."""
    near, found = np.zeros(len(spacings), bool), []
    near[: LEAST - 1] = near[len(spacings) + 1 - LEAST :] = True  # numbers[: cut + 1] are on the left
    for cut in np.argsort(-spacings).tolist():
        if not near[cut]:
            found.append(cut)
            near[max(0, cut + 1 - LEAST) : cut + LEAST] = True
            if len(found) == _TOGETHER:
                break
    return found


def _numbers(least: int, most: int) -> list[int]:
    """Return numbers of spacings, from the least to the most, each about half as many again as the one before."""
    count = 1 + max(0, int(np.log(max(most, 1) / least) / np.log(_SCALE)))
    found = {round(least * _SCALE**power) for power in range(count + 1)}
    return sorted(number for number in found if number <= most)


def _without_ties(columns: Floats) -> Floats:
    """Return columns with noise where rounding to a unit, or a switch's whole steps, made some numbers equal.

    The noise of a number is half the distance to the nearest other one, and half the median such distance at most.
    """
    spread = np.array(columns, np.float64)
    rng = np.random.default_rng(0)
    for column in spread.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        begins = np.append(True, np.diff(ordered) > _SAME * (ordered[-1] - ordered[0]))
        if 1 < begins.sum() < len(column):
            apart = np.diff(ordered[begins])
            nearest = np.minimum(np.append(apart, np.inf), np.append(np.inf, apart))
            unit = np.minimum(nearest, np.median(apart))[begins.cumsum() - 1]
            column[order] += rng.uniform(-0.5, 0.5, len(column)) * unit
    return spread
