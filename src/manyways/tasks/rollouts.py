"""Running a vector environment for one episode in each of its sub-environments, whoever acts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.tasks.modes import Modes

Floats = NDArray[np.floating[Any]]


EPISODES_AT_ONCE = 100  # rolled out together; more need more memory and are no faster

Achieved = Callable[[Floats, Mapping[str, Any]], Floats]
"""From observations after a step (n, observation size) and `info` to what is achieved in it, (n, numbers)."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """One episode for each sub-environment, padded to the longest with what the last step of each left.

    Attributes:
        observations: (episodes, steps + 1, observation size), the one after the last action included.
        actions: (episodes, steps, action size), as given to the environment.
        mode_rewards: (episodes, steps, modes), zero after the end.
        lengths: (episodes,), how many steps each episode lasted.
        terminated: (episodes,), whether it ended by itself rather than by the time limit.
        achieved: (episodes, steps, numbers), where something was measured.
    """

    observations: Floats
    actions: Floats
    mode_rewards: Floats
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    achieved: Floats | None = None

    @property
    def returns(self) -> Floats:
        """The undiscounted return of each episode under each mode, (episodes, modes)."""
        total: Floats = self.mode_rewards.sum(axis=1)
        return total

    @classmethod
    def together(cls, parts: Sequence["Rollouts"]) -> "Rollouts":
        """Return the episodes of all parts, padded to the longest of all."""
        steps = max(part.actions.shape[1] for part in parts)

        def padded(arrays: list[Floats], length: int, mode: Any) -> Floats:
            widths = [((0, 0), (0, length - array.shape[1]), (0, 0)) for array in arrays]
            return np.concatenate([np.pad(array, width, mode) for array, width in zip(arrays, widths, strict=True)])

        achieved = [part.achieved for part in parts if part.achieved is not None]
        return cls(
            padded([part.observations for part in parts], steps + 1, "edge"),
            padded([part.actions for part in parts], steps, "edge"),
            padded([part.mode_rewards for part in parts], steps, "constant"),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.terminated for part in parts]),
            padded(achieved, steps, "edge") if achieved else None,
        )

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
    achieved: Achieved | None = None,
) -> Rollouts:
    """Run every sub-environment from its reset to its first end.

    Args:
        environment: reports `info["mode_rewards"]` (environments, modes).
        act: from observations (environments, observation size) to actions (environments, action size), which are
            clipped to the action space.
        seed: of the environment's reset.
        on_step: called after every step, for progress.
        achieved: what to measure at every step.
    """
    observation, _ = environment.reset(seed=seed)
    space = environment.single_action_space
    count = environment.num_envs
    running = np.ones(count, dtype=bool)
    lengths = np.zeros(count, dtype=np.int64)
    ended_itself = np.zeros(count, dtype=bool)
    observations, actions, rewards = [observation], [], []
    measured: list[Floats] = []
    while running.any():
        action = np.clip(act(observation), space.low, space.high)  # type: ignore[attr-defined]
        observation, _, terminated, truncated, info = environment.step(action)
        observations.append(np.where(running[:, None], observation, observations[-1]))
        actions.append(action)
        rewards.append(info["mode_rewards"] * running[:, None])
        if achieved is not None:
            now = achieved(observation, info)
            measured.append(np.where(running[:, None], now, measured[-1] if measured else now))
        lengths += running
        ended_itself |= running & terminated
        running &= ~(terminated | truncated)
        on_step()
    return Rollouts(
        np.stack(observations, axis=1),
        np.stack(actions, axis=1),
        np.stack(rewards, axis=1),
        lengths,
        ended_itself,
        np.stack(measured, axis=1) if measured else None,
    )
