"""Running a vector environment for one episode in each of its sub-environments, whoever acts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.demonstrations.observations import Observations, apply, rows_of, stack
from manyways.tasks.modes import Modes
from manyways.tasks.spaces import within

if TYPE_CHECKING:
    from manyways.tasks.task import Task

Floats = NDArray[np.floating[Any]]


EPISODES_AT_ONCE = 100  # rolled out together; more need more memory and are no faster

Measure = Callable[[Any, Mapping[str, Any]], Floats]
"""From observations of n environments and `info` to numbers of each, (n, numbers)."""

Act = Callable[[Any, Mapping[str, Any]], NDArray[Any]]
"""From observations of n environments and `info` to actions (n, ...)."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """One episode for each sub-environment, padded to the longest with what the last step of each left.

    Attributes:
        actions: (episodes, steps, ...), as given to the environment.
        mode_rewards: (episodes, steps, modes), zero after the end.
        lengths: (episodes,), how many steps each episode lasted.
        terminated: (episodes,), whether it ended by itself rather than by the time limit.
        achieved: (episodes, steps, numbers), where something was measured.
        observations: (episodes, steps + 1, ...), or a dictionary of such arrays, the one after the last action
            included; None where they were not kept.
    """

    actions: NDArray[Any]
    mode_rewards: Floats
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]
    achieved: Floats | None = None
    observations: Observations | None = None

    @property
    def returns(self) -> Floats:
        """The undiscounted return of each episode under each mode, (episodes, modes)."""
        total: Floats = self.mode_rewards.sum(axis=1)
        return total

    def observations_of(self, episode: int) -> Any:
        """Return an episode's observations up to its end, (steps + 1, ...) or a dictionary of such arrays."""
        assert self.observations is not None
        return rows_of(self.observations, (episode, slice(self.lengths[episode] + 1)))

    @classmethod
    def together(cls, parts: Sequence["Rollouts"]) -> "Rollouts":
        """Return the episodes of all parts, padded to the longest of all."""
        if len(parts) == 1:
            return parts[0]
        steps = max(part.actions.shape[1] for part in parts)

        def padded(arrays: Sequence[Any], length: int = steps, mode: Any = "edge") -> Any:
            if any(array is None for array in arrays):
                return None
            if isinstance(arrays[0], Mapping):
                return {name: padded([array[name] for array in arrays], length) for name in arrays[0]}
            widths = [[(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
            return np.concatenate([np.pad(array, width, mode) for array, width in zip(arrays, widths, strict=True)])

        return cls(
            padded([part.actions for part in parts]),
            padded([part.mode_rewards for part in parts], mode="constant"),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.terminated for part in parts]),
            padded([part.achieved for part in parts]),
            padded([part.observations for part in parts], steps + 1),
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
    act: Act,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
    achieved: Measure | None = None,
    keep_observations: bool = True,
) -> Rollouts:
    """Run every sub-environment from its reset to its first end.

    Args:
        environment: reports `info["mode_rewards"]` (environments, modes).
        act: chooses the actions, which are cut to the action space where that is a box.
        seed: of the environment's reset.
        on_step: called after every step, for progress.
        achieved: what to measure at every step, after it.
        keep_observations: whether they are returned; pictures take much memory.

    Raises:
        InputError: a discrete action is none of the action space's.
    """
    observation, info = environment.reset(seed=seed)
    running = np.ones(environment.num_envs, dtype=bool)
    lengths = np.zeros(environment.num_envs, dtype=np.int64)
    ended_itself = np.zeros(environment.num_envs, dtype=bool)
    observations = [apply(np.copy, observation)] if keep_observations else []
    actions, rewards = [], []
    measured: list[Floats] = []
    while running.any():
        action = within(environment.single_action_space, act(observation, info))
        observation, _, terminated, truncated, info = environment.step(action)
        if keep_observations:
            kept = apply(np.copy, observation)
            _keep(kept, observations[-1], ~running)
            observations.append(kept)
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
        np.stack(actions, axis=1),
        np.stack(rewards, axis=1),
        lengths,
        ended_itself,
        np.stack(measured, axis=1) if measured else None,
        stack(observations, axis=1) if keep_observations else None,
    )


def roll_out_in_parts(
    task: "Task",
    episodes: int,
    act: Callable[[slice, Any, Any], Any],
    seed: int,
    on_step: Callable[[], object] = lambda: None,
    modes: NDArray[Any] | None = None,
    keep_observations: bool = False,
) -> Rollouts:
    """Run so many episodes of a task, as many at once as memory allows.

    Args:
        task: to run in.
        episodes: how many.
        act: from a slice, the episodes that run, their observations and `info`, to their actions.
        seed: of the environments; episode i has `seed + i`.
        on_step: called after each step of a part.
        modes: (episodes, ...), those of the environments; None for the first.
        keep_observations: whether they are returned.
    """
    parts = []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        chosen = slice(start, min(start + EPISODES_AT_ONCE, episodes))
        environment = task.make_vec(chosen.stop - start, None if modes is None else modes[chosen])
        acts: Act = partial(act, chosen)
        parts.append(roll_out(environment, acts, seed + start, on_step, task.achieved, keep_observations))
        environment.close()
    return Rollouts.together(parts)


def roll_out_expert(
    task: "Task",
    modes: NDArray[Any],
    seed: int,
    on_step: Callable[[], object] = lambda: None,
    keep_observations: bool = False,
) -> Rollouts:
    """Run a task's expert, one episode under each of `modes` (episodes, ...); arguments as for `roll_out_in_parts`.

    Raises:
        InputError: the task has no expert, or its file is damaged.
    """
    task.require_expert()

    def act(chosen: slice, observations: Any, info: Any) -> Any:
        return task.expert(observations, modes[chosen], info)

    return roll_out_in_parts(task, len(modes), act, seed, on_step, modes, keep_observations)


def _keep(observation: Any, last: Any, ended: NDArray[np.bool_]) -> None:
    """Put the last observation of environments whose episode has ended in place of what follows it."""
    if isinstance(observation, Mapping):
        for name, array in observation.items():
            array[ended] = last[name][ended]
    else:
        observation[ended] = last[ended]
