"""SOG-BC on Circles for seeds 0-9: mean return over 100 rollouts, and whether codes and modes match one to one."""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import tyro

import manyways
from manyways.console import progress
from manyways.evaluation import evaluate, purity
from manyways.files import write_json
from manyways.tasks import get_task
from manyways.tasks.collect import cached_demonstrations, collect

RESULTS = Path(__file__).parents[1] / "results" / "circles"


def main(seeds: int = 10, first_codes: Literal["trajectories", "random"] = "trajectories") -> None:
    """Measure each seed, or read it where its file is there.

    Args:
        seeds: how many, from 0 on.
        first_codes: where SOG-BC starts from.
    """
    task = get_task("circles")
    folder = RESULTS / ("sog-bc" if first_codes == "trajectories" else "sog-bc-random-start")
    path = cached_demonstrations(task)
    if not path.exists():
        collect(task, task.demonstrations, path)
    demonstrations, labels = manyways.Demonstrations.load(path), manyways.load_modes(path)
    settings = manyways.SOGBC(prior=manyways.Categorical(len(task.modes)), first_codes=first_codes)
    results = []
    for seed in range(seeds):
        file = folder / f"seed-{seed}.json"
        if not file.exists():
            began = time.perf_counter()
            with progress(f"seed {seed}", settings.iterations, "iterations") as update:
                chosen = replace(settings, seed=seed)
                policy = chosen.fit(demonstrations, lambda training, update=update: update(training.iteration, ""))
            seconds = time.perf_counter() - began
            evaluation = evaluate(policy, task, episodes=100, seed=seed)
            origin = {"task": "circles", "algorithm": "sog-bc", "seed": seed}
            spent = {"environment_steps": 0, "wall_seconds": round(seconds, 1), "settings": chosen.to_json()}
            agreement = {"purity": purity(policy.losses(demonstrations).argmin(axis=1), labels)}
            write_json(file, origin | evaluation.to_json() | agreement | spent)
        results.append(json.loads(file.read_text()))
    for result in results:
        diagonal = [result["return_matrix"][code][mode] for code, mode in enumerate(result["assignment"])]
        print(
            f"seed {result['seed']}: {result['return_mean']:.1f} ± {result['return_std']:.1f}, least code "
            f"{min(diagonal):.1f}, purity {result['purity']:.3f}, expert {result['expert_return_mean']:.1f}, "
            f"{result['wall_seconds']:.0f} s"
        )
    means = [result["return_mean"] for result in results]
    print(f"{sum(mean >= 990 for mean in means)} of {seeds} seeds reach 990; median {statistics.median(means):.1f}")
    print(f"{sum(result['purity'] == 1 for result in results)} of {seeds} seeds give each mode a code of its own")


if __name__ == "__main__":
    tyro.cli(main)
