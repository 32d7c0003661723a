"""Settings that follow from the demonstrations, where the user gives none.

A trained agent's action depends on what it sees now, and its noise at one step says nothing of the next. A person's
depends on more: errors last, reactions are late, and movements are chosen in stretches. So this measures how far errors
persist. Where they do, the policy sees two observations and plans a stretch of actions.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from manyways.demonstrations import Demonstrations

if TYPE_CHECKING:
    from manyways.algorithms.settings import Cloning

Settings = TypeVar("Settings", bound="Cloning")

_PERSISTENT = 0.4  # share of an error's variance that the error before it explains; more is a person's
_TRAJECTORIES = 150  # at most
_FEATURES = 500  # random, of an observation
_RIDGE = 1e-4  # the penalty, as a share of the steps
_FARTHEST = 10.0  # standard deviations


def persistence(demonstrations: Demonstrations, seed: int = 0) -> float:
    """Return which share of the variance of an error the error at the step before explains, 0 to 1.

    The errors are those of a regression from the present observation to the action, on trajectories left out, less each
    trajectory's mean error, which tells of its mode. The regression is linear in random features (Rahimi & Recht 2008).

    Args:
        demonstrations: of any lengths.
        seed: of the features, and of the trajectories left out.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(demonstrations))[:_TRAJECTORIES]
    some = demonstrations.select(np.sort(order))
    inputs, actions = (_normalized(values) for values in (some.vectors(), some.action_vectors()))
    weights = rng.standard_normal((inputs.shape[1], _FEATURES)) / np.sqrt(inputs.shape[1])
    hidden = np.tanh(1.5 * inputs @ weights + rng.standard_normal(_FEATURES))
    features = np.concatenate([hidden, inputs, np.ones((len(inputs), 1))], axis=1)
    owners = some.trajectory_of(np.arange(some.steps))
    left_out = np.isin(owners, rng.permutation(len(some))[: max(2, len(some) // 5)])
    if left_out.all():
        left_out[:] = False
    known = features[~left_out]
    gram = known.T @ known + _RIDGE * len(known) * np.eye(known.shape[1])
    errors = actions - features @ np.linalg.solve(gram, known.T @ actions[~left_out])
    errors -= np.add.reduceat(errors, some.starts)[owners] / some.lengths[owners][:, None]
    if left_out.any():
        rows = np.flatnonzero(left_out[1:] & (owners[1:] == owners[:-1])) + 1
    else:
        rows = np.flatnonzero(owners[1:] == owners[:-1]) + 1
    before, now = errors[rows - 1], errors[rows]
    slope = (before * now).sum(axis=0) / np.maximum((before**2).sum(axis=0), 1e-12)
    return float(1 - ((now - slope * before) ** 2).sum() / max((now**2).sum(), 1e-12))


def _normalized(values: Any) -> Any:
    """Return columns with mean 0 and variance 1, clipped far away; constant ones are 0."""
    values = np.asarray(values, np.float64)
    std = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(std > 1e-12 * np.abs(values).max(axis=0), std, np.inf)
    return scaled.clip(-_FARTHEST, _FARTHEST)


def resolve(settings: Settings, demonstrations: Demonstrations) -> Settings:
    """Return the settings with a value for each that the user left open.

    Args:
        settings: of an algorithm that clones.
        demonstrations: the training data.
    """
    if any(getattr(settings, name) is None for name in settings.person):
        persistent = persistence(demonstrations, settings.seed) >= _PERSISTENT
        settings = _filled(settings, settings.person if persistent else settings.agent)
    return _filled(settings, settings.batches[settings.optimizer or ""])


def _filled(settings: Settings, values: dict[str, Any]) -> Settings:
    """Return the settings with these values where they have None."""
    return replace(settings, **{name: value for name, value in values.items() if getattr(settings, name) is None})
