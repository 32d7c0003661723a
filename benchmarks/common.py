"""What the benchmarks share: where results go, what each result file says of itself, and a task's demonstrations."""

from pathlib import Path
from typing import Any

import manyways
from manyways.cli.console import progress
from manyways.files import write_json
from manyways.runs.inputs import collected
from manyways.runs.provenance import data_fingerprint, provenance

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def write_result(path: Path, result: dict[str, Any], **about: Any) -> None:
    """Write a result with its provenance; `about` as for `provenance`."""
    write_json(path, result | {"provenance": provenance(**about)})


def demonstrations_of(name: str) -> tuple[manyways.Demonstrations, dict[str, Any]]:
    """Return a task's demonstrations, collected on first use, and what provenance says of them."""
    task = manyways.get_task(name)
    demonstrations = manyways.Demonstrations.load(collected(task, progress))
    return demonstrations, {"task": task, "data": data_fingerprint(demonstrations)}
