"""What it is worth that sure groups outvote the search: SOG-BC's codes, if the policy counts as more or fewer steps.

A row is a kind of `benchmarks/mode_sets.py` with one number of steps: how well the codes at the end of training agree
with the modes, beside the groups at its start. "all" is the search without this rule. The seeds are development seeds.
Finished rows are not computed again.

    python benchmarks/sure_groups.py
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import tyro

import manyways
import mode_sets
from common import RESULTS, write_result
from manyways.clustering import groups as room
from manyways.evaluation import normalized_mutual_information
from manyways.files import read_json

STEPS = {"1": 1, "3": 3, "10": 10, "all": np.inf}


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: names of `mode_sets.SETS`.
        seeds: of the sets and of training.
        steps: of a policy beside sure groups: 1, 3, 10 or all.
        iterations: of SOG-BC, gradient steps.
        out: the file of results.
    """

    sets: tuple[str, ...] = ("speed", "passing", "start", "few, turns", "any heading", "habits, planar")
    seeds: tuple[int, ...] = (0, 2, 4)
    steps: tuple[str, ...] = tuple(STEPS)
    iterations: int = 400
    out: Path = field(default=RESULTS / "sure_groups.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it after each row."""
    torch.set_num_threads(1)
    unknown = [name for name in options.sets if name not in mode_sets.SETS]
    unknown += [name for name in options.steps if name not in STEPS]
    if unknown:
        raise SystemExit(f"there is no set, or no number of steps, {unknown[0]!r}")
    rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.exists() else []
    for name in options.sets:
        for steps in options.steps:
            about = {"set": name, "steps": steps, "seeds": list(options.seeds), "iterations": options.iterations}
            if any(row.items() >= about.items() for row in rows):
                continue
            with patch.object(room, "_STEPS", STEPS[steps]):
                agreement = [agreements(name, seed, options.iterations) for seed in options.seeds]
            groups, codes = np.mean(agreement, axis=0).round(3).tolist()
            rows.append(about | {"groups": groups, "codes": codes, "least_codes": min(one for _, one in agreement)})
            write_result(options.out, {"rows": rows}, seeds=list(options.seeds))
            print(*rows[-1].values(), sep=" | ", flush=True)


def agreements(name: str, seed: int, iterations: int) -> tuple[float, float]:
    """Return how well the groups, and the codes at the end of training, agree with the modes."""
    demonstrations, modes = mode_sets.SETS[name].draw(seed)
    prior = manyways.Categorical(len(np.unique(modes)))
    policy = manyways.SOGBC(prior=prior, seed=seed, iterations=iterations).fit(demonstrations)
    assert policy.groups is not None
    groups = policy.groups.relative_nll(policy.encoded(demonstrations)).argmin(axis=1)
    codes = policy.losses(demonstrations).argmin(axis=1)
    return tuple(round(normalized_mutual_information(found, modes), 3) for found in (groups, codes))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
