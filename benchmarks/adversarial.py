"""How fast the adversarial loop is: environment steps a second beside the simulator and PPO alone, in the same run.

Each algorithm and PPO alone take turns, an update each, so that all meet the same machine; medians over the updates.
PPO alone learns from the environment's reward with the same settings.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from common import RESULTS, demonstrations_of, write_result
from manyways.algorithms import get_algorithm
from manyways.latents import Categorical
from manyways.rl.ppo import PPOTraining
from manyways.tasks import get_task

ALGORITHMS = ("gail", "sog-gail", "infogail", "vae-gail")


def main(
    tasks: tuple[str, ...] = ("halfcheetah-fwd-back", "ant-dir-6"),
    *,
    updates: int = 12,
    threads: tuple[int, ...] = (1, 2),
    out: Path = RESULTS / "adversarial-speed.json",
) -> None:
    """Measure every algorithm on each task.

    Args:
        tasks: names.
        updates: of each, after two to warm up.
        threads: numbers of threads for PyTorch; the simulator takes as many as there are cores.
        out: the result.
    """
    result: dict[str, Any] = {"updates": updates, "torch": torch.__version__, "tasks": []}
    for name in tasks:
        for count in threads:
            torch.set_num_threads(count)
            result["tasks"].append({"task": name, "threads": count} | measure(name, updates))
            print(result["tasks"][-1], flush=True)
    write_result(out, result, seeds=[0])


def measure(name: str, updates: int) -> dict[str, Any]:
    """Return the steps a second of everything on one task."""
    task = get_task(name)
    demonstrations, _ = demonstrations_of(name)
    trainings: dict[str, Any] = {}
    for algorithm in ALGORITHMS:
        own = {} if algorithm == "gail" else {"prior": Categorical(len(task.modes))}
        own |= {"vae_iterations": 2} if algorithm == "vae-gail" else {}
        settings = get_algorithm(algorithm)(pretraining=2, target_kl=None, warm_up_updates=0, **own)
        trainings[algorithm] = settings.start(demonstrations, task.make_vec(settings.environments))
        while trainings[algorithm].pretraining is not None:
            trainings[algorithm].step()
    trainings["ppo"] = PPOTraining(settings.ppo, task.make_vec(settings.environments))
    raw = task.make_vec(settings.environments)
    raw.reset(seed=0)
    still = np.zeros((settings.environments, demonstrations.action_space.shape[0]), np.float32)

    def simulate() -> None:
        for _ in range(settings.steps_per_update):
            raw.step(still)

    turns: dict[str, Callable[[], Any]] = {"simulator": simulate} | {k: t.step for k, t in trainings.items()}
    seconds: dict[str, list[float]] = {who: [] for who in turns}
    for _ in range(2 + updates):
        for who, step in turns.items():
            began = time.perf_counter()
            step()
            seconds[who].append(time.perf_counter() - began)
    steps = settings.environments * settings.steps_per_update
    speeds = {who: round(steps / statistics.median(times[2:])) for who, times in seconds.items()}
    shares = {k: round(speeds[k] / speeds["ppo"], 2) for k in ALGORITHMS}
    return {"steps_per_second": speeds, "of_simulator_and_ppo": shares}


if __name__ == "__main__":
    tyro.cli(main)
