"""Demonstrations of a task's expert as a Minari data set, with labels in the episodes' metadata."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from manyways.demonstrations.formats.minari import write_minari
from manyways.demonstrations.observations import apply, concatenate, entries, rows_of, stack
from manyways.errors import InputError
from manyways.files import cache_folder, require_empty
from manyways.tasks.provenance import fingerprint
from manyways.tasks.rollouts import EPISODES_AT_ONCE, roll_out
from manyways.tasks.spaces import require_noise, with_noise, within
from manyways.tasks.task import Task

_ATTEMPTS = 10  # at an episode, until the expert does not fail
_JOINED: dict[str, Callable[[list[Any]], Any]] = {
    "observations": concatenate,
    "actions": np.concatenate,
    "rewards": np.concatenate,
    "final_observations": stack,
}


def collect(
    task: Task,
    episodes: int,
    path: Path,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
    noise: float | None = None,
) -> None:
    """Roll the task's expert out under random modes and write the episodes to the Minari folder `path`.

    An episode in which the expert fails (see `Task.termination_fails`) is repeated with another seed.

    Args:
        task: whose expert.
        episodes: how many.
        path: the data set's folder; must not exist yet, or be empty.
        seed: of the modes and the environment; the same seed gives the same data, with any number of threads.
        on_step: called after every step of `EPISODES_AT_ONCE` episodes, for progress; see `steps_of`.
        noise: on the expert's actions; `Task.noise` by default. The environment executes and rewards the noisy action;
            the data set has the expert's own action (Laskey et al. 2017).

    Raises:
        InputError: there are fewer than one episode, no expert, noise that does not fit the actions, something in the
            folder, an expert that always fails, or values that are not finite.
        WriteError: the system refused to write.
    """
    if episodes < 1:
        raise InputError(f"{episodes} episodes are no demonstrations; collect 1 or more")
    noise = task.noise if noise is None else noise
    task.require_expert()
    require_noise(task.spaces[1], noise, task.name)
    require_empty(path)
    modes = task.modes.sample(episodes, np.random.default_rng(seed))
    collected: list[dict[str, Any]] = [{}] * episodes
    remaining = np.arange(episodes)
    attempts = 0
    for attempt in range(_ATTEMPTS):
        failed = []
        for start in range(0, len(remaining), EPISODES_AT_ONCE):
            part = remaining[start : start + EPISODES_AT_ONCE]
            environment = task.make_vec(len(part), modes[part])
            # Environment i of a part has the same seed as if all episodes ran at once.
            count = on_step if attempt == 0 else (lambda: None)
            records = _collect(task, environment, modes[part], seed + attempts, count, noise)
            for episode, record in zip(part, records, strict=True):
                if record["terminations"] and task.termination_fails:
                    failed.append(episode)
                else:
                    collected[episode] = record
            environment.close()
            attempts += len(part)
        remaining = np.array(failed, dtype=np.int64)
        if not len(remaining):
            break
    else:
        raise InputError(
            f"{len(remaining)} of {episodes} episodes of {task.name} ended early {_ATTEMPTS} times each; if that is "
            "success there, declare Task(termination_fails=False); if not, disturb the expert less than by noise of "
            f"{noise:g}, or train it further"
        )
    columns = {name: _JOINED.get(name, np.array)([record[name] for record in collected]) for name in collected[0]}
    write_minari(
        path,
        **columns,
        modes=modes,
        seed=seed,
        env_spec=gym.spec(task.environment),
        spaces=task.spaces,
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
    """Return the arguments of `write_minari` for one episode of each environment."""
    space = environment.single_action_space
    rng = np.random.default_rng((seed, 1))  # not that of the modes
    expert_actions: list[NDArray[Any]] = []

    def act(observations: Any, info: Any) -> Any:
        expert_actions.append(within(space, task.expert(observations, modes, info)))
        return with_noise(space, expert_actions[-1], noise, rng)

    with threadpool_limits(1, "blas"):  # with another number of threads the expert's network rounds differently
        rollouts = roll_out(environment, act, seed, on_step)
    assert rollouts.observations is not None
    rewards, actions = rollouts.rewards_under(task.modes, modes), _single(np.stack(expert_actions, axis=1))
    observations = apply(_single, rollouts.observations)
    arrays = {f"observations {name}".strip(): array for name, array in entries(observations)}
    _require_finite(arrays | {"actions": actions, "rewards": rewards}, rollouts.lengths, task.name)
    return [
        {
            "observations": rows_of(observations, (episode, slice(steps))),
            "actions": actions[episode, :steps],
            "lengths": steps,
            "rewards": rewards[episode, :steps],
            "final_observations": rows_of(observations, (episode, steps)),
            "terminations": rollouts.terminated[episode],
        }
        for episode, steps in enumerate(rollouts.lengths)
    ]


def _single(array: NDArray[Any]) -> NDArray[Any]:
    """Return real numbers in single precision, and integers, such as pictures, as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _require_finite(arrays: dict[str, NDArray[Any]], lengths: NDArray[np.int64], task: str) -> None:
    """Raise `InputError` where a value of an episode's steps is not finite; arrays are (episodes, steps, ...)."""
    places: list[tuple[int, str]] = []  # the first step with such a value, and its array
    for name, array in arrays.items():
        steps = np.arange(array.shape[1]) < lengths[:, None] + (array.shape[1] > lengths.max())
        wrong = ~np.isfinite(array.reshape(*array.shape[:2], -1)).all(axis=2) & steps
        places += [(int(wrong.any(axis=0).argmax()), name)] * bool(wrong.any())
    if places:
        step, name = min(places, key=lambda place: place[0])
        raise InputError(
            f"the {name} of {task} are not finite at step {step}; mend the task's environment, rewards or expert: "
            "nothing was written"
        )


def cached_demonstrations(task: Task) -> Path:
    """Return the path of the task's default demonstrations in the user's cache, which may not exist yet.

    The cache is `files.cache_folder`. The name has a fingerprint of the task and its
    expert, so that a change of either gives new demonstrations.

    Raises:
        InputError: the task has no expert.
    """
    task.require_expert()
    return cache_folder() / "demonstrations" / f"{task.name}-{task.demonstrations}-{fingerprint(task, task.noise)}"
