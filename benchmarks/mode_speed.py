"""Time counting and grouping: sets of 100 steps with a thousand trajectories and with twenty thousand, and pen strokes.

Run it with nothing beside it. Pen strokes have seven steps each, ten kinds.

    python benchmarks/mode_speed.py
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import tyro

import manyways
from common import RESULTS, write_result
from manyways.clustering.competition import find_groups
from manyways.demonstrations.synthetic import Motions


@dataclass(frozen=True)
class Options:
    """What to time.

    Args:
        trajectories: of sets of 100 steps.
        strokes: of seven steps.
        rounds: of each, of which the median counts.
        out: the file of results.
    """

    trajectories: tuple[int, ...] = (1000, 20_000)
    strokes: int = 1000
    rounds: int = 3
    out: Path = field(default=RESULTS / "mode_speed.json")


def main(options: Options) -> None:
    """Measure and write."""
    sets = {f"{count:,} x 100": Motions(kinds=8, per_kind=count // 8, noise=0.05) for count in options.trajectories}
    sets[f"{options.strokes:,} x 7"] = Motions(kinds=10, per_kind=options.strokes // 10, noise=0.05)
    rows = []
    for name, motions in sets.items():
        demonstrations, _ = motions.draw(0)
        if name.endswith("x 7"):
            demonstrations = manyways.Demonstrations.from_arrays(
                (seen[::15][:7], done[::15][:7]) for seen, done in demonstrations
            )
        row = {"set": name, "modes": motions.kinds, "count": manyways.count_modes(demonstrations).best}
        row |= timed("counting", partial(manyways.count_modes, demonstrations), options.rounds)
        row |= timed("grouping", partial(find_groups, demonstrations, motions.kinds, 0), options.rounds)
        rows.append(row)
        print(row, flush=True)
        write_result(options.out, {"rows": rows}, seeds=[0], budget={"rounds": options.rounds})


def timed(name: str, work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return the median seconds of some work, and the memory of the process after it in MB."""
    seconds = []
    for _ in range(rounds):
        began = time.monotonic()
        work()
        seconds.append(time.monotonic() - began)
    memory = psutil.Process().memory_info().rss
    return {f"{name}_seconds": round(statistics.median(seconds), 2), f"{name}_memory": round(memory / 1e6)}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
