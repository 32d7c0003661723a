"""Tables of `benchmarks/results/few_labels.json`: agreement and return against the share of labels."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mode_sets import REPORT

METHODS = {"sog-bc": "SOG-BC", "sog-gail": "SOG-GAIL"}
SCORES = ("normalized_mutual_information", "adjusted_rand_index", "purity")
Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]


def reported() -> dict[tuple[str, str, float], list[Row]]:
    """Return the rows with the seeds that are reported, by set, algorithm and share of labels."""
    rows = json.loads((Path(__file__).parent / "results" / "few_labels.json").read_text())["rows"]
    found: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        if row["seed"] in REPORT and row["algorithm"] in METHODS:
            found.setdefault((row["set"], row["algorithm"], row["share"]), []).append(row)
    names = list(dict.fromkeys(name for name, _, _ in found))
    return {key: found[key] for key in sorted(found, key=lambda key: (key[1], names.index(key[0]), key[2]))}


def agreement_cells() -> Cells:
    """Return head and lines: means over the seeds."""
    lines = []
    for (name, algorithm, share), rows in reported().items():
        scores = [f"{statistics.mean(row[score] for row in rows):.3f}" for score in SCORES]
        own = f"{statistics.mean(row['same'] for row in rows):.2f}" if share else ""
        counts = [row["count"] == row["modes"] for row in rows if "count" in row]
        right = f"{sum(counts)} of {len(counts)}" if counts else ""
        lines.append([name, METHODS[algorithm], f"{share:.0%}", *scores, own, right, str(len(rows))])
    return ["set", "method", "labels", "NMI", "ARI", "purity", "right code", "counts that are right", "seeds"], lines


def return_cells() -> Cells:
    """Return head and lines: each mode's return over the expert's, means over the seeds."""
    lines = []
    for (name, algorithm, share), rows in reported().items():
        if "returns" not in rows[0]:
            continue
        what = "returns" if share else "matched_returns"
        ratios = [[own / expert for own, expert in zip(row[what], row["expert_returns"], strict=True)] for row in rows]
        modes = ", ".join(f"{statistics.mean(values):.2f}" for values in zip(*ratios, strict=True))
        mean = f"{statistics.mean(value for ratio in ratios for value in ratio):.3f}"
        lines.append([name, METHODS[algorithm], f"{share:.0%}", mean, modes, str(len(rows))])
    return ["task", "method", "labels", "share of the expert", "each mode", "seeds"], lines


REPORTED: dict[str, Callable[[], Cells]] = {"few-labels": agreement_cells, "few-labels-returns": return_cells}
