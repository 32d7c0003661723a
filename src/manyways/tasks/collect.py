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

from manyways.demonstrations.formats import write_minari
from manyways.errors import InputError
from manyways.files import require_empty
from manyways.tasks.rollouts import EPISODES_AT_ONCE, roll_out
from manyways.tasks.task import Task


def collect(
    task: Task,
    episodes: int,
    path: Path,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
    noise: float | None = None,
) -> None:
    """Roll the task's expert out under modes drawn at random and write what it did to the Minari folder `path`.

    Args:
        task: whose expert.
        episodes: how many.
        path: the data set's folder; must not exist yet, or be empty.
        seed: of the modes and the environment; the same seed gives the same data.
        on_step: called after every step of `EPISODES_AT_ONCE` episodes, for progress; see `steps_of`.
        noise: standard deviation of what is added to the expert's actions, in halves of the action space's range; the
            task's own unless given. The noisy actions are the ones that are done, rewarded and recorded.

    Raises:
        InputError: fewer than one episode, negative noise, or the folder holds something.
        WriteError: the system refused to write.
    """
    if episodes < 1:
        raise InputError(f"{episodes} episodes are no demonstrations; collect 1 or more")
    noise = task.noise if noise is None else noise
    if not noise >= 0:
        raise InputError(f"the noise is {noise}; give 0 or more")
    require_empty(path)
    modes = task.modes.sample(episodes, np.random.default_rng(seed))
    parts = []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        part_modes = modes[start : start + EPISODES_AT_ONCE]
        environment = task.make_vec(len(part_modes), part_modes)
        # Environment i of a part has the seed it would have if all episodes ran at once.
        parts.append(_collect(task, environment, part_modes, seed + start, on_step, noise))
        environment.close()
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
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
) -> dict[str, NDArray[Any]]:
    """Return the arrays that `write_minari` takes, of one episode in each environment."""
    space: Any = environment.single_action_space
    rng = np.random.default_rng((seed, 1))  # another than that of the modes

    def act(observations: Any) -> Any:
        actions = task.expert(observations, modes)
        return actions + noise * (space.high - space.low) / 2 * rng.standard_normal(actions.shape)

    rollouts = roll_out(environment, act, seed, on_step)
    happened = np.arange(rollouts.actions.shape[1]) < rollouts.lengths[:, None]  # (episodes, steps)
    return {
        "observations": rollouts.observations[:, :-1][happened].astype(np.float32),
        "actions": rollouts.actions[happened].astype(np.float32),
        "lengths": rollouts.lengths,
        "rewards": rollouts.rewards_under(task.modes, modes)[happened],
        "final_observations": rollouts.observations[np.arange(len(modes)), rollouts.lengths],
        "terminations": rollouts.terminated,
    }


def cached_demonstrations(task: Task) -> Path:
    """Return where the task's default demonstrations are, or will be, kept in the user's cache.

    The folder is $MANYWAYS_CACHE, or the system's place for caches.
    """
    cache = os.environ.get("MANYWAYS_CACHE") or platformdirs.user_cache_dir("manyways")
    name = f"{task.name}-{task.demonstrations}"
    if task.scripted_expert is None:  # another expert would have shown something else
        name += f"-{task.trained_expert.fingerprint}"
    if task.noise:
        name += f"-noise-{task.noise:g}"
    return Path(cache) / "demonstrations" / name
