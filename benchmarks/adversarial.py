"""How fast the adversarial loop is: environment steps a second beside the simulator and PPO alone, in the same run.

Each algorithm and PPO alone take turns, an update each, so that all meet the same machine; medians over the updates.
PPO alone learns from the environment's reward with the same settings. Beside it the discriminator's step,
differentiated by hand and automatically.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch.nn import functional

import manyways
from manyways.algorithms import get_algorithm
from manyways.algorithms.adversarial.discriminator import Discriminator
from manyways.files import write_json
from manyways.latents import Categorical
from manyways.rl.ppo import PPOTraining
from manyways.tasks import get_task
from manyways.tasks.collect import cached_demonstrations, collect

ALGORITHMS = ("gail", "sog-gail", "infogail", "vae-gail")


def main(
    tasks: tuple[str, ...] = ("halfcheetah-fwd-back", "ant-dir-6"),
    *,
    updates: int = 12,
    threads: tuple[int, ...] = (1, 2),
    out: Path = Path(__file__).parent / "results" / "adversarial-speed.json",
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
    torch.set_num_threads(1)
    result["discriminator_step"] = discriminator_step()
    print(result["discriminator_step"])
    write_json(out, result)


def measure(name: str, updates: int) -> dict[str, Any]:
    """Return the steps a second of everything on one task."""
    task = get_task(name)
    path = cached_demonstrations(task)
    if not path.exists():
        collect(task, task.demonstrations, path)
    demonstrations = manyways.Demonstrations.load(path)
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
    still = np.zeros((settings.environments, demonstrations.action_size), np.float32)

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


def discriminator_step(steps: int = 300) -> dict[str, float]:
    """Return the milliseconds of a step on HalfCheetah's sizes, by hand and by automatic differentiation."""
    generator = torch.Generator().manual_seed(0)
    judge = Discriminator(23, 128, 3e-4, 10.0, generator)
    expert, policy = (torch.randn(256, 23, generator=generator) for _ in range(2))
    shares = torch.rand(256, 1, generator=generator)
    optimizer = torch.optim.Adam(judge.network.parameters(), 3e-4, fused=True)

    def automatic() -> None:
        between = (policy + shares * (expert - policy)).requires_grad_()
        network = judge.network
        loss = functional.softplus(-network(expert)).mean() + functional.softplus(network(policy)).mean()
        (slope,) = torch.autograd.grad(network(between).sum(), between, create_graph=True)
        optimizer.zero_grad()
        (loss + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()
        optimizer.step()

    times: dict[str, list[float]] = {"by_hand": [], "automatic": []}
    for _ in range(steps):
        for who, step in (("by_hand", lambda: judge.step(expert, policy, shares)), ("automatic", automatic)):
            began = time.perf_counter()
            step()
            times[who].append(time.perf_counter() - began)
    return {f"{who}_ms": round(1000 * statistics.median(values), 3) for who, values in times.items()}


if __name__ == "__main__":
    tyro.cli(main)
