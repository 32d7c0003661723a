"""Demonstrations of a task's expert as a Minari data set; the labels stay in the episodes' metadata."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import platformdirs
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from manyways.demonstrations.formats.minari import write_minari
from manyways.errors import InputError
from manyways.files import require_empty
from manyways.tasks.rollouts import EPISODES_AT_ONCE, roll_out
from manyways.tasks.task import Task

_ATTEMPTS = 10  # at an episode in which the expert fails
_OF_STEPS = ("observations", "actions", "rewards")


def collect(
    task: Task,
    episodes: int,
    path: Path,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
    noise: float | None = None,
) -> None:
    """Roll the task's expert out under modes drawn at random and write what it did to the Minari folder `path`.

    An episode in which the expert fails (see `Task.termination_fails`) demonstrates nothing: it is tried again.

    Args:
        task: whose expert.
        episodes: how many.
        path: the data set's folder; must not exist yet, or be empty.
        seed: of the modes and the environment; the same seed gives the same data.
        on_step: called after every step of `EPISODES_AT_ONCE` episodes, for progress; see `steps_of`.
        noise: standard deviation of what disturbs the expert's actions, in halves of the action space's range; the
            task's own unless given. The environment does the disturbed action, and rewards that; recorded is what the
            expert meant to do (Laskey et al. 2017).

    Raises:
        InputError: fewer than one episode, negative noise, the folder holds something, or the expert goes on failing.
        WriteError: the system refused to write.
    """
    if episodes < 1:
        raise InputError(f"{episodes} episodes are no demonstrations; collect 1 or more")
    noise = task.noise if noise is None else noise
    if not noise >= 0:
        raise InputError(f"the noise is {noise}; give 0 or more")
    require_empty(path)
    modes = task.modes.sample(episodes, np.random.default_rng(seed))
    shown: list[dict[str, Any]] = [{}] * episodes
    left = np.arange(episodes)
    begun = 0
    for attempt in range(_ATTEMPTS):
        failed = []
        for start in range(0, len(left), EPISODES_AT_ONCE):
            part = left[start : start + EPISODES_AT_ONCE]
            environment = task.make_vec(len(part), modes[part])
            # Environment i of a part has the seed it would have if all episodes ran at once.
            count = on_step if attempt == 0 else (lambda: None)
            records = _collect(task, environment, modes[part], seed + begun, count, noise)
            for episode, record in zip(part, records, strict=True):
                if record["terminations"] and task.termination_fails:
                    failed.append(episode)
                else:
                    shown[episode] = record
            environment.close()
            begun += len(part)
        left = np.array(failed, dtype=np.int64)
        if not len(left):
            break
    else:
        raise InputError(
            f"{len(left)} of {episodes} episodes of {task.name} ended early {_ATTEMPTS} times each; if that is success "
            "there, declare Task(termination_fails=False); if not, disturb the expert less than by noise of "
            f"{noise:g}, or train it further"
        )
    columns = {
        name: (np.concatenate if name in _OF_STEPS else np.array)([record[name] for record in shown])
        for name in shown[0]
    }
    write_minari(
        path,
        **columns,
        modes=modes,
        seed=seed,
        env_spec=gym.spec(task.environment),
        spaces=(environment.single_observation_space, environment.single_action_space),
        description=f"The {task.name} expert, its modes unlabelled; the labels in the episodes' metadata serve scoring",
    )


def steps_of(task: Task, episodes: int) -> int:
    """Return how often at most `collect` calls `on_step`."""
    return task.episode_steps * -(-episodes // EPISODES_AT_ONCE)


def _collect(
    task: Task,
    environment: VectorEnv[Any, Any, Any],
    modes: NDArray[Any],
    seed: int,
    on_step: Callable[[], object],
    noise: float,
) -> list[dict[str, Any]]:
    """Return what `write_minari` takes, of one episode in each environment."""
    space: Any = environment.single_action_space
    rng = np.random.default_rng((seed, 1))  # another than that of the modes
    meant: list[NDArray[Any]] = []

    def act(observations: Any) -> Any:
        meant.append(np.clip(task.expert(observations, modes), space.low, space.high))
        return meant[-1] + noise * (space.high - space.low) / 2 * rng.standard_normal(meant[-1].shape)

    rollouts = roll_out(environment, act, seed, on_step)
    rewards, actions = rollouts.rewards_under(task.modes, modes), np.stack(meant, axis=1)
    return [
        {
            "observations": rollouts.observations[episode, :steps].astype(np.float32),
            "actions": actions[episode, :steps].astype(np.float32),
            "lengths": steps,
            "rewards": rewards[episode, :steps],
            "final_observations": rollouts.observations[episode, steps],
            "terminations": rollouts.terminated[episode],
        }
        for episode, steps in enumerate(rollouts.lengths)
    ]


def cached_demonstrations(task: Task) -> Path:
    """Return where the task's default demonstrations are, or will be, kept in the user's cache.

    The folder is $MANYWAYS_CACHE, or the system's place for caches.
    """
    cache = os.environ.get("MANYWAYS_CACHE") or platformdirs.user_cache_dir("manyways")
    name = f"{task.name}-{task.demonstrations}"
    if task.scripted_expert is None:  # another expert would have shown something else
        name += f"-{task.trained_expert.fingerprint}"
    if task.noise:
        name += f"-disturbed-{task.noise:g}"
    return Path(cache) / "demonstrations" / name
