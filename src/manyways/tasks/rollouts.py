"""Running a vector environment for one episode in each of its sub-environments, whoever acts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.tasks.modes import Modes

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Rollouts:
    """One episode for each sub-environment, padded to the longest with what the last step of each left.

    Attributes:
        observations: (episodes, steps + 1, observation size), the one after the last action included.
        actions: (episodes, steps, action size), as given to the environment.
        mode_rewards: (episodes, steps, modes), zero after the end.
        lengths: (episodes,), how many steps each episode lasted.
        terminated: (episodes,), whether it ended by itself rather than by the time limit.
    """

    observations: Floats
    actions: Floats
    mode_rewards: Floats
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]

    @property
    def returns(self) -> Floats:
        """The undiscounted return of each episode under each mode, (episodes, modes)."""
        total: Floats = self.mode_rewards.sum(axis=1)
        return total

    def rewards_under(self, modes: Modes, mode: NDArray[Any]) -> Floats:
        """Return the rewards of each episode under one mode of its own, (episodes, steps).

        Args:
            modes: the task's.
            mode: (episodes, ...), each one's own.
        """
        steps = range(self.mode_rewards.shape[1])
        return np.stack([modes.own(self.mode_rewards[:, step], mode) for step in steps], axis=1)


def roll_out(
    environment: VectorEnv[Any, Any, Any],
    act: Callable[[Floats], Floats],
    seed: int,
    on_step: Callable[[], object] = lambda: None,
) -> Rollouts:
    """Run every sub-environment from its reset to its first end.

    Args:
        environment: reports `info["mode_rewards"]` (environments, modes).
        act: from observations (environments, observation size) to actions (environments, action size), which are
            clipped to the action space.
        seed: of the environment's reset.
        on_step: called after every step, for progress.
    """
    observation, _ = environment.reset(seed=seed)
    space = environment.single_action_space
    count = environment.num_envs
    running = np.ones(count, dtype=bool)
    lengths = np.zeros(count, dtype=np.int64)
    ended_itself = np.zeros(count, dtype=bool)
    observations, actions, rewards = [observation], [], []
    while running.any():
        action = np.clip(act(observation), space.low, space.high)  # type: ignore[attr-defined]
        observation, _, terminated, truncated, info = environment.step(action)
        observations.append(np.where(running[:, None], observation, observations[-1]))
        actions.append(action)
        rewards.append(info["mode_rewards"] * running[:, None])
        lengths += running
        ended_itself |= running & terminated
        running &= ~(terminated | truncated)
        on_step()
    return Rollouts(
        np.stack(observations, axis=1), np.stack(actions, axis=1), np.stack(rewards, axis=1), lengths, ended_itself
    )
