"""SOG-BC's rows of Tables 1 to 3, for each task and seed.

Table 1: mean return over 100 rollouts, codes matched to modes. Tables 2 and 3, where modes are a range: hit rate and
entropy, mutual information.
"""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import manyways
from manyways.console import progress
from manyways.evaluation import evaluate, evaluate_continuous, purity
from manyways.files import write_json
from manyways.tasks import DiscreteModes, get_task, task_names
from manyways.tasks.collect import cached_demonstrations, collect

RESULTS = Path(__file__).parents[1] / "results"

# Table 1's ratio of SOG-BC to the expert.
PAPER = {
    "circles": 0.994,
    "ant-fwd-back": 1.09,
    "ant-dir-6": 1.04,
    "halfcheetah-fwd-back": 0.13,
    "humanoid-dir-6": 0.97,
    "walker2d-vel-6": 1.01,
    "hopper-vel-6": 1.00,
}


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    seeds: int = 2,
    first_codes: Literal["trajectories", "random"] = "trajectories",
) -> None:
    """Measure each seed of each task, or read it where its file is there.

    Args:
        tasks: names; all with an expert unless given.
        seeds: how many, from 0 on.
        first_codes: where SOG-BC starts from.
    """
    for name in tasks or task_names():
        folder = RESULTS / name / ("sog-bc" if first_codes == "trajectories" else "sog-bc-random-start")
        task = get_task(name)
        try:
            path = cached_demonstrations(task)
            if not path.exists():
                collect(task, task.demonstrations, path)
        except manyways.InputError as error:  # no expert yet
            print(f"{name}: left out ({error})")
            continue
        demonstrations, labels = manyways.Demonstrations.load(path), manyways.load_modes(path)
        listed = isinstance(task.modes, DiscreteModes)
        prior = manyways.Categorical(len(task.modes)) if listed else manyways.Gaussian(task.modes.dimension)
        settings = manyways.SOGBC(prior=prior, first_codes=first_codes)
        results = []
        for seed in range(seeds):
            file = folder / f"seed-{seed}.json"
            if not file.exists():
                write_json(file, measure(name, replace(settings, seed=seed), demonstrations, labels))
            results.append(json.loads(file.read_text()))
            show(results[-1])
        if not listed:
            continue
        ratios = [result["return_mean"] / result["expert_return_mean"] for result in results]
        whole = sum(result["purity"] > 0.99 for result in results)
        print(
            f"{name}: median ratio to the expert {statistics.median(ratios):.3f} (the paper's: {PAPER[name]}); "
            f"{whole} of {seeds} seeds give each mode a code of its own"
        )


def measure(
    name: str, settings: manyways.SOGBC, demonstrations: manyways.Demonstrations, labels: Any
) -> dict[str, Any]:
    """Train with one seed, roll out, and return what the result file holds."""
    began = time.perf_counter()
    with progress(f"{name}, seed {settings.seed}", settings.iterations, "iterations") as update:
        policy = settings.fit(demonstrations, lambda training: update(training.iteration, ""))
    seconds = time.perf_counter() - began
    task = get_task(name)
    origin = {"task": name, "algorithm": "sog-bc", "seed": settings.seed}
    spent = {"environment_steps": 0, "wall_seconds": round(seconds, 1), "settings": settings.to_json()}
    if not isinstance(task.modes, DiscreteModes):
        continuous = evaluate_continuous(policy, task, demonstrations, labels, episodes=100, seed=settings.seed)
        return origin | continuous.to_json() | spent
    evaluation = evaluate(policy, task, episodes=100, seed=settings.seed)
    agreement = {"purity": purity(policy.losses(demonstrations).argmin(axis=1), labels)}
    return origin | evaluation.to_json() | agreement | spent


def show(result: dict[str, Any]) -> None:
    """Print one line of a result."""
    start = f"{result['task']} seed {result['seed']}: {result['return_mean']:.1f} ± {result['return_std']:.1f}"
    end = f"expert {result['expert_return_mean']:.1f}, {result['wall_seconds']:.0f} s"
    if "assignment" not in result:
        names = ("mutual_information_nats", "expert_mutual_information_nats", "hit_rate", "entropy_nats")
        numbers = [f"{name} {result[name]:.3f}" for name in names if result[name] is not None]
        print(", ".join([start, *numbers, end]))
        return
    pairs = [(code, mode) for code, mode in enumerate(result["assignment"]) if mode is not None]
    least = min(result["return_matrix"][code][mode] for code, mode in pairs)
    print(f"{start}, least code {least:.1f}, purity {result['purity']:.3f}, {end}")


if __name__ == "__main__":
    tyro.cli(main)
