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
from manyways.demonstrations.observations import apply, concatenate, entries, rows_of, stack
from manyways.errors import InputError
from manyways.files import require_empty
from manyways.tasks.provenance import fingerprint
from manyways.tasks.rollouts import EPISODES_AT_ONCE, roll_out
from manyways.tasks.spaces import disturbed, require_noise, within
from manyways.tasks.task import Task

_ATTEMPTS = 10  # at an episode in which the expert fails
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
    """Roll the task's expert out under modes drawn at random and write what it did to the Minari folder `path`.

    An episode in which the expert fails (see `Task.termination_fails`) demonstrates nothing: it is tried again.

    Args:
        task: whose expert.
        episodes: how many.
        path: the data set's folder; must not exist yet, or be empty.
        seed: of the modes and the environment; the same seed gives the same data.
        on_step: called after every step of `EPISODES_AT_ONCE` episodes, for progress; see `steps_of`.
        noise: what disturbs the expert's actions, see `Task.noise`, whose value is the default. The environment does
            the disturbed action, and rewards that; the expert's own action is recorded (Laskey et al. 2017).

    Raises:
        InputError: fewer than one episode, no expert, noise that the actions cannot have, the folder holds something,
            the expert goes on failing, or a number that is not finite.
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
                    collected[episode] = record
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
    """Return what `write_minari` takes, of one episode in each environment."""
    space = environment.single_action_space
    rng = np.random.default_rng((seed, 1))  # another than that of the modes
    meant: list[NDArray[Any]] = []

    def act(observations: Any, info: Any) -> Any:
        meant.append(within(space, task.expert(observations, modes, info)))
        return disturbed(space, meant[-1], noise, rng)

    rollouts = roll_out(environment, act, seed, on_step)
    assert rollouts.observations is not None
    rewards, actions = rollouts.rewards_under(task.modes, modes), _single(np.stack(meant, axis=1))
    observations = apply(_single, rollouts.observations)
    named = {f"observations {name}".strip(): array for name, array in entries(observations)}
    _require_finite(named | {"actions": actions, "rewards": rewards}, rollouts.lengths, task.name)
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
    """Return numbers in single precision, and integers, such as pictures, as they are."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _require_finite(named: dict[str, NDArray[Any]], lengths: NDArray[np.int64], task: str) -> None:
    """Raise `InputError` where a number of an episode's steps is not finite; arrays are (episodes, steps, ...)."""
    found: list[tuple[int, str]] = []  # the first step with such a number, and whose it is
    for name, array in named.items():
        steps = np.arange(array.shape[1]) < lengths[:, None] + (array.shape[1] > lengths.max())
        wrong = ~np.isfinite(array.reshape(*array.shape[:2], -1)).all(axis=2) & steps
        found += [(int(wrong.any(axis=0).argmax()), name)] * bool(wrong.any())
    if found:
        step, name = min(found, key=lambda place: place[0])
        raise InputError(
            f"the {name} of {task} are not finite at step {step}; mend the task's environment, rewards or expert: "
            "nothing was written"
        )


def cached_demonstrations(task: Task) -> Path:
    """Return where the task's default demonstrations are, or will be, kept in the user's cache.

    The folder is $MANYWAYS_CACHE, or the system's place for caches. Its name depends on all that the demonstrations
    are made of: whoever changes the task or its expert gets other ones.

    Raises:
        InputError: the task has no expert.
    """
    task.require_expert()
    cache = os.environ.get("MANYWAYS_CACHE") or platformdirs.user_cache_dir("manyways")
    return Path(cache) / "demonstrations" / f"{task.name}-{task.demonstrations}-{fingerprint(task, task.noise)}"
