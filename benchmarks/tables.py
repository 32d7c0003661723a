"""Result files beside the paper's list: other algorithms, other settings, other tasks than `manyways reproduce` has."""

import json
from pathlib import Path
from typing import Annotated

import torch
import tyro

from common import ROOT
from manyways.algorithms import get_algorithm
from manyways.cli.console import ConsoleProgress
from manyways.cli.paper_tables import summary
from manyways.reproduce.experiments import Experiment
from manyways.reproduce.measure import Measurer
from manyways.tasks import get_task, task_names


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
    measure = Measurer(results, runs, episodes, progress=ConsoleProgress())
    for name in tasks or task_names():
        if not get_task(name).has_expert:
            print(f"{name}: left out, since it has no expert yet")
            continue
        for algorithm in algorithms:
            budget = {"total_steps": total_steps} if get_algorithm(algorithm).runs_environments else {}
            for seed in seeds:
                one = Experiment(name, algorithm, label or algorithm, seed, budget | json.loads(settings))
                print(f"{one.title}: {summary(measure(one))}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
