"""Owns the FetchReach expert: Stable-Baselines3's DDPG with hindsight experience replay, as in the paper."""

from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.errors import InputError
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.tasks import Task
from manyways.tasks.mujoco import GRIPPER_START


@dataclass(frozen=True, kw_only=True)
class DDPGHER:
    """Settings of DDPG with hindsight replay.

    Args:
        hidden: width of the two layers of both networks.
        batch: transitions in a gradient step.
        buffer: transitions that are remembered.
        learning_rate: of Adam.
        gamma: discount.
        tolerance: within which distance of the goal it is rewarded, in m; less than the task's, so that what hits only
            just, and misses when it starts a little elsewhere, is not good enough.
        noise: standard deviation of the Gaussian noise on the actions.
        goals: of a transition relabelled for each that is not.
        random_steps: environment steps before learning starts.
        steps_at_once: environment steps between two looks at the clock.
        seed: of everything random.
    """

    hidden: int = 256
    batch: int = 256
    buffer: int = 200_000
    learning_rate: float = 1e-3
    gamma: float = 0.95
    tolerance: float = 0.03
    noise: float = 0.1
    goals: int = 4
    random_steps: int = 1000
    steps_at_once: int = 250
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)

    def start(self, task: Task) -> "DDPGHERTraining":
        """Return training at its first step."""
        return DDPGHERTraining(self, task)


class DDPGHERTraining:
    """DDPG at work on the environment underneath a task whose goals are its own modes.

    Attributes:
        steps: environment steps taken.
        updates: gradient steps taken.
        finished: it can always go on.

    Raises:
        InputError: Stable-Baselines3 is not installed.
    """

    finished = False

    def __init__(self, settings: DDPGHER, task: Task) -> None:
        try:
            from stable_baselines3 import DDPG, HerReplayBuffer
            from stable_baselines3.common.noise import NormalActionNoise
        except ImportError as error:
            raise InputError(
                f"this expert is trained with Stable-Baselines3 ({error}); pip install manyways[experts]"
            ) from error
        assert task.base is not None
        self.settings = settings
        self.steps = self.updates = 0
        environment = gym.wrappers.TimeLimit(task.base.make(), task.episode_steps)
        environment.unwrapped.distance_threshold = settings.tolerance  # type: ignore[attr-defined]
        space: Any = environment.action_space
        self._action_scale = np.asarray(space.high, np.float32)
        self._model = DDPG(
            "MultiInputPolicy",
            environment,
            learning_rate=settings.learning_rate,
            buffer_size=settings.buffer,
            learning_starts=settings.random_steps,
            batch_size=settings.batch,
            gamma=settings.gamma,
            action_noise=NormalActionNoise(np.zeros(space.shape), np.full(space.shape, settings.noise)),
            replay_buffer_class=HerReplayBuffer,
            replay_buffer_kwargs={"n_sampled_goal": settings.goals, "goal_selection_strategy": "future"},
            policy_kwargs={"net_arch": [settings.hidden, settings.hidden]},
            seed=settings.seed,
        )

    def step(self) -> None:
        """Take some environment steps, and learn from each."""
        self._model.learn(self.settings.steps_at_once, reset_num_timesteps=False)
        self.steps += self.settings.steps_at_once
        self.updates = self._model._n_updates

    def layers(self) -> dict[str, NDArray[np.float32]]:
        """Return the policy as plain layers for `Expert`, which sees (observation, goal from the gripper's start)."""
        tensors: dict[str, NDArray[np.float32]] = {}
        linear = [layer for layer in self._model.actor.mu if isinstance(layer, torch.nn.Linear)]
        for number, layer in enumerate(linear):
            tensors[f"weight.{number}"] = layer.weight.detach().numpy().copy()
            tensors[f"bias.{number}"] = layer.bias.detach().numpy().copy()
        # The policy saw (achieved goal, desired goal, observation), whose first three numbers are the achieved goal.
        achieved, desired, observation = np.split(tensors["weight.0"], [3, 6], axis=1)
        observation[:, :3] += achieved
        tensors["weight.0"] = np.ascontiguousarray(np.concatenate([observation, desired], axis=1))
        tensors["bias.0"] = tensors["bias.0"] + (desired @ GRIPPER_START).astype(np.float32)
        return tensors | {"action_scale": self._action_scale}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the networks and the optimizers' moments; remembered transitions are gathered anew."""
        model = self._model
        tensors = named("policy", model.policy.state_dict())
        for kind in ("actor", "critic"):
            tensors |= named(f"optimizer.{kind}", moments(getattr(model, kind).optimizer))
        return tensors | {"steps": torch.tensor(self.steps), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken, but with an empty memory."""
        model = self._model
        model.policy.load_state_dict(part("policy", tensors))
        for kind in ("actor", "critic"):
            restore_moments(getattr(model, kind).optimizer, part(f"optimizer.{kind}", tensors))
        self.steps, self.updates = int(tensors["steps"]), int(tensors["updates"])
        model.num_timesteps, model._n_updates = self.steps, self.updates
        model.learning_starts = self.steps + self.settings.random_steps
