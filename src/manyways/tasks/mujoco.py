"""The paper's MuJoCo tasks (Section 4.1, Appendix B): their rewards and declarations.

A reward is computed for many environments and modes at once: from a step of n environments and the modes' values,
(1, modes) or (n, 1), to (n, modes).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.tasks.base import Base
from manyways.tasks.expert import TargetReturn
from manyways.tasks.frames import EgocentricAnt, EgocentricHumanoid
from manyways.tasks.mode_rewards import Step
from manyways.tasks.modes import ContinuousModes, DiscreteModes, angles, velocities
from manyways.tasks.task import Picture, Task

Floats = NDArray[np.floating[Any]]

HIT_DISTANCE = 0.05  # m, between gripper and goal
GRIPPER_START = np.array([1.34183227, 0.74910095, 0.53472720])  # m, of FetchReach after its reset


def ant(step: Step, angles: Floats) -> Floats:
    """Reward the torso's velocity in each direction, less effort and contact forces, and 1 for being alive."""
    return _along(step, angles) + (1 - 0.5 * step.effort + step.info["reward_contact"])[:, None]


def humanoid(step: Step, angles: Floats) -> Floats:
    """Reward the velocity of the centre of mass in each direction, less effort and contact, and 5 for being alive."""
    return 1.25 * _along(step, angles) + (5 - 0.1 * step.effort + step.info["reward_contact"])[:, None]


def half_cheetah_direction(step: Step, directions: Floats) -> Floats:
    """Reward the velocity in each direction, less effort."""
    return directions * step.info["x_velocity"][:, None] - 0.05 * step.effort[:, None]


def half_cheetah_velocity(step: Step, velocities: Floats) -> Floats:
    """Reward being close to the velocity, less effort."""
    return -np.abs(step.info["x_velocity"][:, None] - velocities) - 0.05 * step.effort[:, None]


def walk_at_velocity(step: Step, velocities: Floats) -> Floats:
    """Reward each velocity by its size, less the distance from it and effort, and 1 for being alive."""
    distances = np.abs(step.info["x_velocity"][:, None] - velocities)
    return np.abs(velocities) - distances + (1 - 0.001 * step.effort)[:, None]


def reach(step: Step, goals: Floats) -> Floats:
    """Reward 1 for the gripper being at the goal when the episode ends; goals are relative to the gripper's start."""
    distances = np.linalg.norm(step.observation[:, None, :3] - GRIPPER_START - goals, axis=-1)
    return ((distances < HIT_DISTANCE) & step.last[:, None]).astype(np.float64)


def reaching(observations: Floats, goals: Floats) -> Floats:
    """Return the actions (n, 4) of FetchReach's expert: straight to the goal (n, 3), slower from 10 cm on."""
    return np.pad(10 * (GRIPPER_START + goals - observations[:, :3]), ((0, 0), (0, 1)))


def show_goal(environment: Any, goal: Floats) -> None:
    """Draw the goal, relative to the gripper's start, in place of the environment's own."""
    environment.goal = GRIPPER_START + goal


def _along(step: Step, angles: Floats) -> Floats:
    """Return the velocity in each direction, (n, angles), in m/s."""
    x, y = step.info["x_velocity"], step.info["y_velocity"]
    return x[:, None] * np.cos(angles) + y[:, None] * np.sin(angles)


def _path_of(column: int, seconds: float) -> Picture:
    """Return the picture of the torso's path, from its observed velocity at two columns and the duration of a step."""

    def points(observations: Floats) -> Floats:
        path: Floats = np.cumsum(observations[:, column : column + 2] * seconds, axis=0)
        return path

    return Picture(points, ("x (m)", "y (m)"))


def _velocity_of(column: int, seconds: float) -> Picture:
    """Return the picture of the observed velocity at a column over time."""

    def points(observations: Floats) -> Floats:
        return np.column_stack([np.arange(len(observations)) * seconds, observations[:, column]])

    return Picture(points, ("time (s)", "velocity (m/s)"))


# The contact forces after the first 27 dimensions are not observed; EnvPool computes them only if they are there.
_ANT = Base("Ant-v5", {"healthy_z_range": (0.2, np.inf)}, observed=27, camera="track")
_CHEETAH = Base("HalfCheetah-v5", camera="track")
_WALKER_VELOCITIES = (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5)  # m/s
_HOPPER_VELOCITIES = (-2.0, -1.5, 0.5, 1.0, 1.5, 2.0)


def _walking(velocities: tuple[float, ...]) -> tuple[float, ...]:
    """Return 85% of the greatest return of 1000 steps at each velocity."""
    return tuple(0.85 * 1000 * (abs(velocity) + 1) for velocity in velocities)


_STARTING = 50  # steps in which a HalfCheetah reaches its speed


def _velocity_error(rewards: Floats, actions: Floats) -> Floats:
    """Return minus the mean distance from the mode's velocity after the start, in m/s."""
    errors: Floats = (rewards + 0.05 * np.square(actions).sum(axis=2))[:, _STARTING:].mean(axis=1)
    return errors


TASKS = (
    Task(
        name="ant-fwd-back",
        environment="manyways/AntFwdBack-v0",
        modes=angles(2),
        episode_steps=200,
        demonstrations=1000,
        picture=_path_of(column=13, seconds=0.05),
        base=_ANT,
        rewards=ant,
        frame=EgocentricAnt(),
        noise=0.1,
        target_return=TargetReturn(1068),
    ),
    Task(
        name="ant-dir-6",
        environment="manyways/AntDir6-v0",
        modes=angles(6),
        episode_steps=200,
        demonstrations=1200,
        picture=_path_of(column=13, seconds=0.05),
        base=_ANT,
        rewards=ant,
        frame=EgocentricAnt(),
        noise=0.1,
        target_return=TargetReturn(1031),
    ),
    Task(
        name="halfcheetah-fwd-back",
        environment="manyways/HalfCheetahFwdBack-v0",
        modes=DiscreteModes((-1.0, 1.0), ("backward", "forward")),
        episode_steps=200,
        demonstrations=1000,
        picture=_velocity_of(column=8, seconds=0.05),
        base=_CHEETAH,
        rewards=half_cheetah_direction,
        noise=0.1,
        target_return=TargetReturn(1686),
    ),
    Task(
        name="halfcheetah-vel",
        environment="manyways/HalfCheetahVel-v0",
        modes=ContinuousModes((1.5,), (3.0,), "velocity in m/s"),
        episode_steps=200,
        demonstrations=1000,
        picture=_velocity_of(column=8, seconds=0.05),
        base=_CHEETAH,
        rewards=half_cheetah_velocity,
        noise=0.1,
        achieved=lambda observations, info: info["x_velocity"][:, None],
        starting_steps=_STARTING,
        target_return=TargetReturn(-0.1, score=_velocity_error),
    ),
    Task(
        name="walker2d-vel-6",
        environment="manyways/Walker2dVel6-v0",
        modes=velocities(_WALKER_VELOCITIES),
        episode_steps=1000,
        demonstrations=600,
        picture=_velocity_of(column=8, seconds=0.008),
        base=Base("Walker2d-v5", {"healthy_z_range": (0.5, 2.5), "healthy_angle_range": (-1.3, 1.3)}, camera="track"),
        rewards=walk_at_velocity,
        noise=0.1,
        target_return=TargetReturn(1964, _walking(_WALKER_VELOCITIES)),
    ),
    Task(
        name="hopper-vel-6",
        environment="manyways/HopperVel6-v0",
        modes=velocities(_HOPPER_VELOCITIES),
        episode_steps=1000,
        demonstrations=600,
        picture=_velocity_of(column=5, seconds=0.008),
        base=Base(
            "Hopper-v5",
            {
                "healthy_z_range": (0.5, np.inf),
                "healthy_angle_range": (-0.3, 0.3),
                "healthy_state_range": (-125.0, 125.0),
            },
            camera="track",
        ),
        rewards=walk_at_velocity,
        noise=0.05,
        target_return=TargetReturn(2229, _walking(_HOPPER_VELOCITIES)),
    ),
    Task(
        name="humanoid-dir-6",
        environment="manyways/HumanoidDir6-v0",
        modes=angles(6),
        episode_steps=1000,
        demonstrations=500,
        picture=_path_of(column=22, seconds=0.015),
        base=Base("Humanoid-v5", {"healthy_z_range": (0.8, 2.2)}, camera="track"),
        rewards=humanoid,
        frame=EgocentricHumanoid(),
        noise=0.2,
        target_return=TargetReturn(6206),
    ),
    Task(
        name="fetch-reach",
        environment="manyways/FetchReach-v0",
        modes=ContinuousModes(
            (-0.15,) * 3, (0.15,) * 3, "goal in m from the gripper's start", HIT_DISTANCE, ("x (m)", "y (m)", "z (m)")
        ),
        episode_steps=50,
        demonstrations=1000,
        picture=Picture(lambda observations: observations[:, :2], ("x (m)", "y (m)")),
        base=Base("FetchReach-v4", observation_keys=("observation",), show_mode=show_goal, module="gymnasium_robotics"),
        rewards=reach,
        noise=0.2,
        achieved=lambda observations, info: observations[:, :3] - GRIPPER_START,
        scripted_expert=reaching,
    ),
)
