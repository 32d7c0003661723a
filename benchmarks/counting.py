"""How many ways are counted in the demonstrations of the tasks' own experts."""

from pathlib import Path
from typing import Annotated, Any

import tyro

import manyways
from manyways.files import read_json, write_json
from manyways.tasks import DiscreteModes, get_task, task_names
from manyways.tasks.collect import cached_demonstrations, collect

RESULTS = Path(__file__).parents[1] / "results" / "counting.json"


def main(tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (), *, seeds: tuple[int, ...] = (0,)) -> None:
    """Count what the result file does not have yet; demonstrations are collected on first use.

    Args:
        tasks: names; all that have a list of modes and an expert unless given.
        seeds: of the count.
    """
    results: dict[str, dict[str, Any]] = read_json(RESULTS) if RESULTS.exists() else {}
    for name in tasks or task_names():
        task = get_task(name)
        if not isinstance(task.modes, DiscreteModes):
            continue
        path = cached_demonstrations(task)
        if not path.exists():
            collect(task, task.demonstrations, path)
        lines = results.setdefault(path.name, {})  # the name says which expert and which noise
        demonstrations = manyways.Demonstrations.load(path)
        for seed in seeds:
            if str(seed) not in lines:
                counted = manyways.count_modes(demonstrations, seed=seed)
                lines[str(seed)] = {"true": len(task.modes)} | counted.to_json()
                write_json(RESULTS, results)
            print(path.name, seed, f"{lines[str(seed)]['best']} of {lines[str(seed)]['true']}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
