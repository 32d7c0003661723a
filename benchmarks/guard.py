"""How often the guard calls demonstrated observations too far, and how often it notices what is.

A policy learns from some demonstrations; others of the same people are fresh. A false alarm is a fresh observation
whose novelty is above the level. In a second copy of them one column is moved by five standard deviations: that should
be noticed. Even variants chose the tail in `policies/novelty.py`; odd ones are reported. "reach" has three columns
that are constant within an episode, such as where the object lies.

    python benchmarks/guard.py --variants 1 3 5
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

import manyways
from common import RESULTS, write_result
from families import Arm, Planar, Push

FAMILIES = {"arm": Arm, "planar": Planar, "push": Push}
LEVELS = (0.9, 0.99, 0.999)
_FRESH, _MOVED = 100, 5.0


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: names in `FAMILIES`, and reach.
        variants: even ones to choose, odd ones to report.
        counts: of demonstrations.
        out: the file of results.
    """

    sets: tuple[str, ...] = (*FAMILIES, "reach")
    variants: tuple[int, ...] = (1, 3, 5)
    counts: tuple[int, ...] = (10, 30, 90, 300)
    out: Path = field(default=RESULTS / "guard.json")


def reach(count: int, variant: int, seed: int) -> manyways.Demonstrations:
    """Return demonstrations of reaching an object, whose place is observed, and is the same in all of an episode."""
    rng = np.random.default_rng((variant, seed))
    pairs = []
    for _ in range(count):
        place, start = rng.normal(size=3), 0.1 * rng.normal(size=3)
        share = np.linspace(0, 1, int(rng.integers(40, 90)))[:, None]
        path = start + share * (place - start) + 0.01 * rng.normal(size=(len(share), 3))
        pairs.append((np.hstack([path, np.tile(place, (len(share), 1))]), np.gradient(path, axis=0)))
    return manyways.Demonstrations.from_arrays(pairs)


def drawn(name: str, variant: int, count: int, seed: int) -> manyways.Demonstrations:
    """Return demonstrations of a set."""
    if name == "reach":
        return reach(count, variant, seed)
    return FAMILIES[name](variant).demonstrations(count, seed)[0]


def moved(observations: NDArray[Any], spread: NDArray[Any]) -> NDArray[Any]:
    """Return observations (steps, columns) with a column of each moved by some standard deviations `spread`."""
    found = observations.copy()
    columns = np.random.default_rng(0).integers(len(spread), size=len(found))
    found[np.arange(len(found)), columns] += _MOVED * spread[columns]
    return found


def measure(name: str, variant: int, count: int) -> dict[str, Any]:
    """Return one row."""
    demonstrations, fresh = drawn(name, variant, count, 0), drawn(name, variant, _FRESH, 1)
    # The novelty is measured in normalised observations, which no training changes.
    policy = manyways.SOGBC(prior=manyways.Categorical(1), iterations=1, init="random").fit(demonstrations)
    usual = policy.novelty(fresh.observations)
    unusual = policy.novelty(moved(np.asarray(fresh.observations), demonstrations.observations.std(axis=0)))
    return {
        "set": name,
        "variant": variant,
        "count": count,
        "false_alarms": {str(level): float((usual > level).mean()) for level in LEVELS},
        "noticed": {str(level): float((unusual > level).mean()) for level in LEVELS},
    }


def main(options: Options) -> None:
    """Measure all, and write it."""
    rows = []
    for name in options.sets:
        for count in options.counts:
            for variant in options.variants:
                rows.append(measure(name, variant, count))
            of = [row for row in rows if row["set"] == name and row["count"] == count]
            for what in ("false_alarms", "noticed"):
                means = {level: round(float(np.mean([row[what][level] for row in of])), 4) for level in of[0][what]}
                print(name, count, what, means)
    write_result(options.out, {"rows": rows, "levels": list(LEVELS)}, seeds=[0])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options, description=__doc__))
