"""What experts are trained in."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from manyways.tasks import Task

Floats = NDArray[np.floating[Any]]


class ExpertView(VectorWrapper[Any, Any, Any]):
    """A task's environment as its expert sees it: what it is told of the mode beside the observation."""

    def __init__(self, task: Task, num_envs: int, modes: NDArray[Any]) -> None:
        super().__init__(task.make_vec(num_envs, modes))
        self._task = task
        self.modes = modes
        space: Any = self.env.single_action_space
        self.action_scale = np.asarray(space.high, np.float32)
        inputs = self._inputs(np.zeros((num_envs, *self.env.single_observation_space.shape)))  # type: ignore[misc]
        self.single_observation_space = Box(-np.inf, np.inf, inputs.shape[1:], np.float32)
        self.single_action_space = Box(-1, 1, space.shape, np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _inputs(self, observations: Floats) -> Floats:
        return self._task.view.inputs(observations, self.modes, self._task.modes)

    def reset(self, **arguments: Any) -> tuple[Floats, dict[str, Any]]:
        """Reset all environments."""
        observations, info = self.env.reset(**arguments)
        return self._inputs(observations), info

    def step(self, actions: Floats) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step all environments with what the expert does, in [-1, 1]."""
        given = self._task.view.actions(actions, self.modes, self._task.modes) * self.action_scale
        observations, rewards, terminated, truncated, info = self.env.step(given)
        return self._inputs(observations), rewards, terminated, truncated, info
