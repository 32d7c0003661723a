"""Action spaces of tasks: bounds, random actions, noise."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from numpy.typing import NDArray

from manyways.demonstrations.spaces import choices_of
from manyways.errors import InputError

_ROUNDING = 1e-5  # of a range, by which an action may pass its bound


def require_supported(observation_space: Any, action_space: Any, name: str) -> None:
    """Raise `InputError` unless a policy can observe and act in the environment `name` with these spaces."""
    parts = observation_space.spaces.values() if isinstance(observation_space, Dict) else [observation_space]
    if not all(isinstance(part, Box) for part in parts):
        raise InputError(
            f"{name} observes {observation_space}; only arrays (Box) and dictionaries of them can be observed: wrap "
            "the environment so that it returns numbers"
        )
    if not isinstance(action_space, Box | Discrete | MultiDiscrete) or np.any(getattr(action_space, "start", 0)):
        raise InputError(
            f"the actions of {name} are {action_space}; only Box, Discrete and MultiDiscrete that start at 0 can be "
            "learned: wrap the environment"
        )


def within(space: Any, actions: NDArray[Any]) -> NDArray[Any]:
    """Return actions (n, ...) for the environments: clipped to a box, or as integers.

    Raises:
        InputError: they have another shape, or a discrete action is outside the space.
    """
    if np.shape(actions)[1:] != space.shape:
        raise InputError(f"actions have shape {np.shape(actions)}; give {space.shape} numbers for each environment")
    if isinstance(space, Box):
        return np.clip(actions, space.low, space.high)
    choices = np.asarray(actions).astype(np.int64)
    outside = _outside(space, choices)
    if outside.any():
        raise InputError(f"action {choices[outside][0]} is none of {space}; the actions must be integers of it")
    return choices


def share_outside(space: Any, actions: NDArray[Any]) -> float:
    """Return the share of actions (n, ...) that lie outside the space."""
    return float(_outside(space, actions).mean())


def random_actions(space: Any, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Return `count` actions drawn uniformly from the space, (count, ...)."""
    if isinstance(space, Box):
        return rng.uniform(space.low, space.high, (count, *space.shape))
    return rng.integers(0, choices_of(space).reshape(space.shape), (count, *space.shape))  # type: ignore[union-attr]


def with_noise(space: Any, actions: NDArray[Any], noise: float, rng: np.random.Generator) -> NDArray[Any]:
    """Return actions (n, ...) with noise.

    Args:
        space: of one action.
        actions: without noise.
        noise: for a box, the standard deviation of Gaussian noise, in halves of the range; for choices, the probability
            of a random choice.
        rng: of the noise.
    """
    if noise == 0:
        return actions
    if isinstance(space, Box):
        return actions + noise * (space.high - space.low) / 2 * rng.standard_normal(actions.shape)
    replace = (rng.random(len(actions)) < noise).reshape(-1, *[1] * len(space.shape))
    return np.where(replace, random_actions(space, len(actions), rng), actions)


def require_bounds(space: Any, name: str, otherwise: str) -> None:
    """Raise `InputError` where actions are real numbers without bounds."""
    if isinstance(space, Box) and not space.is_bounded():
        raise InputError(f"the actions of {name} have no bounds; give its action space finite ones, {otherwise}")


def require_noise(space: Any, noise: float, name: str) -> None:
    """Raise `InputError` where actions of the space cannot have this noise (see `with_noise`)."""
    if not noise >= 0:
        raise InputError(f"the noise is {noise}; give 0 or more")
    if noise > 0:
        require_bounds(space, name, "or a noise of 0")
    if noise > 1 and not isinstance(space, Box):
        raise InputError(f"the noise is {noise:g}, but of discrete actions it is a probability; give 0 to 1")


def _outside(space: Any, actions: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which actions (n, ...) lie outside the space, (n,)."""
    if isinstance(space, Box):
        low, high = space.low.astype(np.float64), space.high.astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite bounds
            slack = np.nan_to_num(_ROUNDING * (high - low), posinf=0.0)
        wrong = (actions < low - slack) | (actions > high + slack)
    else:
        wrong = (actions < 0) | (actions >= choices_of(space).reshape(space.shape))  # type: ignore[union-attr]
    return np.asarray(wrong.reshape(len(actions), -1).any(axis=1))
