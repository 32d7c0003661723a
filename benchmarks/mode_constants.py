"""What each constant and rule of counting and grouping is worth: each is changed alone, on development seeds.

A row says how many counts are right, and how well groups agree with the modes, with one constant at another value or
one rule left out. If all rows of a constant are alike, its value hardly matters. Finished rows are not computed again.

    python benchmarks/mode_constants.py
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import manyways
import mode_sets
from common import RESULTS, write_result
from manyways.clustering.groups import Groups
from manyways.clustering.recognition import Recognition
from manyways.evaluation import normalized_mutual_information
from manyways.files import read_json

SETS = ("order", "few, turns", "long", "habits, arm", "habits, planar", "end", "any heading", "one mode")
NEVER = np.inf
ROOM = "manyways.clustering"
Row = dict[str, Any]

# The room, the constant, and its other values. Where a value leaves out a rule, the second table says which.
VALUES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("gaps", "LEAST"): (3, 6),
    ("gaps", "_DEPTH"): (0.15, 0.4),
    ("gaps", "_INSIDE"): (2, 8),
    ("gaps", "_TOGETHER"): (1,),
    ("tree", "LEVEL"): (0.02, 0.1),
    ("tree", "AGREEMENT"): (0.8, 1.01),
    ("tree", "_FEW"): (0, 200),
    ("tree", "_COMPONENTS"): (2, 5),
    ("tree", "_MISHAPS"): (0.0, 0.1),
    ("count", "_HIDDEN"): (10, NEVER),
    ("count", "_TIMES"): (1.5, NEVER),
    ("recognition", "_RIDGE"): (1e-3, 1e-1),
    ("recognition", "_REPETITIONS"): (1, 8),
    ("properties", "_END"): (0.02, 0.1),
    ("properties", "_PARTS"): (1, 5),
    ("groups", "_MUCH"): (0.0, 0.3, NEVER),
    ("groups", "_SIGNIFICANCE"): (0.0, 0.2),
    ("regressions", "_OWN_RIDGES"): ((1e-2,),),
}
RULES = {
    ("gaps", "_TOGETHER", 1): "several gaps together",
    ("tree", "AGREEMENT", 1.01): "groups that nearly agree, and descriptions",
    ("count", "_TIMES", NEVER): "descriptions",
    ("groups", "_MUCH", NEVER): "anything but sure gaps",
    ("groups", "_SIGNIFICANCE", 0.0): "held-out actions",
}


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: names of `mode_sets.SETS`.
        seeds: of the sets; development seeds.
        constants: such as LEVEL, besides the row without what policies say; all unless given.
        out: the file of results.
    """

    sets: tuple[str, ...] = SETS
    seeds: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    constants: tuple[str, ...] = ()
    out: Path = field(default=RESULTS / "mode_constants.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it after each row."""
    torch.set_num_threads(1)
    unknown = [name for name in options.sets if name not in mode_sets.SETS]
    unknown += [name for name in options.constants if name not in {constant for _, constant in VALUES}]
    if unknown:
        raise SystemExit(f"there is no set or constant {unknown[0]!r}")
    rows: list[Row] = []
    if options.out.exists():
        kept = read_json(options.out)
        if (kept["sets"], kept["provenance"]["seeds"]) != (list(options.sets), list(options.seeds)):
            raise SystemExit(
                f"{options.out} has rows of other sets or seeds, which cannot be compared; give another --out"
            )
        rows = kept["rows"]
    for case in cases(options):
        if any(row.items() >= case.items() for row in rows):
            continue
        rows.append(case | measured(case, options))
        write_result(options.out, {"rows": rows, "sets": list(options.sets)}, seeds=list(options.seeds))
        print(*rows[-1].values(), sep=" | ", flush=True)


def cases(options: Options) -> Iterator[Row]:
    """Yield the constants as they are, those without gaps in what policies say, and each other value."""
    yield {"constant": "", "value": "as they are", "leaves_out": ""}
    yield {"constant": "", "value": "", "leaves_out": "what policies say"}
    for (room, constant), values in VALUES.items():
        if options.constants and constant not in options.constants:
            continue
        for value in values:
            about = {"constant": f"{room}.{constant}", "value": str(value)}
            yield about | {"leaves_out": RULES.get((room, constant, value), "")}


@contextmanager
def changed(case: Row) -> Iterator[None]:
    """Change the constant, wherever it was imported to, for as long as this lasts."""
    if case["value"] == "as they are":
        yield
        return
    room, name = case["constant"].split(".") if case["constant"] else ("tree", "_by_policies")
    value = next((value for value in VALUES.get((room, name), ()) if str(value) == case["value"]), nothing_said)
    old = getattr(importlib.import_module(f"{ROOM}.{room}"), name)
    elsewhere = [key for key in sys.modules if key.startswith(f"{ROOM}.") and not name.startswith("_")]
    own = [sys.modules[key] for key in {f"{ROOM}.{room}", *elsewhere}]
    own = [module for module in own if getattr(module, name, None) is old]
    for module in own:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module in own:
            setattr(module, name, old)


def nothing_said(recognition: Recognition, table: Any, places: Any, sought: Any) -> tuple[float, int, Any]:
    """Return that there is no gap in what policies say."""
    return 0.0, 0, np.zeros(len(table), bool)


def measured(case: Row, options: Options) -> Row:
    """Return how many counts are right, or right to within one, and the mean agreement of groups with the modes."""
    right, near, agreement = [], [], []
    with changed(case):
        for name in options.sets:
            for seed in options.seeds:
                demonstrations, labels = mode_sets.SETS[name].draw(seed)
                modes = len(np.unique(labels))
                count = manyways.count_modes(demonstrations, most=min(30, len(demonstrations) // 2), seed=seed).best
                right.append(count == modes)
                near.append(abs(count - modes) <= 1)
                if modes > 1:
                    found = Groups.fit(demonstrations, modes, seed).relative_nll(demonstrations).argmin(axis=1)
                    agreement.append(normalized_mutual_information(found, labels))
    return {
        "sets": len(right),
        "right": round(float(np.mean(right)), 3),
        "within_one": round(float(np.mean(near)), 3),
        "normalized_mutual_information": round(float(np.mean(agreement)), 3),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
