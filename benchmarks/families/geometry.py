"""Directions past a pole, and when it is passed."""

import numpy as np

from families.base import Floats, Integers


def around(place: Floats, pole: Floats, target: Floats, detour: Floats, width: float) -> Floats:
    """Return directions of unit length, (n, d), that lead past a pole and to a target.

    Far from the pole they lead to the line from the pole to the target; beside it, to the line moved by the detour.

    Args:
        place: (n, d), where one is.
        pole: (n, d).
        target: (n, d).
        detour: (n, d), from the pole to the point through which to pass.
        width: how far ahead of the pole the detour begins, in units of length.
    """
    ahead = unit(target - pole)
    progress = ((place - pole) * ahead).sum(axis=1, keepdims=True)
    beside = place - pole - progress * ahead
    detour = detour - (detour * ahead).sum(axis=1, keepdims=True) * ahead  # else it could lead back
    bump = np.exp(-0.5 * (progress / width) ** 2)
    wanted = ahead + detour * bump * -progress / width**2 + 3 / width * (detour * bump - beside)
    past = 1 / (1 + np.exp(-(progress - 0.8 * width) / (0.2 * width)))
    return unit((1 - past) * unit(wanted) + past * unit(target - place))


def unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def rotation(angle: float) -> Floats:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def crossing(progress: Floats, last: Integers) -> Integers:
    """Return the last step up to `last` at which the progress (steps, n) past a pole turns positive, (n,)."""
    steps = np.arange(len(progress))[:, None]
    before = (progress < 0) & (steps <= last)
    return np.minimum(np.where(before, steps, -1).max(axis=0) + 1, last)
