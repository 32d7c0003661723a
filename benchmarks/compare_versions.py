"""Training and search speed of two versions of the library, in turns: what a change has made slower or faster.

Each version is a checkout. The same work runs in each, in processes of its own, alternately, on one thread; processor
seconds are compared, which other work on the machine disturbs less than wall time.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import tyro

ROOT = Path(__file__).parents[1]

# Runs in either version, so it uses only what both have.
_WORK = """
import sys, time
from pathlib import Path
import numpy as np, torch, manyways
from manyways.algorithms import get_algorithm
from manyways.tasks import get_task
from manyways.tasks.collect import collect
torch.set_num_threads(1)
what, size, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
task = get_task("circles" if what in ("sog-bc", "losses") else "halfcheetah-fwd-back")
if not folder.exists():
    collect(task, 100, folder)
demonstrations = manyways.Demonstrations.load(folder)
prior = manyways.Categorical(len(task.modes))
if what == "sog-gail":
    settings = get_algorithm(what)(prior=prior, total_steps=size, pretraining=10)
    training = settings.start(demonstrations, task.make_vec(settings.environments))
elif what == "gail":
    settings = get_algorithm(what)(total_steps=size, pretraining=10)
    training = settings.start(demonstrations, task.make_vec(settings.environments))
else:
    training = get_algorithm("sog-bc")(prior=prior, iterations=max(size, 1)).start(demonstrations)
for _ in range(10):
    training.step()
if what == "losses":
    policy = training.policy()
    begin = time.process_time()
    for _ in range(size):
        policy.losses(demonstrations)
else:
    begin = time.process_time()
    while not training.finished:
        training.step()
print(time.process_time() - begin)
"""


def main(
    before: Annotated[Path, tyro.conf.Positional],
    after: Annotated[Path, tyro.conf.Positional] = ROOT,
    *,
    what: tuple[str, ...] = ("sog-gail", "gail", "sog-bc", "losses"),
    sizes: tuple[int, ...] = (120_000, 120_000, 300, 30),
    rounds: int = 3,
    out: Path = ROOT / "benchmarks" / "results" / "versions.json",
    data: Path = ROOT / "runs" / "compare",
) -> None:
    """Measure both versions.

    Args:
        before: checkout of one version.
        after: checkout of the other; this one unless given.
        what: sog-gail and gail (training on HalfCheetah-Fwd-Back, pretraining apart), sog-bc (training on Circles),
            losses (the search over whole trajectories).
        sizes: of the work: environment steps, or iterations; one for each.
        rounds: how often each is measured; the medians are compared.
        out: file of the results; what it has of other work stays.
        data: folder of the demonstrations, collected on first use.
    """
    results = json.loads(out.read_text()) if out.exists() else {}
    for name, size in zip(what, sizes, strict=True):
        seconds: dict[str, list[float]] = {"before": [], "after": []}
        for _ in range(rounds):
            for version, checkout in (("before", before), ("after", after)):
                folder = data / ("circles" if name in ("sog-bc", "losses") else "halfcheetah")
                environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
                command = [sys.executable, "-c", _WORK, name, str(size), str(folder)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                seconds[version].append(float(done.stdout.split()[-1]))
        medians = {version: sorted(values)[len(values) // 2] for version, values in seconds.items()}
        results[name] = {
            "size": size,
            "processor_seconds": seconds,
            "before_over_after": medians["before"] / medians["after"],
            "commits": {version: _commit(path) for version, path in (("before", before), ("after", after))},
        }
        print(f"{name}: {medians['before']:.2f} s before, {medians['after']:.2f} s after", flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=2) + "\n")


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    tyro.cli(main)
