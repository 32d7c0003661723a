"""A small environment with a best action, and short settings of PPO."""

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from manyways.rl.ppo import PPOTraining
from manyways.rl.settings import PPO


class Following(VectorEnv):
    """Show a number in [-1, 1]; the reward is greatest where the action is minus half of it.

    Environment i ends after 3 + i steps, by itself where i is even and by a time limit where it is odd. `poisoned`
    replaces what must not matter: the reward of the step that resets, and what a terminated episode ends with.
    """

    def __init__(self, num_envs=4, poisoned=False):
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1, 1, (2,))
        self.single_action_space = gym.spaces.Box(np.float32([-2.0]), np.float32([4.0]))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.poisoned = poisoned
        self.actions = []

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.steps = np.zeros(self.num_envs, dtype=int)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        return self._show(), {}

    def _show(self):
        self.observations = np.stack([self.rng.uniform(-1, 1, self.num_envs), self.steps / 10], axis=1)
        return self.observations.copy()

    def step(self, actions):
        self.actions.append(actions)
        rewards = np.where(self.ended, 0.0, -((actions[:, 0] + self.observations[:, 0] / 2) ** 2))
        if self.poisoned:
            rewards[self.ended] = np.nan
        self.steps = np.where(self.ended, 0, self.steps + 1)
        observation = self._show()
        indices = np.arange(self.num_envs)
        self.ended = self.steps == 3 + indices
        terminated, truncated = self.ended & (indices % 2 == 0), self.ended & (indices % 2 == 1)
        if self.poisoned:
            observation[terminated] = np.nan
        return observation, rewards, terminated, truncated, {}


def settings(**changes):
    return PPO(**({"total_steps": 600, "steps_per_update": 10, "minibatch": 16, "epochs": 2, "hidden": 8} | changes))


def start(environment=None, draw_codes=None, code_size=0, **changes):
    return PPOTraining(settings(**changes), environment or Following(), draw_codes, code_size)


def random_codes(starting, rng):
    return rng.standard_normal((len(starting), 3))


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
