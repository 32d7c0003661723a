"""Rollouts in which some actions are random, so that a policy also meets what follows a mistake."""

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from manyways.errors import InputError


class RandomActions(VectorWrapper[Any, Any, Any]):
    """The same environments, in which an action is now and then replaced by one drawn from the whole action space.

    To who learns in it that is chance in the environment: what he meant to do is what he is judged by.

    Args:
        environment: with bounded actions.
        share: the probability, for each step and environment by itself.

    Raises:
        InputError: the actions have no bounds.
    """

    def __init__(self, environment: VectorEnv[Any, Any, Any], share: float) -> None:
        super().__init__(environment)
        space: Any = environment.single_action_space
        if not space.is_bounded():
            raise InputError(f"actions of {space} have no bounds to draw from; leave out random actions")
        self._low, self._high = space.low, space.high
        self._share = share
        self._rng = np.random.default_rng()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environments, and with a seed the random actions too."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environments, some with another action."""
        drawn = self._rng.uniform(self._low, self._high, actions.shape).astype(actions.dtype)
        random = self._rng.random(len(actions)) < self._share
        return self.env.step(np.where(random[:, None], drawn, actions))
