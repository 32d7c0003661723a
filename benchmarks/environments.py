"""Environment steps a second of every task, beside what lies underneath: raw EnvPool and Gymnasium.

    manyways             task.make_vec(n)
    raw                  EnvPool itself with the same settings, where the task stands on it
    gymnasium_vector     the task's other form, Gymnasium's environments one after another in this process
    gymnasium            one environment of Gymnasium, without modes (Circles has no other than its own)

All take the same random actions, drawn before the clock runs, in turn in this process, so that they meet the same
machine; the first two from the same seeds, so that they do the same. An environment that ended starts anew; the step
that does so counts as the others.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from common import RESULTS, write_result
from manyways.tasks import Task, get_task, task_names
from manyways.tasks.base import has_envpool

SIZES = (1, 16, 64)
LARGEST_GYMNASIUM = 16  # beyond, its vector form gets no faster
ACTIONS = 50  # different ones, which come around again

Walk = Callable[[int], float]
"""From steps to take to the seconds they took."""


def walk(environment: Any, actions: np.ndarray) -> Walk:
    """Return what steps a vector environment, or EnvPool, with `actions` (ACTIONS, environments, action size)."""

    def take(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            environment.step(actions[step % ACTIONS])
        return time.perf_counter() - began

    return take


def walk_alone(environment: gym.Env[Any, Any], actions: np.ndarray, episode_steps: int) -> Walk:
    """Return what steps one environment of Gymnasium, with its reset where an episode ends."""
    taken = 0

    def take(steps: int) -> float:
        nonlocal taken
        began = time.perf_counter()
        for step in range(steps):
            *_, terminated, _, _ = environment.step(actions[step % ACTIONS, 0])
            taken += 1
            if terminated or taken == episode_steps:
                environment.reset()
                taken = 0
        return time.perf_counter() - began

    return take


def contestants(task: Task, count: int) -> dict[str, tuple[Walk, Callable[[], None]]]:
    """Return for each name what steps it and what closes it."""
    rng = np.random.default_rng(0)
    environment = task.make_vec(count)
    environment.reset(seed=0)
    space: Any = environment.single_action_space
    actions = rng.uniform(space.low, space.high, (ACTIONS, count, *space.shape)).astype(space.dtype)
    found = {"manyways": (walk(environment, actions), environment.close)}
    base = task.base
    if base is not None and base.uses_envpool():
        pool = base.make_pool(range(count), task.episode_steps)
        pool.reset()
        found["raw"] = (walk(pool, actions), pool.close)
    if count <= LARGEST_GYMNASIUM:
        slow: Any
        if base is None:
            slow = SyncVectorEnv([task.make] * count, autoreset_mode=AutoresetMode.NEXT_STEP)
        else:
            slow = task.make_vec(count, vector_form="gymnasium")
        slow.reset(seed=0)
        found["gymnasium_vector"] = (walk(slow, actions), slow.close)
    if count == 1:
        alone = task.make() if base is None else base.make()
        alone.reset(seed=0)
        found["gymnasium"] = (walk_alone(alone, actions, task.episode_steps), alone.close)
    return found


def measure(task: Task, count: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Step all in turn, each for about so many seconds a round."""
    found = contestants(task, count)
    warm_up = 20
    steps = {name: max(warm_up, round(seconds * warm_up / take(warm_up))) for name, (take, _) in found.items()}
    if "raw" in steps:  # which are compared, so that they should go through the same
        steps["raw"] = steps["manyways"]
    speeds: dict[str, list[float]] = {name: [] for name in found}
    for round_ in range(rounds):
        # Who goes first changes, so that what slows the machine down for a while meets all alike.
        for name, (take, _) in list(found.items())[:: 1 if round_ % 2 else -1]:
            speeds[name].append(steps[name] * count / take(steps[name]))
    for _, close in found.values():
        close()
    result: dict[str, Any] = {"environments": count}
    result |= {f"{name}_steps_per_second": round(statistics.median(values)) for name, values in speeds.items()}
    for other in speeds.keys() - {"manyways"}:
        pairs = zip(speeds["manyways"], speeds[other], strict=True)
        result[f"over_{other}"] = round(statistics.median(ours / theirs for ours, theirs in pairs), 3)
    return result


def main(
    tasks: tuple[str, ...] = (),
    sizes: tuple[int, ...] = SIZES,
    rounds: int = 15,
    seconds: float = 0.5,
    out: Path = RESULTS / "environments.json",
) -> None:
    """Measure every task at every size.

    Args:
        tasks: which; all unless given.
        sizes: numbers of environments.
        rounds: in which all take their turn.
        seconds: of one turn, about.
        out: the result file.
    """
    result: dict[str, Any] = {
        "mujoco": mujoco.__version__,
        "gymnasium": gym.__version__,
        "rounds": rounds,
        "tasks": {},
    }
    if has_envpool():
        import envpool

        result["envpool"] = envpool.__version__
    for name in tasks or task_names():
        result["tasks"][name] = []
        for count in sizes:
            result["tasks"][name].append(measure(get_task(name), count, rounds, seconds))
            print(name, result["tasks"][name][-1], flush=True)
    for count in sizes:
        rows = [(row, name) for name, all_ in result["tasks"].items() for row in all_ if row["environments"] == count]
        least = min(((row["over_raw"], name) for row, name in rows if "over_raw" in row), default=None)
        print(f"at {count} environments the least of raw EnvPool's speed: {least}")
    write_result(out, result, seeds=[0])


if __name__ == "__main__":
    tyro.cli(main)
