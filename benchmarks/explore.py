"""From demonstrations of an arm to their page: `manyways explore demonstrations.npz --modes auto`, and its time."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tyro

from common import RESULTS, write_result
from families import Arm
from manyways.runs.provenance import data_fingerprint


def main(*, demonstrations: int = 130, rounds: int = 5, out: Path = RESULTS / "explore.json") -> None:
    """Run the command several times, each into a new folder, and write what each run took.

    Args:
        demonstrations: of the arm.
        rounds: how often.
        out: the result file.
    """
    data, _ = Arm(variant=1).demonstrations(demonstrations, seed=0)
    walls, processors, loads = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demonstrations.npz"
        data.save(path)
        for number in range(rounds):
            run = Path(folder) / f"run-{number}"
            command = [sys.executable, "-m", "manyways", "explore", path, "--modes", "auto", "--out", run]
            loads.append(round(os.getloadavg()[0], 2))
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            walls.append(round(time.perf_counter() - began, 1))
            processors.append(round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1))
            assert (run / "explore.html").stat().st_size > 0
    result = {
        "demonstrations": demonstrations,
        "steps": data.steps,
        "wall_seconds": walls,
        "processor_seconds": processors,
        "load_before": loads,  # of the machine; beyond 1 others computed, too
    }
    write_result(out, result, data=data_fingerprint(data), seeds=[0])
    print(result)


if __name__ == "__main__":
    tyro.cli(main)
