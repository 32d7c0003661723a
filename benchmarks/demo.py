"""`make demo` after the install: wall time and peak memory of the largest process."""

import resource
import subprocess
import time
from pathlib import Path

from manyways.files import write_json

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the demo and write what it took."""
    began = time.perf_counter()
    subprocess.run(["make", "demo"], cwd=ROOT, check=True)
    result = {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    write_json(ROOT / "benchmarks" / "results" / "demo.json", result)
    print(result)


if __name__ == "__main__":
    main()
