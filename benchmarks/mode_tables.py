"""Tables from result files: grouping and counting, a row for each kind of set; columns that wrap; PushT."""

import json
import statistics
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from mode_sets import REPORT

OURS_GROUPING = ("groups", "SOG-BC")
OURS_COUNTING = "count_modes"
SURENESS = (0.0, 0.35, 0.65, 0.95, 1.01)  # bands
SCORE = "normalized_mutual_information"
Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]


def reported() -> list[Row]:
    """Return the rows of the result file with the seeds that are reported."""
    return [row for row in _rows("modes") if row["seed"] in REPORT]


def _rows(name: str) -> list[Row]:
    rows: list[Row] = json.loads((Path(__file__).parent / "results" / f"{name}.json").read_text())["rows"]
    return rows


def grouping_cells(rows: Iterable[Row]) -> Cells:
    """Return head and lines: each set's best rival by its mean, and ours."""
    lines = []
    for name, methods in _by_set(rows, "grouping").items():
        rival = best_rival(methods)
        cells = [_scores(methods[method]) if method in methods else "" for method in OURS_GROUPING]
        lines.append([name, "" if rival is None else rival, _scores(methods[rival]) if rival else "", *cells])
    return ["set", "best rival", "its NMI, ARI", *OURS_GROUPING], lines


def counting_cells(rows: Iterable[Row]) -> Cells:
    """Return head and lines: how often each method counts right, and to within one."""
    sets = _by_set(rows, "counting")
    methods = list(dict.fromkeys(method for found in sets.values() for method in found))
    methods.sort(key=lambda method: method != OURS_COUNTING)
    lines = [[name, *(_counts(found.get(method, [])) for method in methods)] for name, found in sets.items()]
    every = [[row for found in sets.values() for row in found.get(method, [])] for method in methods]
    if lines:
        lines.append(["all", *map(_counts, every)])
    return ["set", *methods], lines


def sureness_cells(rows: Iterable[Row]) -> Cells:
    """Return head and lines: of our counts with about the same sureness, how many are right."""
    counts = [row for row in rows if row["table"] == "counting" and row["method"] == OURS_COUNTING and "count" in row]
    lines = []
    for least, below in pairwise(SURENESS):
        found = [row for row in counts if least <= row["sureness"] < below]
        if found:
            right = sum(row["count"] == row["modes"] for row in found) / len(found)
            mean_sureness = statistics.mean(row["sureness"] for row in found)
            lines.append([str(len(found)), f"{mean_sureness:.2f}", f"{right:.2f}"])
    return ["counts", "mean sureness", "share that is right"], lines


def behind(rows: list[Row], margin: float = 0.01) -> str:
    """Return where ours groups worse than the best rival, seed by seed, and where it counts wrongly."""
    lines = []
    for name, methods in _by_set(rows, "grouping").items():
        rival = best_rival(methods)
        for own in OURS_GROUPING:
            if rival is not None and own in methods and mean(methods[rival]) - mean(methods[own]) > margin:
                lines.append(f"{name}: {own} {_each(methods[own])}; {rival} {_each(methods[rival])}")
    for name, methods in _by_set(rows, "counting").items():
        wrong = [row for row in methods.get(OURS_COUNTING, []) if row.get("count") != row["modes"]]
        told = [f"{row.get('count', row.get('failed'))} of {row['modes']} (seed {row['seed']})" for row in wrong]
        lines += [f"{name}: counted {', '.join(told)}"] if told else []
    return "\n".join(lines) or "ours is nowhere behind"


def best_rival(methods: dict[str, list[Row]]) -> str | None:
    """Return the rival with the greatest mean; None if there is none."""
    rivals = [
        method for method in methods if method not in OURS_GROUPING and any(SCORE in row for row in methods[method])
    ]
    return max(rivals, key=lambda method: mean(methods[method]), default=None)


def mean(rows: list[Row]) -> float:
    """Return the mean score; a method that failed has none, which counts as 0."""
    return statistics.mean(row.get(SCORE, 0.0) for row in rows)


def _by_set(rows: Iterable[Row], table: str) -> dict[str, dict[str, list[Row]]]:
    sets: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        if row["table"] == table:
            sets.setdefault(row["set"], {}).setdefault(row["method"], []).append(row)
    return sets


def _scores(rows: list[Row]) -> str:
    """Return the means of both scores, with how many there are."""
    rand = statistics.mean(row.get("adjusted_rand_index", 0.0) for row in rows)
    return f"{mean(rows):.3f}, {rand:.3f} ({len(rows)})"


def _each(rows: list[Row]) -> str:
    return " ".join(f"{row[SCORE]:.3f}" if SCORE in row else str(row["failed"]) for row in rows)


def _counts(rows: list[Row]) -> str:
    """Return the shares of counts that are right, and right to within one."""
    if not rows:
        return ""
    off = [abs(row["count"] - row["modes"]) if "count" in row else 999 for row in rows]
    return f"{sum(each == 0 for each in off) / len(off):.0%}, {sum(each <= 1 for each in off) / len(off):.0%}"


def wrapping_cells() -> Cells:
    """Return how often a boat arrives whose heading wraps, by how the heading is learned."""
    found: dict[str, list[float]] = {}
    for row in _rows("wrapping"):
        found.setdefault(row["columns"], []).append(statistics.mean(row["success"]))
    names = {"raw": "plain numbers (`--angles none`)", "recognised": "an angle, recognised", "declared": "declared"}
    lines = [
        [names[name], f"{statistics.mean(each):.2f}", ", ".join(f"{share:.2f}" for share in each)]
        for name, each in found.items()
    ]
    return ["the heading is learned as", "boats that arrive", "each seed"], lines


def guard_cells() -> Cells:
    """Return how often the guard calls fresh demonstrated steps too far, and those with a column that is moved."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in _rows("guard"):
        groups.setdefault((row["set"], row["count"]), []).append(row)
    lines = []
    levels = list(next(iter(groups.values()))[0]["false_alarms"])
    for (name, count), found in groups.items():
        shares = [
            f"{statistics.mean(row[what][level] for row in found):.{digits}%}"
            for what, digits in (("false_alarms", 1), ("noticed", 0))
            for level in levels
        ]
        lines.append([name, str(count), *shares])
    heads = [f"{what} at {level}" for what in ("false alarms", "noticed") for level in levels]
    return ["set", "demonstrations", *heads], lines


def constant_cells() -> Cells:
    """Return what each rule and constant of counting and grouping is worth; those alone that were changed."""
    lines = []
    for row in _rows("mode_constants")[1:]:
        value = f"{row['constant']} = {row['value']}" if row["value"] else ""
        numbers = [row[name] for name in ("counts_better", "counts_worse", "groups_better", "groups_worse")]
        lines.append([row["leaves_out"], value, str(row["sets"]), *map(str, numbers)])
    lines.sort(key=lambda line: not line[0])
    return ["without", "changed", "sets", "counts: better", "worse", "groups: better", "worse"], lines


def pusht_cells() -> Cells:
    """Return head and lines: the scores on PushT, on episodes that chose nothing."""
    groups: dict[str, list[Row]] = {}
    for row in _rows("pusht"):
        name = row["algorithm"]
        if "iterations" in row and "†" not in name:
            name += f", {row['iterations']:,} iterations"
        groups.setdefault(name + (", drawn" if row.get("sampled") else ""), []).append(row)
    lines = []
    for name, found in groups.items():
        scores, successes = ([row[what] for row in found] for what in ("score", "success"))
        times = [row["processor_seconds"] for row in found if "processor_seconds" in row]  # of those trained there
        seconds = f"{statistics.mean(times):.0f} s" if times else ""
        each = ", ".join(f"{score:.3f}" for score in scores)
        lines.append([name, f"{statistics.mean(scores):.3f}", f"{statistics.mean(successes):.2f}", each, seconds])
    return ["algorithm", "score", "success", "each seed's score", "processor time"], lines


def speed_cells() -> Cells:
    """Return head and lines: how long counting and grouping take."""
    lines = []
    for row in _rows("mode_speed"):
        seconds = [f"{row[name]:.1f} s" for name in ("counting_seconds", "grouping_seconds")]
        lines.append([row["set"], *seconds, str(row["count"]), str(row["modes"])])
    return ["trajectories x steps", "counting", "grouping", "modes counted", "there are"], lines


REPORTED: dict[str, Callable[[], Cells]] = {
    "mode-speed": speed_cells,
    "pusht": pusht_cells,
    "mode-constants": constant_cells,
    "wrapping": wrapping_cells,
    "guard": guard_cells,
    "modes": lambda: grouping_cells(reported()),
    "modes-counted": lambda: counting_cells(reported()),
    "modes-sureness": lambda: sureness_cells(reported()),
}
