"""Which demonstrations ship today: their fingerprints, by which tables mark results of others.

Demonstrations are collected on first use. Run this after a change of a task, an expert or its noise.
"""

from pathlib import Path
from typing import Annotated

import tyro

from common import ROOT, demonstrations_of
from manyways.reproduce.records import Records
from manyways.tasks import task_names


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    out: Path = ROOT / "results" / "demonstrations.json",
) -> None:
    """Write the fingerprint of each task's demonstrations.

    Args:
        tasks: names; all unless given. Those of others stay in the file.
        out: the file, demonstrations.json in any folder.
    """
    records = Records(out.parent)
    for name in tasks or task_names():
        found = demonstrations_of(name)[1]["data"]
        records.note_demonstrations(name, found)
        print(f"{name}: {found[:12]}", flush=True)


if __name__ == "__main__":
    tyro.cli(main)
