"""Rollouts with some random actions, so that a policy also learns from states after a mistake."""

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from manyways.errors import InputError


class RandomActions(VectorWrapper[Any, Any, Any]):
    """Replaces some actions by random ones, uniform over the whole action space.

    The learner does not see the replacement: it learns from the action that it gave, as if the environment were random.

    Args:
        environment: with bounded actions.
        share: the probability, independent for each step and environment.

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
        """Reset the environments; a seed also seeds the random actions."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step the environments, some with a random action."""
        random = self._rng.uniform(self._low, self._high, actions.shape).astype(actions.dtype)
        replace = self._rng.random(len(actions)) < self._share
        return self.env.step(np.where(replace[:, None], random, actions))
