"""How often each task's expert falls when its actions are disturbed: what noise its demonstrations can have."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from common import ROOT
from manyways.files import read_json, write_json
from manyways.runs.provenance import provenance
from manyways.tasks import DiscreteModes, Task, get_task
from manyways.tasks.rollouts import Rollouts, roll_out
from manyways.tasks.spaces import with_noise

FALLING = ("walker2d-vel-6", "hopper-vel-6", "humanoid-dir-6")


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = FALLING,
    *,
    noise: tuple[float, ...] = (0.05, 0.1, 0.2),
    episodes: int = 120,
    seed: int = 7_000_000,
    out: Path = ROOT / "results" / "experts" / "noise.json",
) -> None:
    """Measure what the result file does not have yet, all modes equally often.

    Args:
        tasks: names; those whose experts can fall unless given.
        noise: standard deviations, in halves of the action's range.
        episodes: of each.
        seed: of environments and noise.
        out: the result file.
    """
    results: dict[str, dict[str, Any]] = read_json(out) if out.exists() else {}
    for name in tasks:
        task = get_task(name)
        assert isinstance(task.modes, DiscreteModes)
        modes = task.modes.spread(episodes)
        lines = results.setdefault(f"{name}, {task.trained_expert.fingerprint}", {})
        for size in noise:
            if str(size) not in lines:
                rollouts = roll_out_disturbed(task, modes, size, seed)
                returns = rollouts.rewards_under(task.modes, modes).sum(axis=1)
                falls = [int(rollouts.terminated[modes == mode].sum()) for mode in range(len(task.modes))]
                lines[str(size)] = {"episodes": episodes, "return_mean": float(returns.mean()), "falls": falls}
                lines[str(size)]["provenance"] = provenance(seeds=[seed], task=task)
                write_json(out, results)
            line = lines[str(size)]
            print(f"{name}, noise {size}: return {line['return_mean']:.0f}, falls by mode {line['falls']}", flush=True)


def roll_out_disturbed(task: Task, modes: NDArray[np.int64], size: float, seed: int) -> Rollouts:
    """Roll out a task's expert under modes (episodes,), its actions disturbed."""
    environment, rng = task.make_vec(len(modes), modes), np.random.default_rng(seed)
    space = environment.single_action_space

    def act(observations: Any, info: Any) -> Any:
        return with_noise(space, task.expert(observations, modes, info), size, rng)

    try:
        return roll_out(environment, act, seed, keep_observations=False)
    finally:
        environment.close()


if __name__ == "__main__":
    tyro.cli(main)
