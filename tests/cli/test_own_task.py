"""Tasks of one's own on the command line: with and without an expert, discrete actions, images."""

import json
import sys

import numpy as np
import pytest
from own_tasks_source import OWN

from manyways import Demonstrations
from manyways.tasks.expert import Expert


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANYWAYS_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    sys.modules.pop("own_tasks", None)


def swings(scale=1.0):
    """Return demonstrations of turning either way."""
    rng = np.random.default_rng(0)
    pairs = []
    for sign in (1, -1) * 6:
        observations = rng.normal(size=(20, 3)).astype(np.float32)
        pairs.append((observations, scale * (sign + 0.1 * observations[:, :1])))
    return Demonstrations.from_arrays(pairs)


QUICK = ("--iterations", 10, "--hidden", 16)


def test_a_task_without_an_expert_is_trained_evaluated_and_reported(command, own):
    swings().save(own / "data.npz")
    code, printed, error = command("train", "data.npz", "--task", "own_tasks:SWING", "--out", "run", *QUICK)
    assert code == 0, error
    assert "Warning" not in printed
    for arguments in (("evaluate", "run", "--episodes", 4), ("robustness", "run", "--episodes", 4), ("report", "run")):
        code, printed, error = command(*arguments)
        assert code == 0, error
        assert "expert" not in printed
    assert json.loads((own / "run" / "evaluation.json").read_text())["expert_return_mean"] is None
    assert "of the expert" not in (own / "run" / "report.html").read_text()


def test_what_needs_the_expert_says_how_to_get_one(command, own):
    for arguments in (("collect", "own_tasks:SWING", "--out", "data"), ("expert", "picture", "own_tasks:SWING")):
        code, _, error = command(*arguments)
        assert code == 2
        assert "manyways expert train own_tasks:SWING" in error
        assert "--weights" in error


def test_an_expert_of_ones_own_stands_beside_the_policy(command, own):
    swings().save(own / "data.npz")
    layers = {"weight.0": np.ones((1, 5)), "bias.0": np.zeros(1), "action_scale": np.full(1, 2.0)}
    Expert({name: layer.astype(np.float32) for name, layer in layers.items()}, {}).save(own / "mine", "swing")
    code, printed, error = command("expert", "picture", "own_tasks:SWING", "--weights", "mine", "--episodes", 2)
    assert code == 0, error
    assert "manyways expert film own_tasks:SWING --weights mine" in printed
    assert command("train", "data.npz", "--task", "own_tasks:SWING", "--out", "run", *QUICK)[0] == 0
    code, printed, error = command("evaluate", "run", "--episodes", 4, "--weights", "mine")
    assert code == 0, error
    assert "; expert " in printed
    provenance = json.loads((own / "run" / "evaluation.json").read_text())["provenance"]
    assert provenance["expert"]
    code, printed, error = command("report", "run", "--weights", "mine")
    assert code == 0, error
    assert "of the expert" in (own / "run" / "report.html").read_text()


def test_actions_outside_the_tasks_space_are_told(command, own):
    swings(scale=3.0).save(own / "data.npz")
    code, printed, error = command("train", "data.npz", "--task", "own_tasks:SWING", "--out", "run", *QUICK)
    assert code == 0, error
    assert "Warning: 100.0% of the actions lie outside the action space of swing" in printed


def test_discrete_actions_are_trained_evaluated_and_reported(command, own):
    for algorithm in ("sog-bc", "bc", "mdn"):
        options = ("--task", "own_tasks:CART", "--out", algorithm, *QUICK)
        code, _, error = command("train", algorithm, *options)
        assert code == 0, error
        for arguments in (("evaluate", algorithm, "--episodes", 4), ("report", algorithm)):
            code, _, error = command(*arguments)
            assert code == 0, error


def test_images_are_trained_evaluated_and_reported(command, own):
    assert command("collect", "circles-images", "--episodes", 3, "--out", "data")[0] == 0
    small = ("--iterations", 3, "--hidden", 16, "--trajectories-per-batch", 3, "--steps-per-trajectory", 8)
    options = ("--task", "circles-images", "--encoder", "conv", "--init", "random", "--out", "run")
    code, _, error = command("train", "sog-bc", "data", *options, *small)
    assert code == 0, error
    for arguments in (("evaluate", "run", "--episodes", 3), ("report", "run")):
        code, _, error = command(*arguments)
        assert code == 0, error
