"""What a policy observes of any environment, and how it acts there: the spaces of both, brought together."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from manyways.demonstrations import spaces
from manyways.demonstrations.formats.arrays import column_names
from manyways.errors import InputError
from manyways.policies.policy import Policy
from manyways.tasks.spaces import require_supported, within


def require_fit(policy: Policy, env: Any, name: str) -> None:
    """Raise `InputError` unless the policy can observe and act in the environment."""
    own, other = policy.observation_space, env.observation_space
    if not _fits(own, other):
        raise InputError(
            f"{name} observes {_described(other)}, but the policy {spaces.describe(own)}{_absent(own, other)}; use the "
            "environment of the demonstrations, or wrap it so that it observes the same"
        )
    if isinstance(env.action_space, gym.spaces.Discrete) and env.action_space.start:
        require_supported(own, env.action_space, name)
    if not spaces.fits(policy.action_space, env.action_space):
        raise InputError(
            f"an action of {name} is {_described(env.action_space)}, but the policy's is "
            f"{spaces.describe(policy.action_space)}; use the environment of the demonstrations, or wrap it"
        )


def observed_by(observation: Any, space: Any) -> Any:
    """Return what the policy observes of an environment's observation, in the shape that it knows.

    Columns of a dictionary become a vector by their names: ENTRY.0, ENTRY.1 and so on, or ENTRY if there is one.
    """
    if isinstance(space, gym.spaces.Dict):
        return {name: observed_by(observation[name], part) for name, part in space.items()}
    if isinstance(observation, dict):
        values: dict[str, Any] = {}
        needed = {*space.names, *(name.rpartition(".")[0] for name in space.names)}
        for entry, array in _entries(observation):
            if entry not in needed:  # such as pictures
                continue
            numbers = np.asarray(array).ravel()
            values |= zip(column_names(entry, len(numbers)), numbers, strict=True)
        return np.array([values[name] for name in space.names], space.dtype)
    return np.asarray(observation).reshape(space.shape)


def as_action(space: Any, action: Any) -> Any:
    """Return a policy's action as the environment of this action space takes it."""
    action = within(space, np.asarray(action)[None])[0]
    return int(action) if isinstance(space, gym.spaces.Discrete) else action.astype(space.dtype)


def _fits(own: Any, other: Any) -> bool:
    """Whether a policy can observe `own` of an environment that observes `other`; further entries have no use."""
    if isinstance(own, gym.spaces.Dict):
        return isinstance(other, gym.spaces.Dict) and all(
            name in other.spaces and _fits(space, other[name]) for name, space in own.items()
        )
    if isinstance(other, gym.spaces.Dict):
        names = getattr(own, "names", None)
        return names is not None and _columns(other).issuperset(names)
    if own.shape is None or other.shape is None:
        return False
    return bool(own.shape == other.shape or (other.shape == () and own.shape == (1,)))


def _columns(space: gym.spaces.Dict) -> set[str]:
    """Return the names of the columns of all entries that are numbers."""
    found: set[str] = set()
    for entry, part in _entries(space.spaces):
        if isinstance(part, gym.spaces.Box) and len(part.shape) <= 1:
            found.update(column_names(entry, int(np.prod(part.shape))))
    return found


def _entries(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of nested dictionaries, of spaces or arrays, under their path."""
    for name, value in values.items():
        inner = value.spaces if isinstance(value, gym.spaces.Dict) else value
        if isinstance(inner, dict):
            yield from _entries(inner, f"{above}{name}/")
        else:
            yield f"{above}{name}", value


def _absent(own: Any, other: Any) -> str:
    """Return in words which columns of the policy a dictionary has not."""
    names = getattr(own, "names", None)
    if not isinstance(other, gym.spaces.Dict) or names is None:
        return ""
    columns = _columns(other)
    return f", and the dictionary has no {next(name for name in names if name not in columns)}"


def _described(space: Any) -> str:
    try:
        return spaces.describe(space)
    except (AttributeError, TypeError):
        return str(space)
