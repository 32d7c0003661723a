"""Circles, observed as a picture of the last five positions; later ones are brighter.

The expert acts on the positions, which the environment reports as `info["state"]`. A policy gets the picture alone.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from manyways.tasks.circles import HISTORY, MODES, CirclesEnv, CirclesVectorEnv, expert_actions
from manyways.tasks.task import Picture, Task

Floats = NDArray[np.floating[Any]]
Images = NDArray[np.uint8]

SIZE = 64  # pixels a side, and metres: all three circles, from y = -20 to 40, with 2 m around them
CENTRE = np.array([0.0, 10.0])  # m
EPISODE_STEPS = 300  # three turns
_BLOB = 1.5  # m, standard deviation
_BRIGHTNESS = np.array([0.1, 0.2, 0.3, 0.4, 1.0])  # of the positions, oldest first
_SPACE = gym.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)
_COORDINATES = np.arange(SIZE) + 0.5 - SIZE / 2  # m, of the pixels' centres from the picture's


def draw(observations: Floats) -> Images:
    """Return pictures (n, 64, 64, 1) of observations (n, 10); y points up. Positions outside appear at the border."""
    positions = observations.reshape(-1, HISTORY, 2) - CENTRE
    positions = positions.clip(_COORDINATES[0], _COORDINATES[-1])[..., None]
    across, up = np.moveaxis(np.exp(-((_COORDINATES - positions) ** 2) / (2 * _BLOB**2)), 2, 0).astype(np.float32)
    across = across * _BRIGHTNESS[:, None].astype(np.float32)
    picture = np.zeros((len(positions), SIZE, SIZE), np.float32)
    for age in range(HISTORY):
        np.maximum(picture, up[:, age, ::-1, None] * across[:, age, None, :], out=picture)
    return (255 * picture[..., None] + 0.5).astype(np.uint8)


def positions(images: Images) -> Floats:
    """Return the last position in each picture (n, 64, 64, 1), in metres, (n, 2): the middle of the brightest blob."""
    # Pixels brighter than the second last position's brightest belong to the last position.
    weights = np.maximum(images[..., 0].astype(np.float64) - 255 * _BRIGHTNESS[-2] - 1, 0)
    total = weights.sum(axis=(1, 2))
    x = weights.sum(axis=1) @ _COORDINATES / total
    y = weights.sum(axis=2) @ _COORDINATES[::-1] / total
    return np.stack([x, y], axis=1) + CENTRE


class CirclesImagesEnv(gym.Wrapper[Any, Any, Any, Any]):
    """One point of Circles, observed as a picture; arguments as for `CirclesEnv`."""

    def __init__(self, mode: int | None = None, render_mode: str | None = None) -> None:
        super().__init__(CirclesEnv(mode, render_mode))
        self.observation_space = _SPACE

    def reset(self, **arguments: Any) -> tuple[Images, dict[str, Any]]:
        """Start at the origin."""
        state, info = self.env.reset(**arguments)
        return draw(state[None])[0], info | {"state": state}

    def step(self, action: Any) -> tuple[Images, Any, bool, bool, dict[str, Any]]:
        """Move by the action and the noise."""
        state, reward, terminated, truncated, info = self.env.step(action)
        return draw(state[None])[0], reward, terminated, truncated, info | {"state": state}


class CirclesImagesVectorEnv(VectorWrapper[Any, Any, Any]):
    """Many points of Circles, observed as pictures; arguments as for `CirclesVectorEnv`."""

    def __init__(self, num_envs: int = 1, mode: Any = None, max_episode_steps: int | None = EPISODE_STEPS) -> None:
        super().__init__(CirclesVectorEnv(num_envs, mode, max_episode_steps))
        self.single_observation_space = _SPACE
        self.observation_space = batch_space(_SPACE, num_envs)

    def reset(self, **arguments: Any) -> tuple[Images, dict[str, Any]]:
        """Start every point at the origin."""
        states, info = self.env.reset(**arguments)
        return draw(states), info | {"state": states}

    def step(self, actions: Any) -> tuple[Images, Any, Any, Any, dict[str, Any]]:
        """Move every point by its action and the noise."""
        states, rewards, terminated, truncated, info = self.env.step(actions)
        return draw(states), rewards, terminated, truncated, info | {"state": states}


CIRCLES_IMAGES = Task(
    name="circles-images",
    environment="manyways/CirclesImages-v0",
    modes=MODES,
    episode_steps=EPISODE_STEPS,
    demonstrations=60,
    picture=Picture(positions, ("x (m)", "y (m)")),
    entry_point=(
        "manyways.tasks.circles_images:CirclesImagesEnv",
        "manyways.tasks.circles_images:CirclesImagesVectorEnv",
    ),
    scripted_expert=expert_actions,
    expert_observes=lambda observations, info: info["state"],
)
