"""Gymnasium environments whose `info["mode_rewards"]` has the reward under every mode, and their experts.

Importing `manyways` registers them. A task knows no algorithm.
"""

import gymnasium as gym

from manyways.tasks import circles
from manyways.tasks.task import Task, get_task, task_names

__all__ = ["Task", "get_task", "register_environments", "task_names"]


def register_environments() -> None:
    """Register every task's environment with Gymnasium; those registered already are left alone."""
    if "manyways/Circles-v0" not in gym.registry:
        gym.register(
            id="manyways/Circles-v0",
            entry_point="manyways.tasks.circles:CirclesEnv",
            vector_entry_point="manyways.tasks.circles:CirclesVectorEnv",
            max_episode_steps=circles.EPISODE_STEPS,
        )
