"""The environment of a trained expert: its observations are the inputs of the frame, its actions from -1 to 1."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.tasks import Task

Floats = NDArray[np.floating[Any]]


class ExpertEnvironment(VectorWrapper[Any, Any, Any]):
    """Many environments of a task, each with its own mode, which is an input too.

    Args:
        task: of the expert.
        num_envs: how many environments.
        modes: (environments, ...), their modes.

    Raises:
        InputError: the task's actions are not a box with bounds.
    """

    def __init__(self, task: Task, num_envs: int, modes: NDArray[Any]) -> None:
        super().__init__(task.make_vec(num_envs, modes))
        self._task = task
        self.modes = modes
        space: Any = self.env.single_action_space
        if not (isinstance(space, Box) and space.is_bounded()):
            raise InputError(
                f"the actions of {task.name} are {space}, but experts are trained for numbers between bounds; bound "
                "them, or declare Task(scripted_expert=...)"
            )
        self.action_scale = np.asarray(space.high, np.float32)
        inputs, _ = self.reset()
        self.single_observation_space = Box(-np.inf, np.inf, inputs.shape[1:], np.float32)
        self.single_action_space = Box(-1, 1, space.shape, np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _inputs(self, observations: Any, info: dict[str, Any]) -> Floats:
        expert_observations = self._task.expert_observations(observations, info)
        return self._task.frame.inputs(expert_observations, self.modes, self._task.modes)

    def reset(self, **arguments: Any) -> tuple[Floats, dict[str, Any]]:
        """Reset all environments."""
        observations, info = self.env.reset(**arguments)
        return self._inputs(observations, info), info

    def step(self, actions: Floats) -> tuple[Floats, Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step all environments with the expert's actions, in [-1, 1]."""
        scaled = self._task.frame.actions(actions, self.modes, self._task.modes) * self.action_scale
        observations, rewards, terminated, truncated, info = self.env.step(scaled)
        return self._inputs(observations, info), rewards, terminated, truncated, info
