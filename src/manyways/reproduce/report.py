"""The page of the reproduction: tables and figures beside the paper's, a verdict on each claim, and what it cost."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from manyways.errors import InputError
from manyways.files import read_json, write_bytes
from manyways.reproduce import claims, paper, tables
from manyways.reproduce.claims import Claim, Results
from manyways.reproduce.experiments import LISTS
from manyways.reproduce.figures import NUMBERS
from manyways.reproduce.records import Records

_TITLES = {
    "table1": "Table 1: returns under the best matching of codes and modes",
    "table2": "Table 2: FetchReach",
    "table3": "Table 3: HalfCheetah-Vel",
}


def cost_cells(records: Records) -> list[list[str]]:
    """Return what each row of each list cost: runs, environment steps, hours of training and of evaluation."""
    lines = [["list", "row", "runs", "environment steps", "hours of training", "hours of evaluation"]]
    for name, make in LISTS.items():
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in records.records(make()):
            if record.result is not None:
                groups.setdefault(record.experiment.label, []).append(record.result)
        for label, results in groups.items():
            steps = sum(result["environment_steps"] for result in results)
            hours = [
                sum(float(r.get(key, 0)) for r in results) / 3600 for key in ("wall_seconds", "evaluation_seconds")
            ]
            lines.append([name, label, str(len(results)), f"{steps:,}", *(f"{each:.2f}" for each in hours)])
    return lines


def all_claims(folder: Path) -> list[Claim]:
    """Return every claim of the paper with its verdict, from the result files.

    Args:
        folder: of the result files.
    """
    results = Results(Records(folder))
    found = claims.of_numbers(results)
    by_figure: dict[int, list[Claim]] = {4: []} | claims.of_tables(results)
    for number, own in sorted(by_figure.items()):
        file = folder / "figures" / "figure-4.json"
        if number == 4 and file.exists():  # it needs a run, so it was tested when it was drawn
            own = [_from_json(each) for each in read_json(file)["claims"]]
        found += own
    toy = folder / "reproductions" / "em-toy.json"
    return found + (claims.of_appendix(read_json(toy)["runs"]) if toy.exists() else [])


def _from_json(value: dict[str, Any]) -> Claim:
    interval = value["interval"]
    return Claim(**value | {"interval": None if interval is None else (interval[0], interval[1])})


def claim_cells(found: Sequence[Claim]) -> list[list[str]]:
    """Return the claims as text, the head first."""
    lines = [["where", "the paper's claim", "what is measured", "here", "95% interval", "verdict"]]
    for each in found:
        low, high = each.interval or (0.0, 0.0)
        numbers = ["", ""] if each.estimate is None else [f"{each.estimate:.3f}", f"{low:.3f} to {high:.3f}"]
        lines.append([each.where, each.text, each.measure, *numbers, each.verdict])
    return lines


def write_report(folder: Path, out: Path) -> Path:
    """Write the page and the tables' files, and return where the page is.

    Args:
        folder: of the result files; it has the figures in `figures`.
        out: folder of the page.

    Raises:
        InputError: the folder of the results is not there.
        WriteError: the system refused to write.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give that of the results with --results")
    records = Records(folder)
    for name in tables.METRICS:
        tables.write(name, records)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manyways.visual"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("paper.html.jinja").render(
        source=paper.SOURCE,
        tables=[(_TITLES[name], tables.cells(name, records)) for name in tables.METRICS],
        claims=claim_cells(all_claims(folder)),
        figures=[_figure(folder / "figures", number) for number in NUMBERS],
        cost=cost_cells(records),
    )
    path = out / "report.html"
    write_bytes(path, page.encode())
    return path


def _figure(folder: Path, number: int) -> tuple[int, str, list[str]]:
    """Return a figure's number, its picture in base64, "" without one, and the commands for what is missing."""
    picture, about = folder / f"figure-{number}.png", folder / f"figure-{number}.json"
    data = base64.b64encode(picture.read_bytes()).decode() if picture.exists() else ""
    missing = read_json(about)["missing"] if about.exists() else [f"manyways reproduce figures --only {number}"]
    return number, data, missing
