"""Every benchmark answers --help, and runs at its smallest into a temporary folder."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import manyways

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
LIBRARIES = {"common", "families", "label_tables", "mode_rivals", "mode_sets", "mode_tables", "pusht_pictures"}
LIBRARIES |= {"yardstick"}
NAMES = sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in LIBRARIES)

# Those that need more than seconds even at their smallest (a virtual environment of 1.8 GB, minutes of `make demo`),
# and the one that writes README and docs, which has a test of its own.
ONLY_HELP = {"gail_speed", "demo", "write_results"}
NEEDS = {"crossq": "sb3_contrib", "environments": "envpool", "expert_noise": "envpool", "ppo": "stable_baselines3"}
NEEDS |= {"pusht": "gym_pusht"}

SMALLEST = {
    "adversarial": ("--tasks", "circles", "--updates", 1, "--threads", 1, "--out", "OUT/speed.json"),
    "choices": (
        *("--only", "precision_milliseconds", "optimizers_on_circles"),
        *("--iterations", 3, "--episodes", 3, "--rounds", 1, "--out", "OUT/choices.json"),
    ),
    "compare_versions": (
        *(ROOT, ROOT, "--what", "losses", "--sizes", 1, "--rounds", 1),
        *("--out", "OUT/versions.json", "--data", "OUT/data"),
    ),
    "continuous_search": ("--rounds", 1, "--most-dimensions", 1, "--most-candidates", 25, "--out", "OUT"),
    "counting": ("circles", "--trajectories", 30, "--out", "OUT/counting.json"),
    "crossq": ("--tasks", "halfcheetah-vel", "--minutes", 0.001, "--evaluations", 1, "--no-write"),
    "demonstrations": ("circles", "--out", "OUT/demonstrations.json"),
    "environments": ("--tasks", "circles", "--sizes", 1, "--rounds", 1, "--seconds", 0.01, "--out", "OUT/speed.json"),
    "expert_noise": ("hopper-vel-6", "--noise", 0.1, "--episodes", 6, "--out", "OUT/noise.json"),
    "explore": ("--demonstrations", 20, "--rounds", 1, "--out", "OUT/explore.json"),
    "few_labels": (
        *("--sets", "circles", "few, turns", "--seeds", 1, "--shares", 0, 0.2, "--trajectories", 20),
        *("--algorithms", "sog-bc", "sog-gail", "groups", "--constants", "_AGAINST=1", "--iterations", 3),
        *("--total-steps", 4096, "--episodes", 3, "--out", "OUT/few_labels.json"),
    ),
    "image_search": ("--seeds", 1, "--share", 0.01, "--out", "OUT/images.json"),
    "large_sets": ("--trajectories", 20, "--in-memory", 0, "--out", "OUT/large_sets.json"),
    "mode_constants": (
        *(
            "--sets",
            "few, curves",
            "--seeds",
            1,
            "--constants",
            "LEVEL",
            "_SIGNIFICANCE",
            "--out",
            "OUT/mode_constants.json",
        ),
    ),
    "mode_speed": ("--trajectories", 40, "--strokes", 40, "--rounds", 1, "--out", "OUT/mode_speed.json"),
    "modes": (
        *("--sets", "few, curves", "people", "--seeds", 1, "--grouping", "groups", "SOG-BC", "k-means, aligned"),
        *("--counting", "count_modes", "HDBSCAN", "--iterations", 3, "--data", "OUT", "--out", "OUT/modes.json"),
    ),
    "motions": (
        *("plain, 5 x 10", "--seeds", 1, "--iterations", 10, "--counting", 0),
        *("--out", "OUT/motions", "--picture", "OUT/motions.png"),
    ),
    "persistence": ("--tasks", "circles", "--variants", 0, "--counts", 12, "--out", "OUT/persistence.json"),
    "ppo": ("returns", "--seeds", 1, "--share", 0.01, "--tasks", "Pendulum-v1", "--out", "OUT/returns.json"),
    "predict": ("--calls", 10, "--rounds", 1, "--out", "OUT/predict.json"),
    "pusht": (
        *("--data", "OUT/data.npz", "--algorithms", "sog-bc", "--seeds", 0, "--episodes", 1, "--iterations", 2),
        *("--hidden", 16, "--out", "OUT/pusht.json"),
    ),
    "segments": (
        *("--tasks", "circles", "--methods", "segments", "one code", "--steps", 30, "--iterations", 3),
        *("--out", "OUT/segments.json"),
    ),
    "small_data": (
        *("--counts", 6, "--variants", 0, "--settings", "yardstick", "default", "--iterations", 3, "--episodes", 3),
        *("--out", "OUT/small-data.json"),
    ),
    "sure_groups": (
        *("--sets", "few, curves", "--seeds", 1, "--steps", 3, "all", "--iterations", 3),
        *("--out", "OUT/sure_groups.json"),
    ),
    "tables": (
        *("circles", "--algorithms", "sog-bc", "mdn", "--seeds", 0, "--episodes", 6, "--settings", '{"iterations": 3}'),
        *("--runs", "OUT/runs", "--results", "OUT/results"),
    ),
    "guard": ("--sets", "reach", "push", "--counts", 10, "--variants", 1, "--out", "OUT/guard.json"),
    "wrapping": ("--counts", 6, "--seeds", 0, "--iterations", 3, "--episodes", 3, "--out", "OUT/wrapping.json"),
    "throughput": ("--rounds", 1, "--trajectories", 20, "--most-codes", 2, "--most-trajectories", 100, "--out", "OUT"),
}
RESULTS = {"tables": "results/circles/sog-bc/seed-0.json", "crossq": ""}


def run(name, arguments, folder, cache):
    environment = os.environ | {"MANYWAYS_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Return a cache for the demonstrations of Circles, which several benchmarks take."""
    return tmp_path_factory.mktemp("cache")


ASK_EACH = """
import contextlib, io, json, runpy, sys
answers = {}
for script in sys.argv[1:]:
    sys.argv, output, code = [script, "--help"], io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(output):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as exit_:
        code = exit_.code or 0
    answers[script] = (code, output.getvalue())
print(json.dumps(answers))
"""


def test_every_benchmark_explains_itself(tmp_path):
    scripts = [BENCHMARKS / f"{name}.py" for name in NAMES if name not in NEEDS or find_spec(NEEDS[name])]
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ASK_EACH, *map(str, scripts)]  # one process: importing takes most of the time
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout)
    assert list(answers) == list(map(str, scripts))
    for script, (code, answer) in answers.items():
        assert code == 0, script
        assert "usage" in answer, script
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_is_tried():
    assert set(SMALLEST) | ONLY_HELP == set(NAMES)


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_every_benchmark_runs_at_its_smallest(name, tmp_path, cache):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    out = tmp_path / "out"
    out.mkdir()
    if name in ("modes", "pusht"):  # which take demonstrations of people as a file
        rng = np.random.default_rng(0)
        pairs = [(rng.uniform(0, 500, (8, 6)), rng.uniform(0, 500, (8, 2))) for _ in range(4)]
        manyways.Demonstrations.from_arrays(pairs).save(out / "data.npz", modes=[0, 1, 0, 1])
    kept = [ROOT / "results", ROOT / "benchmarks" / "results", ROOT / "docs"]
    before = {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")}
    result = run(name, [str(argument).replace("OUT", str(out)) for argument in SMALLEST[name]], tmp_path, cache)
    assert result.returncode == 0, result.stderr[-2000:]
    written = out / RESULTS.get(name, "") if name in RESULTS else next(iter(sorted(out.rglob("*.json"))))
    assert written.exists()
    if written.suffix == ".json" and name != "compare_versions":  # which runs two versions, and names both
        assert '"provenance"' in written.read_text()
        json.loads(written.read_text())
    assert before == {path: path.stat().st_mtime_ns for folder in kept for path in folder.rglob("*")}
