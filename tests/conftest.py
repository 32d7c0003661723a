import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import manyways
from manyways import algorithms
from manyways.cli.main import main
from manyways.tasks import get_task, task
from manyways.tasks.collect import collect

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def two_modes(trajectories=24, seed=0, noise=0.02):
    """Return demonstrations of different lengths of two modes with the same observations, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(trajectories) % 2
    pairs = []
    for label in labels:
        observations = rng.normal(size=(rng.integers(20, 60), 3)).astype(np.float32)
        sign = 1 if label else -1
        actions = np.stack([sign + 0.3 * observations[:, 0], 0.5 * observations[:, 1]], axis=1)
        pairs.append((observations, actions + noise * rng.normal(size=actions.shape)))
    return manyways.Demonstrations.from_arrays(pairs), labels


@pytest.fixture(autouse=True)
def same_registries():
    """Take out of the registries what a test put there: the order of the tests must not matter."""
    registries = (task._TASKS, task._REFERENCES, algorithms._ALGORITHMS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture(scope="session")
def demonstrations():
    return two_modes()[0]


@pytest.fixture(scope="session")
def labels():
    return two_modes()[1]


@pytest.fixture(scope="session")
def policy(demonstrations):
    """Return a policy that has learned both modes."""
    return manyways.SOGBC(prior=manyways.Categorical(2), iterations=300, hidden=32).fit(demonstrations)


@pytest.fixture(scope="session")
def circles_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demonstrations") / "circles"
    collect(get_task("circles"), 30, folder, seed=0)
    return folder


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that runs the command line here and returns (exit code, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["manyways", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
