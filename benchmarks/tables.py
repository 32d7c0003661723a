"""Rows of Tables 1 to 3: every algorithm, on each task, for each seed.

Table 1: mean return over 100 rollouts, codes matched to modes, of the best training iteration. Tables 2 and 3, where
modes are a range: hit rate and entropy, mutual information. Beside that, which modes rollouts are of when nobody
chooses the code, and the return with a fifth of the actions at random (Figure 7).
"""

import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import manyways
from common import ROOT
from manyways.algorithms import get_algorithm
from manyways.cli.console import ConsoleProgress
from manyways.files import read_json, write_json
from manyways.tasks import DiscreteModes, get_task, task_names

# Table 1: mean return over the expert's.
PAPER = {
    "sog-bc": {
        "circles": 0.994,
        "ant-fwd-back": 1.09,
        "ant-dir-6": 1.04,
        "halfcheetah-fwd-back": 0.13,
        "humanoid-dir-6": 0.97,
        "walker2d-vel-6": 0.97,
        "hopper-vel-6": 1.00,
    },
    "sog-gail": {
        "circles": 0.988,
        "ant-fwd-back": 1.03,
        "ant-dir-6": 0.99,
        "halfcheetah-fwd-back": 0.909,
        "humanoid-dir-6": 0.88,
        "walker2d-vel-6": 0.86,
        "hopper-vel-6": 0.90,
    },
}


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    algorithms: tuple[str, ...] = ("sog-bc",),
    seeds: tuple[int, ...] = (0, 1),
    total_steps: int = 1_000_000,
    label: str | None = None,
    settings: str = "{}",
    episodes: int = 100,
    runs: Path = ROOT / "runs" / "tables",
    results: Path = ROOT / "results",
    threads: int = 1,
) -> None:
    """Measure each seed of each algorithm on each task, or read it where its file is there.

    Args:
        tasks: names; all with an expert unless given.
        algorithms: their names on the command line.
        seeds: of training and rollouts.
        total_steps: environment steps, of algorithms that take any.
        label: folder of the results in place of the algorithm's name, for other settings than its own.
        settings: other settings, as JSON.
        episodes: rollouts of each evaluation.
        results: folder of the result files.
        runs: folder of the runs, which go on where they stopped.
        threads: for PyTorch.
    """
    torch.set_num_threads(threads)
    for name in tasks or task_names():
        if not get_task(name).has_expert:
            print(f"{name}: left out, since it has no expert yet")
            continue
        for algorithm in algorithms:
            rows = []
            for seed in seeds:
                place = Path(name) / (label or algorithm) / f"seed-{seed}"
                file = (results / place).with_suffix(".json")
                if not file.exists():
                    chosen = get_algorithm(algorithm)
                    given: dict[str, Any] = {"prior": None} if chosen.has_codes else {}
                    given |= {"total_steps": total_steps} if chosen.runs_environments else {}
                    own = chosen(**(given | {"seed": seed} | json.loads(settings)))
                    write_json(file, measure(name, own, runs / place, episodes))
                rows.append(read_json(file))
                show(rows[-1])
            summarise(name, algorithm, rows)


class Warned(ConsoleProgress):
    """Keeps the warnings of a training, which the result file tells."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Print and keep one."""
        super().warn(text)
        self.warnings.append(text)


def measure(name: str, settings: Any, folder: Path, episodes: int) -> dict[str, Any]:
    """Train in a folder, roll out, and return what the result file holds."""
    progress, seed = Warned(), settings.seed
    run = manyways.train(settings, folder, task=name, progress=progress)
    common = {"episodes": episodes, "seed": seed, "progress": progress}
    manyways.evaluate(run, **common)
    result = read_json(run.evaluation_file)
    if settings.has_codes and isinstance(get_task(name).modes, DiscreteModes):
        for suffix in ("", "_last") if run.best is not None else ("",):  # the best is chosen by undisturbed rollouts
            disturbed, switching = manyways.robustness(run, policy="last" if suffix else None, **common)
            result[f"random_actions{suffix}"] = disturbed.to_json()
            result[f"switched_codes{suffix}"] = switching.to_json()
        if settings.name in ("sog-bc", "sog-gail"):
            result["purity"] = manyways.modes(run, progress=progress).purity
    last = run.metrics()[-1]
    return result | {
        "best": run.best,
        "warnings": progress.warnings,
        "environment_steps": int(last.get("environment_steps", 0)),
        "wall_seconds": last["seconds"],
        "settings": run.config["settings"],
    }


def show(result: dict[str, Any]) -> None:
    """Print one line of a result."""
    start = f"{result['task']} {result['algorithm']} seed {result['seed']}:"
    if "return_mean" in result:
        start += f" {result['return_mean']:.1f} ± {result['return_std']:.1f}, expert {result['expert_return_mean']:.1f}"
    names = ("mutual_information_nats", "expert_mutual_information_nats", "hit_rate", "entropy_nats", "purity")
    numbers = [f"{name} {result[name]:.3f}" for name in names if result.get(name) is not None]
    if result.get("assignment"):
        pairs = [(code, mode) for code, mode in enumerate(result["assignment"]) if mode is not None]
        numbers.append(f"least code {min(result['return_matrix'][code][mode] for code, mode in pairs):.1f}")
    if result.get("random_actions"):
        numbers.append(f"with random actions {result['random_actions']['return_mean']:.1f}")
    if result.get("random_actions_last"):
        numbers.append(f"of the last policy {result['random_actions_last']['return_mean']:.1f}")
    for which in ("switched_codes", "switched_codes_last"):
        if result.get(which):
            numbers.append(
                f"{which} {result[which]['return_mean']:.1f} (last to the end: {result[which]['survived']:.0%})"
            )
    if result.get("coverage"):
        coverage = result["coverage"]
        numbers.append(
            f"unchosen: {coverage['mode_counts']}, entropy {coverage['behaviour_entropy']:.2f}, return "
            f"{coverage['return_mean']:.1f} of {coverage['expert_return_mean']:.1f}"
        )
    print(", ".join([start, *numbers, f"{result['wall_seconds']:.0f} s"]), flush=True)


def summarise(task: str, algorithm: str, results: list[dict[str, Any]]) -> None:
    """Print the median over the seeds."""
    if all("assignment" in result for result in results):
        ratios = [result["return_mean"] / result["expert_return_mean"] for result in results]
        paper = PAPER.get(algorithm, {}).get(task, "not given")
        print(f"{task} {algorithm}: median ratio to the expert {statistics.median(ratios):.3f} (the paper's: {paper})")


if __name__ == "__main__":
    tyro.cli(main)
