"""Environments for tests; found on the path as module:factory."""

import gymnasium as gym
import numpy as np


class Line(gym.Env):
    """Observes zeros for `steps` steps; the reward is the action's first number, and success that it is positive."""

    def __init__(self, steps=10, size=3, kind="array", choices=None, broken=False):
        box = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.kind, self.steps, self.broken = kind, steps, broken
        entries = {"state": box, "unused": gym.spaces.Box(0, 1, (5, 5))}
        self.observation_space = box if kind == "array" else gym.spaces.Dict(entries)
        self.action_space = gym.spaces.Discrete(choices) if choices else gym.spaces.Box(-9, 9, (2,), np.float32)

    def _observation(self):
        if self.kind == "array":
            return np.zeros(self.observation_space.shape, np.float32)
        return {"state": np.zeros(self.observation_space["state"].shape, np.float32), "unused": np.zeros((5, 5))}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observation(), {}

    def step(self, action):
        if self.broken:
            raise ValueError("the motor is hot")
        assert self.action_space.contains(action)
        self.time += 1
        first = float(np.atleast_1d(action)[0])
        info = {"is_success": first > 0, "coverage": abs(first) / 2}
        return self._observation(), first, False, bool(self.steps and self.time == self.steps), info


def not_an_environment():
    return 3
