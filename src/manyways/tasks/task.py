"""What a task is: an environment with modes, an expert that is told the mode, and how to picture a trajectory."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import ArrayLike, NDArray

from manyways.errors import InputError
from manyways.tasks.base import Base, has_envpool
from manyways.tasks.expert import Expert, Floor
from manyways.tasks.mode_rewards import EnvPoolModeRewards, ModeRewards, Rewards
from manyways.tasks.modes import DiscreteModes, Modes
from manyways.tasks.rollouts import Achieved
from manyways.tasks.views import View

Floats = NDArray[np.floating[Any]]

_PLAIN = View()


@dataclass(frozen=True)
class Picture:
    """How a trajectory is drawn in a plane.

    Attributes:
        points: from observations (steps, observation size) to points (steps, 2).
        labels: what the two numbers are, with units.
    """

    points: Callable[[Floats], Floats]
    labels: tuple[str, str]


@dataclass(frozen=True)
class Task:
    """One task: Section 4.1, Appendix B, or your own (docs/tasks.md).

    Attributes:
        name: what the command line calls it.
        environment: its Gymnasium id; `register_task` registers it.
        modes: the ground truth.
        episode_steps: the longest episode.
        demonstrations: how many episodes are collected unless told otherwise.
        picture: how a trajectory is drawn.
        base: the environment underneath, to which `rewards` adds the modes; None where `entry_point` makes it.
        rewards: the reward under each mode, from what happened at a step.
        entry_point: for an environment that has modes already, its two forms, as Gymnasium's registry takes them.
        scripted_expert: from observations (n, observation size) and modes (n,) to actions (n, action size); without
            one the expert is a network that was trained.
        noise: what disturbs the expert's actions in demonstrations, in halves of the action space's range, so that
            they also show how to come back from small mistakes.
        termination_fails: whether an episode that terminates has failed, so that it is no demonstration; False where
            an end before the time limit is success.
        achieved: for continuous modes, what is achieved at a step, in their units: from observations after it (n,
            observation size) and `info` to (n, numbers of a mode).
        starting_steps: at the start of an episode, in which nothing can be achieved yet.
        view: what a trained expert sees of observation and mode.
        floor: what a trained expert should reach; None where the expert is a script.
    """

    name: str
    environment: str
    modes: Modes
    episode_steps: int
    demonstrations: int
    picture: Picture
    base: Base | None = None
    rewards: Rewards | None = None
    entry_point: tuple[Any, Any] | None = None
    scripted_expert: Callable[[Floats, NDArray[Any]], Floats] | None = None
    noise: float = 0.0
    termination_fails: bool = True
    achieved: Achieved | None = None
    starting_steps: int = 0
    view: View = _PLAIN
    floor: Floor | None = None

    @cached_property
    def trained_expert(self) -> Expert:
        """The network that ships with the package.

        Raises:
            InputError: none has been trained for this task.
        """
        return Expert.shipped(self.name)

    def with_expert(self, expert: Expert) -> "Task":
        """Return the same task with another trained expert."""
        task = replace(self, scripted_expert=None)
        task.__dict__["trained_expert"] = expert  # where a cached property keeps its value
        return task

    def expert(self, observations: Floats, modes: NDArray[Any]) -> Floats:
        """Return what the expert does, (n, action size), for observations (n, observation size) and modes (n, ...).

        Raises:
            InputError: there is no expert for this task.
        """
        if self.scripted_expert is not None:
            return self.scripted_expert(observations, modes)
        done = self.trained_expert(self.view.inputs(observations, modes, self.modes))
        return self.view.actions(done, modes, self.modes)

    def make(self, mode: ArrayLike | None = None, render_mode: str | None = None, **settings: Any) -> gym.Env[Any, Any]:
        """Make one environment under `mode` (the first unless given); `settings` go to the one underneath."""
        return gym.make(self.environment, mode=mode, render_mode=render_mode, disable_env_checker=True, **settings)

    def make_vec(self, num_envs: int, mode: ArrayLike | None = None, **settings: Any) -> VectorEnv[Any, Any, Any]:
        """Make the fast vector environment; `mode` is rewarded, one for all or one each."""
        return gym.make_vec(self.environment, num_envs, vectorization_mode="vector_entry_point", mode=mode, **settings)

    @property
    def discrete_modes(self) -> DiscreteModes:
        """The modes, where they can be listed.

        Raises:
            InputError: they cannot.
        """
        if not isinstance(self.modes, DiscreteModes):
            raise InputError(
                f"{self.name} has no list of modes but a range ({self.modes}), to which codes cannot be matched one to "
                "one; train with a continuous code (--code-size) to evaluate"
            )
        return self.modes

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

    def first_mode(self) -> Any:
        """Return what an environment's mode is where nobody chose one."""
        return 0 if isinstance(self.modes, DiscreteModes) else np.array(self.modes.low)


_TASKS: dict[str, Task] = {}


def register_task(task: Task) -> None:
    """Make a task known by its name, and its environment to Gymnasium; one that is known already is replaced."""
    _TASKS[task.name] = task
    single, vector = task.entry_point or (f"{__name__}:make_single", f"{__name__}:make_vector")
    gym.registry.pop(task.environment, None)
    gym.register(
        id=task.environment,
        entry_point=single,
        vector_entry_point=vector,
        max_episode_steps=task.episode_steps,
        kwargs={} if task.entry_point else {"task": task.name},
    )


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_TASKS)


def get_task(name: str) -> Task:
    """Return the task of this name; `module:ATTRIBUTE` imports one's own and registers it.

    Raises:
        InputError: there is none.
    """
    if name in _TASKS:
        return _TASKS[name]
    module, separator, attribute = name.partition(":")
    if not separator:
        raise InputError(
            f"there is no task {name!r}; the tasks are {', '.join(_TASKS)}, or your own as module:ATTRIBUTE"
        )
    try:
        task = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"there is no task {name!r} ({error}); give module:ATTRIBUTE of a module on the path"
        ) from error
    if not isinstance(task, Task):
        raise InputError(f"{name} is a {type(task).__name__}, not a manyways.tasks.Task; give one")
    register_task(task)
    # By the name it was asked for too, since that is what a run's folder remembers.
    _TASKS[name] = task
    return task


def make_single(
    task: str, mode: ArrayLike | None = None, render_mode: str | None = None, **settings: Any
) -> gym.Env[Any, Any]:
    """Make a task's environment in Gymnasium's form; Gymnasium's registry calls this."""
    chosen = get_task(task)
    assert chosen.base is not None
    assert chosen.rewards is not None
    return ModeRewards(
        chosen.base.make(render_mode, **settings),
        chosen.modes,
        chosen.rewards,
        chosen.first_mode() if mode is None else mode,
        chosen.episode_steps,
        chosen.base,
    )


def make_vector(
    num_envs: int,
    task: str,
    max_episode_steps: int,
    mode: ArrayLike | None = None,
    vector_form: str = "fastest",
    **settings: Any,
) -> VectorEnv[Any, Any, Any]:
    """Make many of a task's environment, in EnvPool's form unless that is missing or `vector_form` is "gymnasium"."""
    chosen = get_task(task)
    base, rewards = chosen.base, chosen.rewards
    assert base is not None
    assert rewards is not None
    modes = chosen.modes.check(chosen.first_mode() if mode is None else mode, num_envs)
    if vector_form == "fastest" and base.in_envpool and has_envpool():
        return EnvPoolModeRewards(
            lambda seeds: base.make_pool(seeds, max_episode_steps, **settings),
            num_envs,
            chosen.modes,
            rewards,
            modes,
            max_episode_steps,
            base,
        )
    return SyncVectorEnv(
        [partial(chosen.make, mode, **settings) for mode in modes], autoreset_mode=AutoresetMode.NEXT_STEP
    )
