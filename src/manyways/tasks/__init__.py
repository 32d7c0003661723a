"""Tasks: Gymnasium environments with the reward under every mode in `info["mode_rewards"]`, and their experts.

Importing `manyways` registers them. A task knows no algorithm.
"""

from manyways.tasks.base import Base
from manyways.tasks.circles import CIRCLES
from manyways.tasks.circles_images import CIRCLES_IMAGES
from manyways.tasks.expert import TargetReturn
from manyways.tasks.frames import Egocentric, ObservationFrame
from manyways.tasks.mode_rewards import ModeRewards, Step
from manyways.tasks.modes import ContinuousModes, DiscreteModes, angles, velocities
from manyways.tasks.mujoco import TASKS
from manyways.tasks.task import Picture, Task, get_task, register_task, task_names

__all__ = [
    "Base",
    "ContinuousModes",
    "DiscreteModes",
    "Egocentric",
    "ModeRewards",
    "ObservationFrame",
    "Picture",
    "Step",
    "TargetReturn",
    "Task",
    "angles",
    "get_task",
    "register_environments",
    "register_task",
    "task_names",
    "velocities",
]


def register_environments() -> None:
    """Register the paper's tasks, and their environments with Gymnasium."""
    for task in (CIRCLES, CIRCLES_IMAGES, *TASKS):
        register_task(task)
