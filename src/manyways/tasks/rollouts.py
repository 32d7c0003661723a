"""Rollouts of one episode in each sub-environment of a vector environment, by any actor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.demonstrations.observations import Observations, apply, rows_of, stack
from manyways.errors import InputError
from manyways.tasks.modes import Modes
from manyways.tasks.spaces import within

if TYPE_CHECKING:
    from manyways.tasks.task import Task

Floats = NDArray[np.floating[Any]]


EPISODES_AT_ONCE = 100  # in one rollout; more need more memory and are no faster

Measure = Callable[[Any, Mapping[str, Any]], Floats]
"""From observations of n environments and `info` to a vector for each, (n, dimensions)."""

Act = Callable[[Any, Mapping[str, Any]], NDArray[Any]]
"""From observations of n environments and `info` to actions (n, ...)."""


@dataclass(frozen=True, eq=False)
class Rollouts:
    """One episode for each sub-environment, padded to the longest with the values of each one's last step.

    Attributes:
        actions: (episodes, steps, ...), within the action space.
        mode_rewards: (episodes, steps, modes), zero after the end.
        lengths: (episodes,), in steps.
        terminated: (episodes,), whether it ended by itself rather than by the time limit.
        achieved: (episodes, steps, dimensions), the measurements; None without a measure.
        observations: (episodes, steps + 1, ...), or a dictionary of such arrays, including the final ones; None if they
            were not stored.
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

        def pad(arrays: Sequence[Any], length: int = steps, mode: Any = "edge") -> Any:
            if any(array is None for array in arrays):
                return None
            if isinstance(arrays[0], Mapping):
                return {name: pad([array[name] for array in arrays], length) for name in arrays[0]}
            widths = [[(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)] for array in arrays]
            return np.concatenate([np.pad(array, width, mode) for array, width in zip(arrays, widths, strict=True)])

        return cls(
            pad([part.actions for part in parts]),
            pad([part.mode_rewards for part in parts], mode="constant"),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.terminated for part in parts]),
            pad([part.achieved for part in parts]),
            pad([part.observations for part in parts], steps + 1),
        )

    def rewards_under(self, modes: Modes, mode: NDArray[Any]) -> Floats:
        """Return the rewards of each episode under its own mode, (episodes, steps).

        Args:
            modes: of the task.
            mode: (episodes, ...), of each episode.
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
        act: gives the actions, which are clipped to a box.
        seed: of the environment's reset.
        on_step: called after every step, for progress.
        achieved: a measure after every step; None measures nothing.
        keep_observations: whether they are returned; pictures need much memory.

    Raises:
        InputError: a discrete action is outside the action space.
    """
    observation, info = environment.reset(seed=seed)
    running = np.ones(environment.num_envs, dtype=bool)
    lengths = np.zeros(environment.num_envs, dtype=np.int64)
    terminations = np.zeros(environment.num_envs, dtype=bool)
    observations = [apply(np.copy, observation)] if keep_observations else []
    actions, rewards = [], []
    measurements: list[Floats] = []
    while running.any():
        action = within(environment.single_action_space, act(observation, info))
        observation, _, terminated, truncated, info = environment.step(action)
        if keep_observations:
            copied = apply(np.copy, observation)
            _keep(copied, observations[-1], ~running)
            observations.append(copied)
        actions.append(action)
        rewards.append(info["mode_rewards"] * running[:, None])
        if achieved is not None:
            now = achieved(observation, info)
            measurements.append(np.where(running[:, None], now, measurements[-1] if measurements else now))
        lengths += running
        terminations |= running & terminated
        running &= ~(terminated | truncated)
        on_step()
    return Rollouts(
        np.stack(actions, axis=1),
        np.stack(rewards, axis=1),
        lengths,
        terminations,
        np.stack(measurements, axis=1) if measurements else None,
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
    """Run many episodes of a task, in parts of `EPISODES_AT_ONCE`.

    Args:
        task: to run in.
        episodes: how many.
        act: from a slice of the episodes, their observations and `info`, to their actions.
        seed: of the environments; episode i has `seed + i`.
        on_step: called after each step of a part.
        modes: (episodes, ...), of the environments; None for the first mode.
        keep_observations: whether they are returned.
    """
    parts = []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        part = slice(start, min(start + EPISODES_AT_ONCE, episodes))
        environment = task.make_vec(part.stop - start, None if modes is None else modes[part])
        acts: Act = partial(act, part)
        parts.append(roll_out(environment, acts, seed + start, on_step, task.achieved, keep_observations))
        environment.close()
        if not np.isfinite(parts[-1].mode_rewards).all():
            raise InputError(f"the rewards of {task.name} are not finite; mend its rewards, or its environment")
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

    def act(part: slice, observations: Any, info: Any) -> Any:
        return task.expert(observations, modes[part], info)

    return roll_out_in_parts(task, len(modes), act, seed, on_step, modes, keep_observations)


def _keep(observation: Any, last: Any, ended: NDArray[np.bool_]) -> None:
    """Overwrite the observations of environments whose episode has ended with their last ones, in place."""
    if isinstance(observation, Mapping):
        for name, array in observation.items():
            array[ended] = last[name][ended]
    else:
        observation[ended] = last[ended]
