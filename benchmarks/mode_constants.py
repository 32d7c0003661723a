"""What each constant and rule of counting and grouping is worth: each is changed alone, on sets that did not choose it.

A row says how many counts are right, and how well groups agree with the modes, with one constant at another value or
one rule left out; and on how many sets that is better or worse than with the constants as they are. If all rows of a
constant are alike, its value hardly matters. Finished sets are not computed again.

    python benchmarks/mode_constants.py
"""

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import manyways
import mode_sets
import motions
from common import RESULTS, write_result
from manyways.clustering.competition import find_groups
from manyways.clustering.properties import on_lines
from manyways.clustering.recognition import Recognition
from manyways.evaluation import normalized_mutual_information
from manyways.files import read_json

MOTIONS = ("noise, 12 x 10", "starts, 12 x 10", "shared, 20 x 10", "relation in 18, 3 x 50", "relation in 100, 3 x 50")
SETS = (*(name for name in mode_sets.SETS if name not in ("quaternions", "many trajectories")), *MOTIONS)
NEVER = np.inf
ROOM = "manyways.clustering"
Row = dict[str, Any]
Outcome = tuple[int, int, float | None]

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
    ("competition", "_APART"): (0.0, 0.5, 0.75),
    ("competition", "_SIGNIFICANCE"): (0.0, 0.2),
    ("regressions", "_OWN_RIDGES"): ((1e-2,),),
}
RULES = {
    ("gaps", "_TOGETHER", 1): "several gaps together",
    ("tree", "AGREEMENT", 1.01): "groups that nearly agree, and descriptions",
    ("count", "_TIMES", NEVER): "descriptions",
    ("competition", "_APART", 0.0): "fewer sure gaps, and splits of their groups",
    ("competition", "_SIGNIFICANCE", 0.0): "held-out actions",
}
PROPERTIES = ("length", "action level", "action spread", "effort", "gesture", "turn", "start", "end", "level")
PROPERTIES += ("least", "greatest", "spread", "speed", "rhythm", "crossing")
TOGETHER = (  # none of these makes a difference alone
    ("length", "action level", "action spread", "effort", "level", "greatest", "spread", "speed"),
    ("length", "action spread", "effort", "greatest", "spread"),
)


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: names of `mode_sets.SETS` and `motions.SETS`.
        seeds: of the sets.
        constants: such as LEVEL; properties such as rhythm, or together for several at once; all unless given.
        out: the file of results.
    """

    sets: tuple[str, ...] = SETS
    seeds: tuple[int, ...] = mode_sets.ABLATION[:3]
    constants: tuple[str, ...] = ()
    out: Path = field(default=RESULTS / "mode_constants.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it after each row."""
    torch.set_num_threads(1)
    names = {constant for _, constant in VALUES} | set(PROPERTIES) | {"together"}
    unknown = [name for name in options.sets if name not in mode_sets.SETS and name not in motions.SETS]
    unknown += [name for name in options.constants if name not in names]
    if unknown:
        raise SystemExit(f"there is no set, constant or property {unknown[0]!r}")
    rows: list[Row] = read_json(options.out)["rows"] if options.out.exists() else []
    for case in cases(options):
        row = next((row for row in rows if row.items() >= case.items()), None)
        if row is None:
            rows.append(row := case | {"outcomes": {}})
        usual = rows[0]["outcomes"]
        missing = [
            (name, seed)
            for name in options.sets
            for seed in options.seeds
            if f"{name}, {seed}" not in row["outcomes"] and (row is rows[0] or f"{name}, {seed}" in usual)
        ]
        if not missing:
            continue
        with changed(case):
            for name, seed in missing:
                row["outcomes"][f"{name}, {seed}"] = outcome(name, seed, case, usual.get(f"{name}, {seed}"))
        row |= summary(row["outcomes"], usual)
        write_result(options.out, {"rows": rows}, seeds=list(options.seeds))
        print(*(value for key, value in row.items() if key != "outcomes"), sep=" | ", flush=True)


def cases(options: Options) -> Iterator[Row]:
    """Yield the constants as they are, each rule and property left out, and each other value."""
    yield {"constant": "", "value": "as they are", "leaves_out": ""}
    left_out, others = [], []
    if not options.constants:
        left_out.append({"constant": "tree._by_policies", "value": "", "leaves_out": "what policies say"})
    for (room, constant), values in VALUES.items():
        if options.constants and constant not in options.constants:
            continue
        for value in values:
            rule = RULES.get((room, constant, value), "")
            row = {"constant": f"{room}.{constant}", "value": str(value), "leaves_out": rule}
            (left_out if rule else others).append(row)
    for name in PROPERTIES:
        if not options.constants or name in options.constants:
            left_out.append({"constant": "tree.on_lines", "value": "", "leaves_out": f"the property {name!r}"})
    if not options.constants or "together" in options.constants:
        several = [f"the properties {quoted(names)}" for names in TOGETHER]
        left_out += [{"constant": "tree.on_lines", "value": "", "leaves_out": names} for names in several]
    yield from left_out + others


def quoted(names: Iterable[str]) -> str:
    """Return names in quotes."""
    return ", ".join(map(repr, names))


@contextmanager
def changed(case: Row) -> Iterator[None]:
    """Change the constant, wherever it was imported to, for as long as this lasts."""
    if not case["constant"]:
        yield
        return
    room, name = case["constant"].split(".")
    value: Any = next((value for value in VALUES.get((room, name), ()) if str(value) == case["value"]), None)
    if name == "on_lines":
        value = without(case["leaves_out"].split("'")[1::2])
    elif name == "_by_policies":
        value = nothing_said
    old = getattr(importlib.import_module(f"{ROOM}.{room}"), name)
    elsewhere = [key for key in sys.modules if key.startswith(f"{ROOM}.") and name.isupper() and name[0] != "_"]
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


def without(left_out: list[str]) -> Any:
    """Return `on_lines` for properties of which some kinds never vary."""

    def varying(values: Any, kinds: list[str]) -> Any:
        return np.where(np.isin(kinds, left_out), 0.0, on_lines(values, kinds))

    return varying


def outcome(name: str, seed: int, case: Row, usual: Outcome | None) -> Outcome:
    """Return the count, the true number, and the agreement of groups with the modes; none with one mode.

    What the constant cannot change is `usual`.
    """
    room = case["constant"].split(".")[0]
    demonstrations, labels = mode_sets.SETS[name].draw(seed) if name in mode_sets.SETS else motions.draw(name, seed)
    modes = len(np.unique(labels))
    if usual is not None and room in ("groups", "regressions"):
        count = usual[0]
    else:
        most = min(2 * modes + 30, len(demonstrations) // 2)
        count = manyways.count_modes(demonstrations, most=most, seed=seed).best
    if usual is not None and room == "count":
        return count, modes, usual[2]
    if modes == 1:
        return count, modes, None
    found = find_groups(demonstrations, modes, seed).relative_nll(demonstrations).argmin(axis=1)
    return count, modes, round(float(normalized_mutual_information(found, labels)), 4)


def summary(outcomes: dict[str, Outcome], usual: dict[str, Outcome]) -> Row:
    """Return the shares of right counts, the mean agreement, and on how many sets they are better or worse."""
    counts, modes = (np.array([one[place] for one in outcomes.values()]) for place in (0, 1))
    agreement = np.array([one[2] for one in outcomes.values() if one[2] is not None])
    errors = np.abs(counts - modes)
    known = [usual[key] for key in outcomes]
    errors_before = np.array([abs(one[0] - one[1]) for one in known])
    before = np.array([one[2] for one in known if one[2] is not None])
    return {
        "sets": len(outcomes),
        "right": round(float((errors == 0).mean()), 3),
        "within_one": round(float((errors <= 1).mean()), 3),
        "counts_better": int((errors < errors_before).sum()),
        "counts_worse": int((errors > errors_before).sum()),
        "normalized_mutual_information": round(float(agreement.mean()), 4) if len(agreement) else None,
        "groups_better": int((agreement > before + 0.01).sum()),
        "groups_worse": int((agreement < before - 0.01).sum()),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
