"""Environments that report the reward under every mode: a single one, and many on EnvPool.

    info["mode_rewards"]   (modes,), or (environments, modes) in the vector form
    reward                 the entry of the environment's own mode

Both forms call the same function of the task, so their rewards agree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.observations import apply
from manyways.errors import InputError
from manyways.tasks.base import Base
from manyways.tasks.modes import Modes
from manyways.tasks.spaces import require_supported

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Step:
    """A step of `n` environments, from which a task computes its rewards.

    Attributes:
        observation: (n, ...) after the step, or a dictionary of such arrays.
        action: (n, ...), not clipped.
        info: the info of the environment underneath, each entry (n,).
        last: (n,), whether the time limit is reached.
    """

    observation: Any
    action: NDArray[Any]
    info: Mapping[str, Floats]
    last: NDArray[np.bool_]

    @property
    def effort(self) -> Floats:
        """The sum of the squared action, (n,)."""
        return np.square(self.action).sum(axis=1)


Rewards = Callable[[Step, Floats], Floats]
"""From a step of n environments and modes, (1 or n, modes), to rewards (n, modes)."""


def _rewards_of(rewards: Rewards, step: Step, modes: Modes, mode: NDArray[Any]) -> Floats:
    """Return the task's rewards of a step, (n, modes), for environments with the modes `mode`.

    Raises:
        InputError: they have another shape.
    """
    values = np.asarray(rewards(step, modes.of_environments(mode)))
    if values.shape != (len(mode), len(modes)):
        raise InputError(
            f"the task's rewards have shape {values.shape}; return one for each environment and mode, here "
            f"({len(mode)}, {len(modes)}): modes come as (1, modes), to combine with numbers of shape (n, 1)"
        )
    return values


class ModeRewards(gym.Wrapper[Any, Any, Any, Any]):
    """One environment under a mode.

    Args:
        env: the environment underneath, without a time limit.
        modes: of the task.
        rewards: of the task.
        mode: of `reward`: an index of discrete modes, a point of continuous ones.
        episode_steps: the time limit, which Gymnasium's registry enforces.
        base: selects the observed part of observations; None for all.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        modes: Modes,
        rewards: Rewards,
        mode: ArrayLike,
        episode_steps: int,
        base: Base | None = None,
    ) -> None:
        super().__init__(env)
        self.mode: NDArray[Any] = modes.check(mode, 1)
        self._modes = modes
        self._rewards = rewards
        self._episode_steps = episode_steps
        self._base = base or Base("")
        self._steps = 0
        self.observation_space = self._base.space(env.observation_space)
        require_supported(self.observation_space, self.action_space, self._base.id)
        self._action_dtype = np.float64 if isinstance(self.action_space, Box) else np.int64

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment underneath."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self._base.show_mode is not None:
            self._base.show_mode(self.env.unwrapped, self.mode[0])
        self._steps = 0
        return self._base.observe(observation), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment underneath; its own reward is not used."""
        base_observation, _, terminated, truncated, info = self.env.step(action)
        self._steps += 1
        observation = self._base.observe(base_observation)
        scalars = {name: np.asarray(value)[None] for name, value in info.items() if np.ndim(value) == 0}
        last = np.array([self._steps >= self._episode_steps])
        batch = apply(lambda array: np.asarray(array)[None], observation)
        step = Step(batch, np.asarray(action, dtype=self._action_dtype)[None], scalars, last)
        rewards = _rewards_of(self._rewards, step, self._modes, self.mode)
        info["mode_rewards"] = rewards[0]
        return observation, float(self._modes.own(rewards, self.mode)[0]), terminated, truncated, info


class EnvPoolModeRewards(VectorEnv[Any, Any, Any]):
    """Many environments under their modes, stepped by EnvPool.

    An environment whose episode ended is reset at the next step, whose action is ignored (Gymnasium's NEXT_STEP); that
    step's rewards are 0, its `info["_mode_rewards"]` is False.

    Args:
        make: from a seed for each environment to the EnvPool underneath, whose time limit is `episode_steps`.
        num_envs: how many environments.
        modes, rewards, mode, episode_steps, base: as for `ModeRewards`; `mode` one for all, or one each.

    Raises:
        ValueError: there is no such mode.
    """

    def __init__(
        self,
        make: Callable[[Sequence[int]], Any],
        num_envs: int,
        modes: Modes,
        rewards: Rewards,
        mode: ArrayLike,
        episode_steps: int,
        base: Base | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.mode: NDArray[Any] = modes.check(mode, num_envs)
        self._modes = modes
        self._rewards = rewards
        self._episode_steps = episode_steps
        self._base = base or Base("")
        self._make = make
        self._seeds: list[int] = np.random.default_rng().integers(2**31, size=num_envs).tolist()
        self._pool = make(self._seeds)
        self._fresh = True  # whether the pool has not been stepped since it was made from its seeds
        self._ended = np.zeros(num_envs, dtype=bool)
        self.single_observation_space = self._base.space(self._pool.observation_space)
        self.single_action_space = actions = self._pool.action_space
        self._action_dtype = actions.dtype
        if isinstance(actions, Box):
            # Like Gymnasium's MuJoCo environments, which also compute in double precision.
            self.single_action_space = Box(np.float32(actions.low), np.float32(actions.high), dtype=np.float32)
        require_supported(self.single_observation_space, self.single_action_space, self._base.id)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start every environment anew; an integer seed gives environment i the seed `seed + i`."""
        if seed is not None:
            seeds = [int(seed) + i for i in range(self.num_envs)] if isinstance(seed, int | np.integer) else seed
            # EnvPool takes seeds, of 31 bits, only when it is made.
            new_seeds = [old if new is None else int(new) % 2**31 for old, new in zip(self._seeds, seeds, strict=True)]
            if not self._fresh or new_seeds != self._seeds:
                self._seeds = new_seeds
                self._pool.close()
                self._pool = self._make(new_seeds)
        self._fresh = False
        self._ended[:] = False
        observation, info = self._pool.reset()
        return self._base.observe(observation), _with_gymnasium_names(info)

    def step(self, actions: NDArray[Any]) -> tuple[Any, Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step every environment, or reset it if its episode ended at the last step."""
        observation, _, terminated, truncated, pool_info = self._pool.step(
            np.asarray(actions, dtype=self._action_dtype)
        )
        observation = self._base.observe(observation)
        info: dict[str, Any] = _with_gymnasium_names(pool_info)
        moving = ~self._ended
        last = info["elapsed_step"] >= self._episode_steps
        actions = np.asarray(actions, dtype=np.float64 if isinstance(self.single_action_space, Box) else np.int64)
        step = Step(observation, actions, info, last)
        rewards = _rewards_of(self._rewards, step, self._modes, self.mode)
        rewards = np.where(moving[:, None], rewards, 0.0)  # a reset has no reward
        info |= {"mode_rewards": rewards, "_mode_rewards": moving}
        self._ended = terminated | truncated
        return observation, self._modes.own(rewards, self.mode), terminated, truncated & ~terminated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Free the pool."""
        self._pool.close()


# EnvPool's Humanoid has other names for some entries of its info.
_GYMNASIUM_NAMES = {
    "reward_impact": "reward_contact",
    "reward_linvel": "reward_forward",
    "reward_quadctrl": "reward_ctrl",
    "reward_alive": "reward_survive",
}


def _with_gymnasium_names(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of EnvPool's info that describe each environment, under Gymnasium's names."""
    return {
        _GYMNASIUM_NAMES.get(name, name): value for name, value in info.items() if name not in ("env_id", "players")
    }
