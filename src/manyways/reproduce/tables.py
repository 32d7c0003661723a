"""Tables 1 to 3 from result files: a row for each task and algorithm, beside the paper's, with what is missing."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manyways.files import read_json, write_json
from manyways.reproduce import paper
from manyways.reproduce.experiments import EXPERT, LISTS, Experiment
from manyways.reproduce.records import Records

METRICS = {
    "table1": ("return_mean",),
    "table2": ("hit_rate", "entropy_nats"),
    "table3": ("mutual_information_nats",),
}
# Beside the paper's metrics: the information of demonstrated velocities, and what random codes achieve on average.
_BESIDE = {
    "table3": (
        ("embedded_mutual_information_nats", "with the codes of the demonstrations (nats)", "{:.3f}"),
        ("achieved", "mean velocity of random codes (m/s)", "{:.2f}"),
    )
}
_FORMS = {
    "return_mean": ("return", "{:,.1f}"),
    "hit_rate": ("goals hit", "{:.1%}"),
    "entropy_nats": ("entropy (nats)", "{:.2f}"),
    "mutual_information_nats": ("mutual information (nats)", "{:.3f}"),
}
_PAPERS_ROW = {"sog-bc-paper": "sog-bc", "sog-gail-10m": "sog-gail"}  # other rows beside which numbers of the paper
UNCODED = ("infogail",)  # it does not embed trajectories, so it has no hit rate, as in the paper


def rows(name: str, records: Records, experiments: Sequence[Experiment] | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table.

    Args:
        name: "table1", "table2" or "table3".
        records: the result files.
        experiments: of the table; all of them unless given.
    """
    groups: dict[tuple[str, str], list[Experiment]] = {}
    for each in LISTS[name]() if experiments is None else experiments:
        groups.setdefault((each.task, each.label), []).append(each)
    return [_row(name, records, group) for group in groups.values()]


def _row(name: str, records: Records, group: Sequence[Experiment]) -> dict[str, Any]:
    """Return one row; what is missing is None."""
    task, label = group[0].task, group[0].label
    found = {each.experiment.seed: each for each in records.records(group)}
    results = {seed: each.result for seed, each in found.items() if each.result is not None}
    own = list(results.values())
    own_paper = paper.numbers(int(name[-1]), task, _PAPERS_ROW.get(label, label))
    row: dict[str, Any] = {
        "task": task,
        "algorithm": label,
        "seeds": sorted(results),
        "missing_seeds": sorted(set(found) - set(results)),
        "stale_seeds": sorted(seed for seed, each in found.items() if each.kind == "stale"),
        "environment_steps": _mean([result["environment_steps"] for result in own]),
        "wall_seconds": _mean([result["wall_seconds"] for result in own]),
    }
    for metric in METRICS[name]:
        values = [value for result in own if (value := _value(metric, label, result)) is not None]
        row |= {metric: _mean(values), f"{metric.removesuffix('_mean')}_std": _std(values)}
    for metric, _, _ in _BESIDE.get(name, ()):
        values = [value for result in own if (value := _beside(metric, result)) is not None]
        row |= {metric: _mean(values), f"{metric}_std": _std(values)}
    row |= {
        "expert_return_mean": _mean([result["expert_return_mean"] for result in own]),
        "rollout_std": _mean([result["return_std"] for result in own]),
    }
    if name == "table1":
        shares = [result["return_mean"] / result["expert_return_mean"] for result in own]
        row |= {"ratio": _mean(shares), "ratio_std": _std(shares), "ratios": shares}
    return row | {f"paper_{key}": value for key, value in own_paper.items()}


def _value(metric: str, label: str, result: dict[str, Any]) -> float | None:
    """Return a metric of a result; None where the algorithm has none."""
    if metric == "hit_rate" and label in UNCODED:
        return None
    if metric == "mutual_information_nats" and label == "vae-gail":
        return result.get("embedded_mutual_information_nats")
    return result.get(metric)


def _beside(metric: str, result: dict[str, Any]) -> float | None:
    """Return what stands beside the paper's metrics; None where a result lacks it."""
    if metric != "achieved":
        return result.get(metric)
    achieved = result.get("achieved_mean")
    return None if achieved is None else statistics.fmean(values[0] for values in achieved)


def against_the_expert(metric: str, row: dict[str, Any], others: Sequence[dict[str, Any]]) -> float | None:
    """Return a row's value of a metric over that of the expert's row on the same task; None where either is missing."""
    own = [each for each in others if each["task"] == row["task"] and each["algorithm"] == EXPERT]
    best = own[0].get(metric) if own else None
    return None if not best or row.get(metric) is None else row[metric] / best


def cells(name: str, records: Records, experiments: Sequence[Experiment] | None = None) -> list[list[str]]:
    """Return a table as text, its head first: ours, as a share of our expert's, the paper's, and of its expert's.

    Args:
        name: "table1", "table2" or "table3".
        records: the result files.
        experiments: whose rows there are; all unless given.
    """
    metrics = METRICS[name]
    head = ["task", "row"]
    for metric in metrics:
        head += [_FORMS[metric][0], "of the expert's", "paper"]
    beside = _BESIDE.get(name, ())
    head += [title for _, title, _ in beside]
    lines = [[*head, *(["of its expert's"] if name == "table1" else []), "verdict", "seeds"]]
    found = sorted(rows(name, records, experiments), key=lambda row: list(paper.NAMES).index(row["task"]))
    for row in found:
        line = [paper.NAMES[row["task"]], row["algorithm"]]
        for metric in metrics:
            form, std = _FORMS[metric][1], row[f"{metric.removesuffix('_mean')}_std"]
            share = row["ratio"] if name == "table1" else against_the_expert(metric, row, found)
            own = _text(row[metric], form) + ("" if std is None else f" ± {form.format(std)}")
            line += [own, _text(share, "{:.3f}"), _text(row.get(f"paper_{metric}"), form)]
        line += [_text(row[metric], form) for metric, _, form in beside]
        if name == "table1":
            line.append(_text(row.get("paper_ratio"), "{:.3f}"))
        count = len(row["seeds"])
        mark = " †" if row["stale_seeds"] else ""
        lines.append([*line, _better(name, row), f"{count} of {count + len(row['missing_seeds'])}{mark}"])
    return lines


def _better(name: str, row: dict[str, Any]) -> str:
    """Return whether a row is at the paper's or above: shares of the expert in Table 1, the numbers in others."""
    if row["algorithm"] == "expert":
        return ""
    pairs = [("ratio", "paper_ratio")] if name == "table1" else [(m, f"paper_{m}") for m in METRICS[name]]
    known = [(row[own], row[other]) for own, other in pairs if row.get(own) is not None and row.get(other) is not None]
    if not known:
        return "not measured"
    above = [own >= other for own, other in known]
    return "at or above" if all(above) else "below" if not any(above) else "above and below"


def _text(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def write(name: str, records: Records) -> Path:
    """Write RESULTS/tableN.json with all rows of the table, if they have changed, and return where it is.

    Raises:
        WriteError: the system refused to write.
    """
    from manyways.runs.provenance import provenance

    path, now = records.folder / f"{name}.json", rows(name, records)
    if not path.exists() or read_json(path).get("rows") != now:
        seeds = sorted({seed for row in now for seed in row["seeds"]})
        about = {"source": paper.SOURCE, "provenance": provenance(seeds=seeds, command=f"manyways reproduce {name}")}
        write_json(path, {"rows": now} | about)
    return path


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _std(values: Sequence[float]) -> float | None:
    """Return the standard deviation over the seeds, None of fewer than two."""
    return statistics.stdev(values) if len(values) > 1 else None
