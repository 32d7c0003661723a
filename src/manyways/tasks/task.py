"""Tasks: an environment with modes, an expert with the mode as an input, and the picture of a trajectory."""

import importlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.spaces import Space, describe, fits
from manyways.errors import InputError
from manyways.tasks.base import Base
from manyways.tasks.expert import Expert, TargetReturn
from manyways.tasks.frames import ObservationFrame
from manyways.tasks.mode_rewards import EnvPoolModeRewards, ModeRewards, Rewards
from manyways.tasks.modes import DiscreteModes, Modes
from manyways.tasks.rollouts import Act, Measure
from manyways.tasks.spaces import share_outside

if TYPE_CHECKING:
    from manyways.demonstrations import Demonstrations

Floats = NDArray[np.floating[Any]]

_PLAIN = ObservationFrame()
_ENVIRONMENT = ("environment", "modes", "episode_steps", "base", "rewards", "entry_point")


@dataclass(frozen=True)
class Picture:
    """The picture of a trajectory in a plane.

    Attributes:
        points: from observations (steps, ...), or a dictionary of such arrays, to points (steps, 2).
        labels: of the two axes, with units.
    """

    points: Callable[[Any], Floats]
    labels: tuple[str, str]


@dataclass(frozen=True)
class Task:
    """One task: Section 4.1, Appendix B, or your own (docs/tasks.md).

    Attributes:
        name: for the command line.
        environment: its Gymnasium id; the task registers it on first use.
        modes: the ground truth.
        episode_steps: the time limit.
        demonstrations: how many episodes `collect` makes by default.
        picture: of a trajectory.
        base: the environment underneath, to which `rewards` adds the modes; None with an `entry_point`.
        rewards: the reward under each mode, (n, modes), from a step of n environments.
        entry_point: of an environment that has modes itself, its single and its vector form for Gymnasium's registry.
        scripted_expert: from observations of n environments and modes (n,) to actions (n, ...); None if the expert is a
            trained network.
        weights: folder of the trained expert; None for the one that comes with manyways, if any.
        expert_observes: from the task's observations and `info` to the expert's observations, (n, dimensions). With
            `lambda observations, info: info["state"]` the expert acts on a state, and the policy on a picture.
        noise: on the expert's actions in demonstrations, so that they show how to correct small mistakes: for a box, a
            standard deviation in halves of the range; for choices, a probability.
        termination_fails: whether an episode that terminates has failed and is no demonstration; False if an end before
            the time limit is success.
        achieved: for continuous modes, the achieved mode at a step: from the observations after it and `info` to
            (n, dimensions of a mode).
        starting_steps: first steps of an episode, in which the mode cannot be achieved yet.
        frame: from observation and mode to a trained expert's inputs.
        target_return: of a trained expert; None for a script.
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
    scripted_expert: Callable[[Any, NDArray[Any]], NDArray[Any]] | None = None
    weights: Path | None = None
    expert_observes: Measure | None = None
    noise: float = 0.0
    termination_fails: bool = True
    achieved: Measure | None = None
    starting_steps: int = 0
    frame: ObservationFrame = _PLAIN
    target_return: TargetReturn | None = None

    @cached_property
    def trained_expert(self) -> Expert:
        """The trained network.

        Raises:
            InputError: there is none for this task, or its file is damaged.
        """
        if self.weights is not None:
            return Expert.load(self.weights, self.name)
        if not self.has_expert:
            raise InputError(
                f"{self.name} has no expert; train one with `manyways expert train {self.as_argument}` and give its "
                "folder as --weights, or declare Task(scripted_expert=...)"
            )
        return Expert.shipped(self.name)

    @property
    def has_expert(self) -> bool:
        """Whether there is an expert: a script, or a trained network."""
        trained = self.weights is not None or "trained_expert" in self.__dict__
        return self.scripted_expert is not None or trained or Expert.is_shipped(self.name)

    @property
    def as_argument(self) -> str:
        """The task's arguments for commands, such as `my_tasks:SWING --weights experts/swing`."""
        weights = "" if self.weights is None else f" --weights {shlex.quote(str(self.weights))}"
        return shlex.quote(_REFERENCES.get(self.name, self.name)) + weights

    def with_expert(self, expert: Expert) -> "Task":
        """Return the same task with another trained expert."""
        task = replace(self, scripted_expert=None)
        task.__dict__["trained_expert"] = expert  # the value of the cached property
        return task

    def require_expert(self) -> None:
        """Raise `InputError` if there is no expert."""
        if self.scripted_expert is None:
            _ = self.trained_expert

    def expert(self, observations: Any, modes: NDArray[Any], info: Mapping[str, Any] | None = None) -> NDArray[Any]:
        """Return the expert's actions (n, ...).

        Args:
            observations: of n environments.
            modes: (n, ...), one for each.
            info: of the environments; only needed if `expert_observes` reads it.

        Raises:
            InputError: there is no expert for this task.
        """
        observations = self.expert_observations(observations, info or {})
        if self.scripted_expert is not None:
            return np.asarray(self.scripted_expert(observations, modes))
        inputs = self.frame.inputs(observations, modes, self.modes)
        return self.frame.actions(self.trained_expert(inputs), modes, self.modes)

    def expert_observations(self, observations: Any, info: Mapping[str, Any]) -> Any:
        """Return the expert's observations, from the task's and `info`."""
        return observations if self.expert_observes is None else self.expert_observes(observations, info)

    def expert_under(self, modes: NDArray[Any]) -> Act:
        """Return the expert for n environments with these modes (n, ...), as `roll_out` and films need it.

        Raises:
            InputError: there is no expert for this task.
        """
        self.require_expert()
        return lambda observations, info: self.expert(observations, modes, info)

    def make(self, mode: ArrayLike | None = None, render_mode: str | None = None, **settings: Any) -> gym.Env[Any, Any]:
        """Make one environment under `mode`, None for the first; `settings` are those of the one underneath."""
        self._register()
        return gym.make(self.environment, mode=mode, render_mode=render_mode, disable_env_checker=True, **settings)

    def make_vec(self, num_envs: int, mode: ArrayLike | None = None, **settings: Any) -> VectorEnv[Any, Any, Any]:
        """Make the fast vector environment under `mode`, one for all or one for each."""
        self._register()
        return gym.make_vec(self.environment, num_envs, vectorization_mode="vector_entry_point", mode=mode, **settings)

    def _register(self) -> None:
        """Register the environment unless it is already registered with the same declaration."""
        task = _TASKS.get(self.name)
        if task is None or any(getattr(task, name) != getattr(self, name) for name in _ENVIRONMENT):
            register_task(self)

    @property
    def discrete_modes(self) -> DiscreteModes:
        """The modes, if they are discrete.

        Raises:
            InputError: they are continuous.
        """
        if not isinstance(self.modes, DiscreteModes):
            raise InputError(
                f"{self.name} has no list of modes but a range ({self.modes}), to which codes cannot be matched one to "
                "one; train with a continuous code (--code-size) to evaluate"
            )
        return self.modes

    @cached_property
    def spaces(self) -> tuple[Space, Space]:
        """The spaces of one environment's observations and actions.

        Raises:
            InputError: no policy can learn spaces of this kind.
        """
        environment = self.make_vec(1)
        environment.close()
        return environment.single_observation_space, environment.single_action_space

    def require_spaces(self, observation_space: Space, action_space: Space, what: str) -> None:
        """Raise `InputError` unless `what`, which has these spaces, fits the task's."""
        own = self.spaces
        if not (fits(observation_space, own[0]) and fits(action_space, own[1])):
            raise InputError(
                f"an observation of {what} is {describe(observation_space)}, an action {describe(action_space)}, but "
                f"of {self.name} {describe(own[0])} and {describe(own[1])}; use what was made for this task"
            )

    def actions_outside(self, demonstrations: "Demonstrations") -> float:
        """Return the share of demonstrated actions that lie outside the task's action space."""
        return share_outside(self.spaces[1], demonstrations.actions)

    def first_mode(self) -> Any:
        """Return the default mode of an environment."""
        return 0 if isinstance(self.modes, DiscreteModes) else np.array(self.modes.low)


_TASKS: dict[str, Task] = {}
_REFERENCES: dict[str, str] = {}  # from a task's name to its module:ATTRIBUTE, if it was imported


def register_task(task: Task) -> None:
    """Register a task by its name, and its environment with Gymnasium, in place of an earlier one."""
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


def get_task(name: str, weights: Path | None = None) -> Task:
    """Return the task of this name; `module:ATTRIBUTE` imports a user's own and registers it.

    Args:
        name: of the task.
        weights: folder of a trained expert, in place of the task's own.

    Raises:
        InputError: there is no such task, or no expert in that folder.
    """
    task = _TASKS[name] if name in _TASKS else _import_task(name)
    if weights is None:
        return task
    task = replace(task, scripted_expert=None, weights=weights)
    task.require_expert()
    return task


def _import_task(name: str) -> Task:
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
    # By this name too, which a run's folder has.
    _TASKS[name] = task
    _REFERENCES[task.name] = name
    return task


def make_single(
    task: str, mode: ArrayLike | None = None, render_mode: str | None = None, **settings: Any
) -> gym.Env[Any, Any]:
    """Make a task's environment in Gymnasium's form; Gymnasium's registry calls this."""
    declaration = get_task(task)
    assert declaration.base is not None
    assert declaration.rewards is not None
    return ModeRewards(
        declaration.base.make(render_mode, **settings),
        declaration.modes,
        declaration.rewards,
        declaration.first_mode() if mode is None else mode,
        declaration.episode_steps,
        declaration.base,
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
    declaration = get_task(task)
    base, rewards = declaration.base, declaration.rewards
    assert base is not None
    assert rewards is not None
    modes = declaration.modes.check(declaration.first_mode() if mode is None else mode, num_envs)
    if vector_form == "fastest" and base.uses_envpool():
        return EnvPoolModeRewards(
            lambda seeds: base.make_pool(seeds, max_episode_steps, **settings),
            num_envs,
            declaration.modes,
            rewards,
            modes,
            max_episode_steps,
            base,
        )
    return SyncVectorEnv(
        [partial(declaration.make, mode, **settings) for mode in modes], autoreset_mode=AutoresetMode.NEXT_STEP
    )
