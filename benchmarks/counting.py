"""How many modes are counted in the demonstrations of the tasks' own experts."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import manyways
from common import ROOT, demonstrations_of
from manyways.files import read_json, write_json
from manyways.runs.provenance import provenance
from manyways.tasks import DiscreteModes, get_task, task_names


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    seeds: tuple[int, ...] = (0,),
    trajectories: int | None = None,
    out: Path = ROOT / "results" / "counting.json",
) -> None:
    """Count what the result file does not have yet; demonstrations are collected on first use.

    Args:
        tasks: names; all that have a list of modes and an expert unless given.
        seeds: of the count.
        trajectories: how many of the demonstrations, for a trial; all unless given.
        out: the result file.
    """
    results: dict[str, dict[str, Any]] = read_json(out) if out.exists() else {}
    for name in tasks or task_names():
        task = get_task(name)
        if not isinstance(task.modes, DiscreteModes) or not task.has_expert:
            continue
        demonstrations, about = demonstrations_of(name)
        lines = results.setdefault(f"{name}, data {about['data'][:8]}", {})
        if trajectories is not None:
            demonstrations = demonstrations.select(np.arange(trajectories))
        for seed in seeds:
            if str(seed) not in lines:
                counted = manyways.count_modes(demonstrations, seed=seed).to_json()
                lines[str(seed)] = {"true": len(task.modes), **counted, "provenance": provenance(seeds=[seed], **about)}
                write_json(out, results)
            print(name, seed, f"{lines[str(seed)]['best']} of {lines[str(seed)]['true']}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
