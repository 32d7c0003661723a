"""`make demo` after the install: wall time and peak memory of the largest process."""

import os
import resource
import subprocess
import time
from pathlib import Path

from manyways.files import write_json

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the demo anew, its demonstrations collected anew too, and write what it took."""
    subprocess.run(["rm", "-rf", "runs/demo", "runs/demo-cache"], cwd=ROOT, check=True)
    began = time.perf_counter()
    environment = os.environ | {"MANYWAYS_CACHE": str(ROOT / "runs" / "demo-cache")}
    subprocess.run(["make", "demo"], cwd=ROOT, env=environment, check=True)
    result = {
        "wall_seconds": round(time.perf_counter() - began, 1),
        "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    write_json(ROOT / "benchmarks" / "results" / "demo.json", result)
    print(result)


if __name__ == "__main__":
    main()
