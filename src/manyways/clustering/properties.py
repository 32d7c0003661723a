"""Numbers that one would name of a trajectory: where it starts and ends, how fast it is, how it turns.

Modes often differ in one of them alone, which an embedding of everything hides: the place where people leave, among
random walks there; the level of one column among sixty; the direction of a single fast movement.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import inverse_std
from manyways.demonstrations.vectors import column_names

_END = 0.05  # share of the steps that are the start, or the end
_MOST_COLUMNS = 100  # of states; with more, each alone says little
_MOST_IN_PAIRS = 8  # columns of which pairs are looked at
_NEAR = 8  # a crossing is measured on the nearest eighth of the steps
_SMALLEST = 1e-6  # in standard deviations, for logarithms
_PARTS = 3  # of a trajectory, in which its turns are measured
_SAME_RADIUS = 0.1  # standard deviation of the length of a direction, at most, as a share of the length
_ONE_DIRECTION = 0.9  # least mean length of the gesture, below which its direction is ambiguous

Floats = NDArray[np.floating[Any]]


def properties(states: Floats, actions: Floats, zero: Floats) -> dict[str, Floats]:
    """Return the properties of one trajectory by their names, each a row of numbers.

    Args:
        states: (steps, n), normalised.
        actions: (steps, m), normalised.
        zero: (m,), the action 0, normalised.
    """
    steps, size = states.shape
    raw = actions - zero
    norms = np.linalg.norm(raw, axis=1)
    found: dict[str, Floats] = {
        "length": np.array([steps], np.float64),
        "action level": actions.mean(axis=0),
        "action spread": _spread(actions),
        "effort": np.log(norms + _SMALLEST).mean(keepdims=True),
        "gesture": _gesture(raw),
    }
    if 2 <= raw.shape[1] <= _MOST_IN_PAIRS:
        found["turn"] = _turns(raw)
    if size > _MOST_COLUMNS:
        return found
    end = max(1, int(_END * steps))
    found |= {
        "start": states[:end].mean(axis=0),
        "end": states[-end:].mean(axis=0),
        "level": states.mean(axis=0),
        "least": states.min(axis=0),
        "greatest": states.max(axis=0),
        "spread": _spread(states),
        "speed": np.log(np.sqrt(np.square(np.diff(states, axis=0)).mean(axis=0)) + _SMALLEST),
        "rhythm": _rhythms(states),
    }
    if size <= _MOST_IN_PAIRS:
        found["crossing"] = _crossings(states)
    return found


def property_names(demonstrations: Demonstrations) -> list[tuple[str, str]]:
    """Return the name of each property and what it is of, in the order of `properties`."""
    states, actions = (column_names(demonstrations, what) for what in ("observations", "actions"))
    state, action = np.zeros((2, len(states))), np.zeros((2, len(actions)))
    planes = [f"{one}, {other}" for one, other in _pairs(actions)]
    of = {
        "length": [""],
        "effort": [""],
        "turn": [f"{plane}{part}" for plane in planes for part in ("", *(f", part {n + 1}" for n in range(_PARTS)))],
        "crossing": [f"{other} at the mean of {one}" for one in states for other in states if one != other],
    }
    names = []
    for kind, values in properties(state, action, np.zeros(len(actions))).items():
        alike = actions if kind in ("action level", "action spread", "gesture") else states
        names += [(kind, column) for column in of.get(kind, alike)]
        assert len(of.get(kind, alike)) == len(values), kind
    return names


def tabulated(demonstrations: Demonstrations, mean: Floats, scale: Floats) -> Floats:
    """Return the properties of every trajectory, (trajectories, properties).

    Args:
        demonstrations: of any lengths.
        mean: (states and actions,).
        scale: (states and actions,), inverse standard deviations.
    """
    rows = []
    for start, length in zip(demonstrations.starts, demonstrations.lengths, strict=True):
        steps = slice(start, start + length)
        rows.append(as_row(demonstrations.vectors(steps), demonstrations.action_vectors(steps), mean, scale))
    return np.array(rows)


def as_row(observations: Floats, actions: Floats, mean: Floats, scale: Floats) -> Floats:
    """Return the properties of one trajectory in a row, (properties,)."""
    size = observations.shape[1]
    states, normal = (observations - mean[:size]) * scale[:size], (actions - mean[size:]) * scale[size:]
    return np.concatenate([*properties(states, normal, -mean[size:] * scale[size:]).values()])


def without_directions(values: Floats, kinds: list[str], demonstrations: Demonstrations) -> Floats:
    """Return properties (trajectories, properties) in which crossings of the columns of a direction are 0.

    A cosine crosses its mean where the sine is 1 or -1. That tells no modes apart.
    """
    states = demonstrations.vectors()
    size = states.shape[1]
    crossings = np.flatnonzero(np.array(kinds) == "crossing")
    pairs = [(one, other) for one in range(size) for other in range(size) if one != other]
    values = values.copy()
    for place, (one, other) in zip(crossings, pairs, strict=False):
        radii = np.hypot(states[:, one], states[:, other])
        if radii.std() < _SAME_RADIUS * radii.mean():
            values[:, place] = 0
    return values


def normalisation(demonstrations: Demonstrations) -> tuple[Floats, Floats]:
    """Return mean and inverse standard deviation of the columns of states and actions."""
    both = demonstrations.vectors(), demonstrations.action_vectors()
    mean = np.concatenate([values.mean(axis=0, dtype=np.float64) for values in both])
    return mean, np.concatenate([inverse_std(values) for values in both])


def on_lines(values: Floats, kinds: list[str]) -> Floats:
    """Return properties (trajectories, properties) as numbers that lie on a line, where modes leave gaps.

    The direction of a gesture in a plane is an angle, which begins where directions are rarest. Where trajectories have
    several fast movements in different directions, it is left out (0).
    """
    places = np.flatnonzero(np.array(kinds) == "gesture")
    values = values.copy()
    if np.linalg.norm(values[:, places], axis=1).mean() < _ONE_DIRECTION:
        values[:, places] = 0
    elif len(places) == 2:
        angles = np.arctan2(*values[:, places[::-1]].T)
        around = np.sort(angles)
        rarest = np.diff(np.append(around, around[0] + 2 * np.pi)).argmax()
        begin = around[(rarest + 1) % len(around)]
        values[:, places] = np.stack([(angles - begin + 1e-9) % (2 * np.pi), np.zeros(len(angles))], axis=1)
    return values


def _pairs(names: list[str]) -> Iterator[tuple[str, str]]:
    return ((one, other) for place, one in enumerate(names) for other in names[place + 1 :])


def _varying(columns: Floats) -> Floats:
    """Return columns less their means; one that does not vary is 0, without the mean's rounding."""
    moved = columns - columns[0]
    return np.asarray(moved - moved.mean(axis=0))


def _spread(columns: Floats) -> Floats:
    return np.asarray(np.log(_varying(columns).std(axis=0) + _SMALLEST))


def _rhythms(states: Floats) -> Floats:
    """Return the logarithm of each column's mean frequency, with the squares of its power as weights."""
    steps = len(states)
    waves = _varying(states) * np.hanning(steps + 2)[1:-1, None]
    power = np.abs(np.fft.rfft(waves, 2 * steps, axis=0))[1:] ** 4
    frequencies = np.arange(1, len(power) + 1)[:, None] / (2 * steps)
    return np.asarray(np.log((frequencies * power).sum(axis=0) / (power.sum(axis=0) + 1e-12) + _SMALLEST))


def _gesture(actions: Floats) -> Floats:
    """Return the direction of the greatest actions; shorter than 1 where those have several directions."""
    width = max(1, len(actions) // 200)
    sums = np.cumsum(np.concatenate([np.zeros((1, actions.shape[1])), actions]), axis=0)
    smooth = (sums[width:] - sums[:-width]) / width
    norms = np.linalg.norm(smooth, axis=1)
    weights = (norms / (norms.max() + 1e-12)) ** 4
    return np.asarray((weights[:, None] * smooth).sum(axis=0) / ((weights * norms).sum() + 1e-12))


def _crossings(states: Floats) -> Floats:
    """Return the value of each column where each other one crosses its mean, by a line through what is near."""
    found = []
    for column in range(states.shape[1]):
        near = np.argsort(np.abs(states[:, column]))[: max(4, len(states) // _NEAR)]
        along, others = states[near, column], np.delete(states[near], column, axis=1)
        centred = along - along.mean()
        slopes = (centred[:, None] * (others - others.mean(axis=0))).sum(axis=0) / (np.square(centred).sum() + 1e-9)
        found.append(others.mean(axis=0) - slopes * along.mean())
    return np.concatenate(found)


def _turns(actions: Floats) -> Floats:
    """Return how far the action turns in each plane of two columns, in all and about each part, about in radians.

    The weight of a part falls off linearly: something sudden, as when a gripper closes, is not in one part or another.
    """
    one, other = np.triu_indices(actions.shape[1], 1)
    x, y = np.ascontiguousarray(actions.T[one]), np.ascontiguousarray(actions.T[other])  # (planes, steps)
    across, along = x[:, :-1] * y[:, 1:] - y[:, :-1] * x[:, 1:], (np.square(x) + np.square(y))[:, 1:]
    times = np.linspace(0, _PARTS - 1, max(1, len(actions) - 1))
    near = np.maximum(0, 1 - np.abs(times[:, None] - np.arange(_PARTS)))
    weights = np.concatenate([np.ones((len(times), 1)), near], axis=1)  # (steps, 1 + parts)
    return np.asarray(((across @ weights) / (along @ weights + 1e-9)).ravel() * len(actions))
