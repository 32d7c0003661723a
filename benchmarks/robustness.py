"""Figure 7: returns with and without random actions over λ_S, and those of SOG-BC beside them, from the results.

The rows come from `tables.py`: `--algorithms sog-gail --label sog-gail-lambda-0.1 --settings '{"lambda_s": 0.1}'`.
"""

import json
import re
import statistics
from pathlib import Path
from typing import Any

import tyro
from matplotlib.figure import Figure

from manyways.visual.figures import save

ROOT = Path(__file__).parents[1]
_BASE = {"sog-gail": 1.0}  # λ_S of the rows without one in their name


def main(*, results: Path = ROOT / "results", out: Path = ROOT / "docs" / "robustness.png") -> None:
    """Draw what is in results/.

    Args:
        results: folder of the result files.
        out: the picture.
    """
    tasks = [folder.name for folder in sorted(results.iterdir()) if len(_sweep(folder)) > 1]
    figure = Figure(figsize=(4.2 * max(1, len(tasks)), 3.6), layout="constrained")
    panels = figure.subplots(1, max(1, len(tasks)), squeeze=False)[0]
    for panel, task in zip(panels, tasks, strict=False):
        sweep = _sweep(results / task)
        for index, (what, style) in enumerate((("undisturbed", "-"), ("a fifth of the actions random", "--"))):
            means = [statistics.mean(_ratio(result)[index] for result in rows) for rows in sweep.values()]
            panel.plot(list(sweep), means, style, marker="o", color="#0072B2", label=f"SOG-GAIL, {what}")
            cloned = [_ratio(result)[index] for result in _read(results / task / "sog-bc")]
            if cloned:
                panel.axhline(statistics.mean(cloned), linestyle=style, color="#D55E00", label=f"SOG-BC, {what}")
        panel.set(xscale="log", xlabel="λ_S", ylabel="return over the expert's", title=task)
        panel.grid(alpha=0.3)
    if tasks:
        panels[0].legend(frameon=False, fontsize=8)
    save(figure, out)


def _sweep(folder: Path) -> dict[float, list[dict[str, Any]]]:
    """Return the results of a task for each λ_S, in its order."""
    found: dict[float, list[dict[str, Any]]] = {}
    for rows in folder.glob("sog-gail*"):
        match = re.fullmatch(r"sog-gail-lambda-([0-9.]+)", rows.name)
        if match or rows.name in _BASE:
            found[float(match[1]) if match else _BASE[rows.name]] = _read(rows)
    return dict(sorted((weight, results) for weight, results in found.items() if results))


def _read(folder: Path) -> list[dict[str, Any]]:
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("seed-*.json"))]
    return [result for result in results if "random_actions" in result]


def _ratio(result: dict[str, Any]) -> tuple[float, float]:
    """Return the return over the undisturbed expert's, undisturbed and with random actions."""
    expert = result["expert_return_mean"]
    return result["return_mean"] / expert, result["random_actions"]["return_mean"] / expert


if __name__ == "__main__":
    tyro.cli(main)
