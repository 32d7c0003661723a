"""Trajectories that one should look at before learning from them: pauses, jumps, copies, limits, and what fits no mode.

All is measured against the other trajectories of the same data: what most of them do is not suspect.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.columns import limits as limits_of
from manyways.demonstrations.trajectories import Demonstrations
from manyways.demonstrations.vectors import at_times, column_names, identities_of, spread
from manyways.errors import InputError

Floats = NDArray[np.floating[Any]]

# Levels at which none of 500 undisturbed trajectories of this library's synthetic family is suspect.
_FAR = 4.0  # robust standard deviations of the logarithm of the loss
_STILL = 0.05  # of the usual motion in a step; less is none
_PAUSE = 0.2  # of the trajectory without motion
_MORE = 3.0  # times what is usual among the trajectories, for pauses, limits
_JUMP = 3.0  # times the largest step of nine in ten trajectories; and a standard deviation of its column at least
_LIMIT = 0.3  # of the steps at a limit of an action
_ALIKE = 0.01  # standard deviations between two trajectories, in the mean
_CLOSER = 0.1  # times the usual distance of the nearest trajectory
_ENOUGH = 10_000  # trajectories, from which the usual motion is measured
_POINTS = 16  # of a trajectory, to compare it with others


@dataclass(frozen=True)
class Suspect:
    """A trajectory to look at.

    Attributes:
        trajectory: its place, from 0.
        identity: what it is called; its place where it has no name.
        kind: "far", "stall", "jump", "duplicate" or "limit".
        score: how many times the level at which it becomes suspect; at least 1.
        reason: in words.
    """

    trajectory: int
    identity: str
    kind: str
    score: float
    reason: str


def find_suspects(demonstrations: Demonstrations, losses: Floats | None = None) -> list[Suspect]:
    """Return what to look at, the most suspect first.

    Args:
        demonstrations: a handful at least; of fewer than 5 nothing is usual, so nothing is suspect but copies.
        losses: (trajectories,), how badly the best mode explains each; None to leave out what is far from all modes.

    Raises:
        InputError: there is not one loss for each trajectory.
    """
    if losses is not None and np.shape(losses) != (len(demonstrations),):
        raise InputError(
            f"losses have shape {np.shape(losses)}; give one for each of {len(demonstrations)} trajectories"
        )
    raw, demonstrations = demonstrations, demonstrations.encoded  # an angle that comes round is no jump
    spreads = spread(demonstrations)
    shapes = np.empty((len(demonstrations), _POINTS * sum(map(len, spreads))), np.float32)
    pauses, largest = [], np.empty((len(demonstrations), len(spreads[0])))
    times = np.linspace(0, 1, _POINTS)
    still = _still(demonstrations, spreads[0])
    for place, (start, length) in enumerate(zip(demonstrations.starts, demonstrations.lengths, strict=True)):
        rows = slice(start, start + length)
        states = demonstrations.vectors(rows) / spreads[0]
        both = np.concatenate([states, demonstrations.action_vectors(rows) / spreads[1]], axis=1)
        shapes[place] = at_times(both, times).ravel()
        steps = np.abs(np.diff(states, axis=0))
        pauses.append(_longest(steps.max(axis=1) < still))
        largest[place] = steps.max(axis=0)
    found = list(_duplicates(demonstrations, shapes))
    if len(demonstrations) >= 5:
        found += _stalls(demonstrations, pauses)
        found += _jumps(demonstrations, largest)
        found += _limits(raw)
        if losses is not None:
            found += _far(demonstrations, np.asarray(losses, np.float64))
    return sorted(found, key=lambda suspect: (-suspect.score, suspect.trajectory))


def _suspect(demonstrations: Demonstrations, place: int, kind: str, score: float, reason: str) -> Suspect:
    name = str(place) if demonstrations.identities is None else demonstrations.identities[place]
    return Suspect(place, name, kind, round(float(score), 2), reason)


def _far(demonstrations: Demonstrations, losses: Floats) -> Iterator[Suspect]:
    """Yield those whose loss is an outlier, on a logarithmic scale, on which losses are nearly symmetric."""
    middle = float(np.median(losses))
    if middle <= 0:
        return
    logarithms = np.log(np.maximum(losses, 1e-3 * middle))
    away = logarithms - np.log(middle)
    deviation = max(1.4826 * float(np.median(np.abs(away))), 0.1)
    for place in np.flatnonzero(away > _FAR * deviation):
        reason = f"far from all modes: its loss is {losses[place] / middle:.1f} times the usual {middle:.3g}"
        yield _suspect(demonstrations, int(place), "far", away[place] / deviation / _FAR, reason)


def _still(demonstrations: Demonstrations, scale: Floats) -> float:
    """Return the motion in a step, of the column that moves most, below which a trajectory stands still."""
    places = range(0, len(demonstrations), -(-len(demonstrations) // _ENOUGH))
    motions = []
    for place in places:
        rows = slice(demonstrations.starts[place], demonstrations.starts[place] + demonstrations.lengths[place])
        motions.append(np.abs(np.diff(demonstrations.vectors(rows) / scale, axis=0)).max(axis=1))
    moving = np.concatenate(motions)
    return _STILL * float(np.median(moving[moving > 0])) if (moving > 0).any() else 0.0


def _stalls(demonstrations: Demonstrations, pauses: list[tuple[int, int]]) -> Iterator[Suspect]:
    """Yield those that stand still for longer than the others do; a pause has its first step and its length."""
    changes = demonstrations.lengths - 1
    shares = np.array([length for _, length in pauses]) / changes
    limit = max(_PAUSE, _MORE * float(np.median(shares)))
    for place in np.flatnonzero((shares >= limit) & (demonstrations.lengths >= 5)):
        start, length = pauses[place]
        reason = f"hardly moves for {length:,} of {changes[place]:,} steps, from step {start:,}"
        yield _suspect(demonstrations, int(place), "stall", shares[place] / limit, reason)


def _longest(flags: NDArray[np.bool_]) -> tuple[int, int]:
    """Return where the longest stretch of true values starts, and its length."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    best = int(lengths.argmax())
    return int(starts[best]), int(lengths[best])


def _jumps(demonstrations: Demonstrations, largest: Floats) -> Iterator[Suspect]:
    """Yield those with a step in a column, (trajectories, columns), far larger than the largest of the others."""
    usual = np.quantile(largest, 0.9, axis=0, method="lower")
    scores = largest / np.maximum(_JUMP * usual, 1.0)
    for place in np.flatnonzero(scores.max(axis=1) >= 1):
        column = int(scores[place].argmax())
        start = demonstrations.starts[place]
        changes = np.diff(demonstrations.vectors(slice(start, start + demonstrations.lengths[place]))[:, column])
        step = int(np.abs(changes).argmax())
        name = column_names(demonstrations, "observations")[column]
        times = largest[place, column] / usual[column] if usual[column] else np.inf
        beside = f", {times:.0f} times the usual largest step" if times < 1000 else ", where others hardly change"
        reason = f"jumps after step {step:,}: {name} by {changes[step]:+.3g}{beside}"
        yield _suspect(demonstrations, int(place), "jump", scores[place, column], reason)


def _limits(demonstrations: Demonstrations) -> Iterator[Suspect]:
    """Yield those that have an action at its least or greatest value for more of the time than the others."""
    actions = demonstrations.actions
    if actions.dtype.kind != "f":
        return
    low, high = limits_of(actions)
    slack = 1e-3 * (high - low)
    ranges = zip(demonstrations.starts, demonstrations.lengths, strict=True)
    parts = (actions[start : start + length] for start, length in ranges)
    at_limit = [((part <= low + slack) | (part >= high - slack)).sum(axis=0) for part in parts]
    shares = np.stack(at_limit) * (high > low) / demonstrations.lengths[:, None]
    limits = np.maximum(_LIMIT, _MORE * np.median(shares, axis=0))
    scores = shares / limits
    names = column_names(demonstrations, "actions")
    for place in np.flatnonzero(scores.max(axis=1) >= 1):
        column = int(scores[place].argmax())
        share = shares[place, column]
        reason = f"{names[column]} is at its least or greatest value in {share:.0%} of the steps"
        yield _suspect(demonstrations, int(place), "limit", scores[place, column], reason)


def _duplicates(demonstrations: Demonstrations, shapes: NDArray[np.float32]) -> Iterator[Suspect]:
    """Yield those that are nearly the same as an earlier one."""
    from scipy.spatial import cKDTree

    count = len(shapes)
    if count < 2:
        return
    mixing = np.random.default_rng(0).normal(size=(shapes.shape[1], 8)) / np.sqrt(shapes.shape[1])
    places = np.round(shapes @ mixing, 6)  # distances stay about the same, and a tree finds neighbours fast
    near = cKDTree(places).query(places, k=2)[1]
    other = np.where(near[:, 0] == np.arange(count), near[:, 1], near[:, 0])
    varying = max(1, int((np.ptp(shapes, axis=0) > 0).sum()))
    apart = np.sqrt(((shapes - shapes[other]) ** 2).sum(axis=1) / varying)
    level = min(_ALIKE, _CLOSER * float(np.median(apart)))
    names, lengths = identities_of(demonstrations), demonstrations.lengths
    for place in range(count):
        same = apart[place] <= max(level, 1e-6) and abs(lengths[place] - lengths[other[place]]) <= 1
        if same and (other[place] < place or other[other[place]] != place):
            score = min(100.0, max(level, 1e-6) / max(apart[place], 1e-8))
            yield _suspect(demonstrations, int(place), "duplicate", score, f"nearly the same as {names[other[place]]}")
