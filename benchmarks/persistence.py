"""How far errors persist from step to step, in the families (people) and in the tasks (trained experts).

It decides what `history`, `horizon` and `optimizer` are where the user gives none (`algorithms/defaults.py`). Even
variants of the families, and the tasks, chose the threshold.
"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

import manyways
from common import RESULTS, demonstrations_of, write_result
from families import Arm, Planar, Push
from manyways.algorithms.defaults import persistence


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        tasks: names; their demonstrations are collected on first use.
        variants: of each family.
        counts: of a family's demonstrations.
        out: the file of results.
    """

    tasks: tuple[str, ...] = (
        *("circles", "ant-fwd-back", "ant-dir-6", "halfcheetah-fwd-back", "halfcheetah-vel", "fetch-reach"),
        *("walker2d-vel-6", "hopper-vel-6", "humanoid-dir-6"),
    )
    variants: tuple[int, ...] = (0, 1, 2, 3)
    counts: tuple[int, ...] = (30, 90, 300)
    out: Path = field(default=RESULTS / "persistence.json")


def main(options: Options) -> None:
    """Measure all, and write the result."""
    rows = []
    for family in (Arm, Planar, Push):
        for variant in options.variants:
            for count in options.counts:
                value = persistence(family(variant).demonstrations(count, 0)[0])
                rows.append({"data": family.name, "variant": variant, "count": count, "persistence": round(value, 3)})
    for name in options.tasks:
        demonstrations: manyways.Demonstrations = demonstrations_of(name)[0]
        value = persistence(demonstrations)
        rows.append({"data": name, "count": len(demonstrations), "persistence": round(value, 3)})
    for row in rows:
        print(row)
    write_result(options.out, {"rows": rows}, seeds=[0], budget={"counts": list(options.counts)})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
