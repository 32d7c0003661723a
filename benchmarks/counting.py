"""How many modes are counted in the demonstrations of the tasks' own experts, and whether gaps change their groups.

Told the number, groups are those of the embedding of all features unless gaps disagree. `unchanged` says whether they
are, so that policies that were trained before gaps were looked for would begin with the same groups today.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import manyways
from common import ROOT, demonstrations_of
from manyways.clustering.competition import find_groups
from manyways.clustering.embedding import Embedding
from manyways.clustering.groups import Groups
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
                lines[str(seed)] = {
                    "true": len(task.modes),
                    **counted,
                    "unchanged": unchanged(demonstrations, task, seed),
                }
                lines[str(seed)]["provenance"] = provenance(seeds=[seed], **about)
                write_json(out, results)
            print(name, seed, f"{lines[str(seed)]['best']} of {lines[str(seed)]['true']}", flush=True)


def unchanged(demonstrations: manyways.Demonstrations, task: manyways.Task, seed: int) -> bool:
    """Return whether all trajectories are in the groups that the embedding of all features gives."""
    groups = find_groups(demonstrations, len(task.modes), seed)
    usual = Groups.in_embedding(Embedding.fit(demonstrations, seed), demonstrations, len(task.modes), seed)
    one, other = (found.relative_nll(demonstrations) for found in (groups, usual))
    return bool(one.shape == other.shape and np.array_equal(one, other))


if __name__ == "__main__":
    tyro.cli(main)
