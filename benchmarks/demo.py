"""`make demo` after the install: wall time and peak memory of the largest process."""

import resource
import subprocess
import time
from pathlib import Path

import tyro

from common import RESULTS, ROOT, write_result


def main(*, out: Path = RESULTS / "demo.json") -> None:
    """Run the demo and write what it took.

    Args:
        out: the result file.
    """
    began = time.perf_counter()
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    result = {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    write_result(out, result)
    print(result)


if __name__ == "__main__":
    tyro.cli(main)
