"""Settings that follow from the demonstrations, where the user gives none.

A trained agent's action depends on what it sees now, and its noise at one step says nothing of the next. A person's
depends on more: errors last, reactions are late, and movements are chosen in stretches. So this measures how far errors
persist. Where they do, the policy sees two observations and plans a stretch of actions.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized
from manyways.demonstrations.spaces import choices_of, entry_spaces
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian

if TYPE_CHECKING:
    from manyways.algorithms.settings import Cloning

Settings = TypeVar("Settings", bound="Cloning")

_PERSISTENT = 0.35  # share of an error's variance that the error before it explains; more is a person's
_STEPS = 20_000  # about as many are enough
_LEAST_TRAJECTORIES = 10
_FEATURES = 500  # random, of an observation
_DRAWS = 3  # of the features and of the trajectories left out
_RIDGES = (1e-4, 1e-2, 1.0)  # penalties, as shares of the steps; the one with the least errors counts
_MUCH = 15_000  # steps, from which a large network overfits less than a small one lacks
# Of the large network's training.
_PASSES = 60
_BATCH = 256  # steps
_ITERATIONS = (3000, 12_000)


def persistence(demonstrations: Demonstrations) -> float:
    """Return which share of the variance of an error the error at the step before explains, 0 to 1.

    The errors are those of a regression from the present observation to the action, on trajectories left out, less each
    trajectory's mean error, which tells of its mode. The regression is linear in random features (Rahimi & Recht 2008).
    Of three such regressions the middle one counts: where robots fall, a few trajectories left out decide much.

    Args:
        demonstrations: of any lengths.
    """
    return sorted(_persistence(demonstrations, seed) for seed in range(_DRAWS))[_DRAWS // 2]


def is_of_people(demonstrations: Demonstrations) -> bool:
    """Return whether errors persist so far that demonstrations are taken for people's."""
    return persistence(demonstrations) >= _PERSISTENT


def _persistence(demonstrations: Demonstrations, seed: int) -> float:
    """Return it by one regression; the seed is of its features and of the trajectories left out."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(demonstrations))
    enough = int(np.searchsorted(np.cumsum(demonstrations.lengths[order]), _STEPS)) + 1
    some = demonstrations.select(np.sort(order[: max(enough, _LEAST_TRAJECTORIES)]))
    inputs, actions = (normalized(values) for values in (some.vectors(), some.action_vectors()))
    weights = rng.standard_normal((inputs.shape[1], _FEATURES)) / np.sqrt(inputs.shape[1])
    hidden = np.tanh(1.5 * inputs @ weights + rng.standard_normal(_FEATURES))
    features = np.concatenate([hidden, inputs, np.ones((len(inputs), 1))], axis=1)
    owners = some.trajectory_of(np.arange(some.steps))
    left_out = np.isin(owners, rng.permutation(len(some))[: max(2, len(some) // 5)])
    if left_out.all():
        left_out[:] = False
    measured = left_out if left_out.any() else ~left_out
    known = features[~left_out]
    gram, products = known.T @ known, known.T @ actions[~left_out]
    tried = [
        actions - features @ np.linalg.solve(gram + ridge * len(known) * np.eye(len(gram)), products)
        for ridge in _RIDGES
    ]
    errors = min(tried, key=lambda values: np.square(values[measured]).sum())
    errors -= np.add.reduceat(errors, some.starts)[owners] / some.lengths[owners][:, None]
    rows = np.flatnonzero(measured[1:] & (owners[1:] == owners[:-1])) + 1
    before, now = errors[rows - 1], errors[rows]
    slope = (before * now).sum(axis=0) / np.maximum((before**2).sum(axis=0), 1e-12)
    return float(1 - ((now - slope * before) ** 2).sum() / max((now**2).sum(), 1e-12))


def resolve(settings: Settings, demonstrations: Demonstrations) -> Settings:
    """Return the settings with a value for each that the user left open.

    Args:
        settings: of an algorithm that clones.
        demonstrations: the training data.
    """
    if isinstance(getattr(settings, "prior", None), Gaussian) or choices_of(demonstrations.action_space) is not None:
        settings = _filled(settings, {"details": 1})
    # Of images this regression sees too little to tell a person's errors from its own: there, plans are people's.
    pictures = any(len(box.shape) > 1 for box in entry_spaces(demonstrations.observation_space).values())
    planned = pictures and (settings.horizon or 1) > 1
    if planned or any(getattr(settings, name) is None for name in settings.person):
        # The same data get the same network with every seed.
        persistent = planned if pictures else is_of_people(demonstrations)
        settings = _filled(settings, settings.person if persistent else settings.agent)
        if persistent and demonstrations.steps >= _MUCH:
            settings = _filled(settings, settings.large)
    if settings.network == "residual":
        passes = round(_PASSES * demonstrations.steps / _BATCH)
        settings = _filled(settings, {"iterations": min(max(_ITERATIONS[0], passes), _ITERATIONS[1]), "keep": "last"})
        if getattr(settings, "prior", None) == Categorical(1):  # there is no code to search on several steps
            settings = _filled(settings, {"trajectories_per_batch": _BATCH, "steps_per_trajectory": 1})
    settings = _filled(settings, settings.small)
    return _filled(settings, settings.batches[settings.optimizer or ""])


def _filled(settings: Settings, values: dict[str, Any]) -> Settings:
    """Return the settings with these values where they have None."""
    open_ = {name: value for name, value in values.items() if getattr(settings, name, value) is None}
    return replace(settings, **open_)


def require_few_codes(prior: Any, demonstrations: Demonstrations) -> None:
    """Raise `InputError` where there are more codes than trajectories."""
    if isinstance(prior, Categorical) and prior.size > len(demonstrations):
        raise InputError(
            f"{prior.size} codes are more than the {len(demonstrations)} trajectories; "
            "give at most as many modes as trajectories"
        )
