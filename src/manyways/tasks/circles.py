"""Circles: a point in the plane that moves along one of three circles through the origin (Section 4.1, Appendix B).

The observation is the last five positions, oldest first. The action is a displacement, to which the environment adds
noise. The single and the vector environment share the functions, which take any number of points.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from manyways.tasks.modes import DiscreteModes
from manyways.tasks.task import Picture, Task

Floats = NDArray[np.floating[Any]]

RADII = np.array([-10.0, 10.0, 20.0])  # m; the circle of R is centred at (0, R)
HISTORY = 5  # positions in an observation
LARGEST_DISPLACEMENT = 1.5  # m a step and coordinate: 0.075 of the largest radius
NOISE = 0.15  # m, standard deviation of the noise in each coordinate: 10% of the largest displacement
LIMITS = np.array([30.0, 60.0])  # m; beyond |x|, |y| an episode ends
EPISODE_STEPS = 1000
TURN = 2 * np.pi / 100  # rad a step, of the expert
MODES = DiscreteModes(tuple(RADII), tuple(f"R = {radius:g} m" for radius in RADII))


def _centres(modes: NDArray[np.integer[Any]]) -> Floats:
    radii = RADII[modes]
    return np.stack([np.zeros_like(radii), radii], axis=-1)


def expert_actions(observations: Floats, modes: NDArray[np.integer[Any]]) -> Floats:
    """Return the scripted expert's displacements: a turn around its circle's centre, less the radial error.

    Args:
        observations: (points, 10).
        modes: (points,), each the index of a radius.

    Returns:
        (points, 2), shortened to the action box with the direction kept.
    """
    positions = np.asarray(observations, dtype=np.float64)[:, -2:]
    centres = _centres(modes)
    x, y = (positions - centres).T
    turned = np.stack([x * np.cos(TURN) - y * np.sin(TURN), x * np.sin(TURN) + y * np.cos(TURN)], axis=-1)
    distances = np.maximum(np.linalg.norm(turned, axis=-1, keepdims=True), 1e-9)
    displacements = centres + turned / distances * np.abs(RADII[modes])[:, None] - positions
    largest = np.abs(displacements).max(axis=-1, keepdims=True)
    return displacements * np.minimum(1.0, LARGEST_DISPLACEMENT / np.maximum(largest, 1e-9))


def mode_rewards(positions: Floats) -> Floats:
    """Return the reward of being at each position under every mode, exp(-10 (radial error / radius)²).

    Args:
        positions: (points, 2), in metres.

    Returns:
        (points, modes), each from 0 to 1.
    """
    centres = _centres(np.arange(len(RADII)))
    distances = np.linalg.norm(positions[:, None] - centres, axis=-1)
    return np.exp(-10 * ((distances - np.abs(RADII)) / np.abs(RADII)) ** 2)


def _displace(history: Floats, actions: Floats, noise: Floats) -> Floats:
    """Return the histories (points, 5, 2) after one step."""
    bounded = np.clip(actions, -LARGEST_DISPLACEMENT, LARGEST_DISPLACEMENT)
    positions = history[:, -1] + bounded + NOISE * noise
    return np.concatenate([history[:, 1:], positions[:, None]], axis=1)


def _observations(history: Floats) -> NDArray[np.float32]:
    return history.reshape(len(history), -1).astype(np.float32)


def _outside(positions: Floats) -> NDArray[np.bool_]:
    return np.any(np.abs(positions) > LIMITS, axis=-1)


def _spaces() -> tuple[gym.Space[Any], gym.Space[Any]]:
    # One step beyond the limits, with ten standard deviations of noise.
    bound = np.tile(LIMITS + LARGEST_DISPLACEMENT + 10 * NOISE, HISTORY).astype(np.float32)
    return (
        gym.spaces.Box(-bound, bound, dtype=np.float32),
        gym.spaces.Box(-LARGEST_DISPLACEMENT, LARGEST_DISPLACEMENT, (2,), np.float32),
    )


class CirclesEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One point; `info["mode_rewards"]` (modes,) has the reward under every mode, `reward` is that of `mode`.

    Args:
        mode: index of the radius whose circle is rewarded.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: there is no such mode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, mode: int | None = None, render_mode: str | None = None) -> None:
        self.observation_space, self.action_space = _spaces()
        self.render_mode = render_mode
        self._mode = int(MODES.check(mode or 0, 1)[0])
        self._history: Floats = np.zeros((1, HISTORY, 2))
        self._path: list[Floats] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start at the origin."""
        super().reset(seed=seed)
        self._history = np.zeros((1, HISTORY, 2))
        self._path = [np.zeros(2)]
        return _observations(self._history)[0], {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Move by the action, clipped to its box, and the noise."""
        noise = self.np_random.standard_normal((1, 2))
        self._history = _displace(self._history, np.asarray(action, dtype=np.float64)[None], noise)
        position = self._history[:, -1]
        self._path.append(position[0])
        rewards = mode_rewards(position)[0]
        terminated = bool(_outside(position)[0])
        info = {"mode_rewards": rewards}
        return _observations(self._history)[0], float(rewards[self._mode]), terminated, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture (480, 480, 3) of the circles, the path so far and the point; None without a render mode."""
        return _draw(self._path) if self.render_mode == "rgb_array" else None


def _draw(path: list[Floats], size: int = 480) -> NDArray[np.uint8]:
    scale = 2 * size / 90  # 90 m across; drawn at twice the size, then shrunk, for smooth lines
    image = Image.new("RGB", (2 * size, 2 * size), "white")
    draw = ImageDraw.Draw(image)

    def pixel(point: Floats) -> tuple[float, float]:
        return size + scale * float(point[0]), size - scale * (float(point[1]) - 10)

    for radius in RADII:
        (x, y), r = pixel(np.array([0.0, radius])), abs(radius) * scale
        draw.ellipse((x - r, y - r, x + r, y + r), outline="#cccccc", width=3)
    if len(path) > 1:
        draw.line([pixel(point) for point in path], fill="#3366aa", width=4, joint="curve")
    if path:
        x, y = pixel(path[-1])
        draw.ellipse((x - 10, y - 10, x + 10, y + 10), fill="#cc3311")
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


class CirclesVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], Any]):
    """Many points in NumPy; with the same seeds their steps are those of many `CirclesEnv`.

    A point is reset on the step after its end, whose action is ignored (Gymnasium's next-step autoreset).

    Args:
        num_envs: how many points.
        mode: index of the rewarded radius, one for all or one a point.
        max_episode_steps: when an episode is truncated; None for never.

    Raises:
        ValueError: there is no such mode.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012

    _NOISE_BLOCK = 64  # steps of noise drawn at once; a generator's stream is the same in blocks of any size

    def __init__(
        self,
        num_envs: int = 1,
        mode: int | Sequence[int] | NDArray[np.integer[Any]] | None = None,
        max_episode_steps: int | None = EPISODE_STEPS,
    ) -> None:
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = _spaces()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._modes = MODES.check(0 if mode is None else mode, num_envs)
        self._max_episode_steps = max_episode_steps
        self._generators: list[np.random.Generator] = []
        self._history: Floats = np.zeros((num_envs, HISTORY, 2))
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=bool)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start every point at the origin; an integer seed gives point i the seed `seed + i`."""
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        if seed is not None or not self._generators:
            seeds = [None] * self.num_envs if seed is None else seed
            self._generators = [np.random.Generator(np.random.PCG64(s)) for s in seeds]
            self._noise_index = np.full(self.num_envs, self._NOISE_BLOCK)
            self._noise = np.zeros((self.num_envs, self._NOISE_BLOCK, 2))
        self._history = np.zeros((self.num_envs, HISTORY, 2))
        self._steps[:] = 0
        self._ended[:] = False
        return _observations(self._history), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Move every point, or reset it if its episode ended at the last step."""
        moving = ~self._ended
        history = _displace(self._history, np.asarray(actions, dtype=np.float64), self._draw_noise(moving))
        self._history = np.where(moving[:, None, None], history, 0.0)
        self._steps = np.where(moving, self._steps + 1, 0)
        positions = self._history[:, -1]
        rewards = mode_rewards(positions) * moving[:, None]
        terminated = _outside(positions) & moving
        truncated = np.zeros(self.num_envs, dtype=bool)
        if self._max_episode_steps is not None:
            truncated = self._steps >= self._max_episode_steps
        self._ended = terminated | truncated
        info = {"mode_rewards": rewards, "_mode_rewards": moving}
        reward = rewards[np.arange(self.num_envs), self._modes]
        return _observations(self._history), reward, terminated, truncated, info

    def _draw_noise(self, moving: NDArray[np.bool_]) -> Floats:
        """Return the next noise of every moving point, (points, 2), each from its own generator."""
        for i in np.flatnonzero(moving & (self._noise_index == self._NOISE_BLOCK)):
            self._noise[i] = self._generators[i].standard_normal((self._NOISE_BLOCK, 2))
            self._noise_index[i] = 0
        noise: Floats = self._noise[np.arange(self.num_envs), np.minimum(self._noise_index, self._NOISE_BLOCK - 1)]
        self._noise_index = self._noise_index + moving
        return noise


CIRCLES = Task(
    name="circles",
    environment="manyways/Circles-v0",
    modes=MODES,
    episode_steps=EPISODE_STEPS,
    demonstrations=500,
    picture=Picture(lambda observations: observations[:, -2:], ("x (m)", "y (m)")),
    entry_point=("manyways.tasks.circles:CirclesEnv", "manyways.tasks.circles:CirclesVectorEnv"),
    scripted_expert=expert_actions,
)
