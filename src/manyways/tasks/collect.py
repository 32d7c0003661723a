"""Demonstrations of a task's expert as a Minari data set; the labels stay in the episodes' metadata."""

import os
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import platformdirs

from manyways.demonstrations.formats import write_minari
from manyways.errors import InputError
from manyways.files import require_empty
from manyways.tasks.rollouts import roll_out
from manyways.tasks.task import Task


def collect(task: Task, episodes: int, path: Path, seed: int = 0, on_step: Callable[[], object] = lambda: None) -> None:
    """Roll the task's expert out under modes drawn at random and write what it did to the Minari folder `path`.

    Args:
        task: whose expert.
        episodes: how many.
        path: the data set's folder; must not exist yet, or be empty.
        seed: of the modes and the environment; the same seed gives the same data.
        on_step: called after every step of all episodes at once, for progress.

    Raises:
        InputError: fewer than one episode, or the folder holds something.
        WriteError: the system refused to write.
    """
    if episodes < 1:
        raise InputError(f"{episodes} episodes are no demonstrations; collect 1 or more")
    require_empty(path)
    modes = np.random.default_rng(seed).integers(len(task.modes), size=episodes)
    environment = task.make_vec(episodes, modes)
    rollouts = roll_out(environment, lambda observations: task.expert(observations, modes), seed, on_step)
    episode = np.arange(episodes)
    happened = np.arange(rollouts.actions.shape[1]) < rollouts.lengths[:, None]  # (episodes, steps)
    write_minari(
        path,
        rollouts.observations[:, :-1][happened].astype(np.float32),
        rollouts.actions[happened].astype(np.float32),
        rollouts.lengths,
        modes=modes,
        rewards=rollouts.mode_rewards[episode, :, modes][happened],
        final_observations=rollouts.observations[episode, rollouts.lengths],
        terminations=rollouts.terminated,
        seed=seed,
        env_spec=gym.spec(task.environment),
        spaces=(environment.single_observation_space, environment.single_action_space),
        description=f"The {task.name} expert, its modes unlabelled; the labels in the episodes' metadata serve scoring",
    )
    environment.close()


def cached_demonstrations(task: Task) -> Path:
    """Return where the task's default demonstrations are, or will be, kept in the user's cache.

    The folder is $MANYWAYS_CACHE, or the system's place for caches.
    """
    cache = os.environ.get("MANYWAYS_CACHE") or platformdirs.user_cache_dir("manyways")
    return Path(cache) / "demonstrations" / f"{task.name}-{task.demonstrations}"
