"""What a task is: an environment with modes, an expert that is told the mode, and how to picture a trajectory."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.tasks import circles

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Task:
    """One task of the paper (Section 4.1, Appendix B).

    Attributes:
        name: what the command line calls it.
        environment: its Gymnasium id.
        modes: what each ground-truth mode is, in words for tables.
        expert: from observations (n, observation size) and mode indices (n,) to actions (n, action size).
        episode_steps: the longest episode.
        demonstrations: how many episodes are collected unless told otherwise.
        plane: the two observation columns whose path pictures a trajectory.
        plane_labels: what they are, with units.
    """

    name: str
    environment: str
    modes: tuple[str, ...]
    expert: Callable[[Floats, NDArray[np.integer[Any]]], Floats]
    episode_steps: int
    demonstrations: int
    plane: tuple[int, int]
    plane_labels: tuple[str, str]

    def make_vec(self, num_envs: int, mode: int | NDArray[np.integer[Any]] = 0) -> VectorEnv[Any, Any, Any]:
        """Make the fast vector environment; `mode` is rewarded, one for all or one each."""
        return gym.make_vec(self.environment, num_envs, vectorization_mode="vector_entry_point", mode=mode)

    def require_sizes(self, observation_size: int, action_size: int, what: str) -> None:
        """Raise `InputError` unless `what`, which has these sizes, fits the task's spaces."""
        environment = self.make_vec(1)
        shapes = (environment.single_observation_space.shape, environment.single_action_space.shape)
        environment.close()
        if shapes != ((observation_size,), (action_size,)):
            raise InputError(
                f"{what} has {observation_size} numbers an observation and {action_size} an action, but {self.name} "
                f"has {shapes[0]} and {shapes[1]}; use what was made for this task"
            )


_TASKS = {
    task.name: task
    for task in (
        Task(
            name="circles",
            environment="manyways/Circles-v0",
            modes=tuple(f"R = {radius:g} m" for radius in circles.RADII),
            expert=circles.expert_actions,
            episode_steps=circles.EPISODE_STEPS,
            demonstrations=500,
            plane=(2 * circles.HISTORY - 2, 2 * circles.HISTORY - 1),
            plane_labels=("x (m)", "y (m)"),
        ),
    )
}


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """Return the task of this name.

    Raises:
        InputError: there is none.
    """
    if name not in _TASKS:
        raise InputError(f"there is no task {name!r}; the tasks are {', '.join(_TASKS)}")
    return _TASKS[name]
