"""`train --init RUN`: a run that begins where another ended."""

import json

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.files import read_tensors
from manyways.runs import Run, train


@pytest.fixture
def first(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    settings = manyways.SOGBC(iterations=120, hidden=16)
    run = train(settings, tmp_path / "first", data=tmp_path / "data.npz", modes=2, loggers=())
    run.set_names({0: "left", 1: "right"})
    return run


def test_a_run_starts_from_another_keeps_its_codes_and_names_and_resumes_bit_for_bit(
    command, first, tmp_path, demonstrations
):
    settings = manyways.SOGBC(iterations=40)
    straight = train(settings, tmp_path / "straight", data=tmp_path / "data.npz", init=first.path, loggers=())
    assert straight.config["init"]["policy"] == str(first.path)
    assert straight.config["settings"]["hidden"] == 16
    assert straight.names == {0: "left", 1: "right"}
    before, now = (run.policy().losses(demonstrations).argmin(axis=1) for run in (first, straight))
    np.testing.assert_array_equal(before, now)

    def stop(training):
        if training.iteration == 13:
            raise KeyboardInterrupt

    arguments = {"data": tmp_path / "data.npz", "init": first.path, "loggers": ()}
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "broken", callback=stop, **arguments)
    assert not Run.open(tmp_path / "broken").has_policy
    resumed = train(settings, tmp_path / "broken", **arguments)
    for name in ("policy.safetensors", "checkpoint/training.safetensors"):
        own, other = (read_tensors(run.path / name) for run in (resumed, straight))
        assert own.keys() == other.keys()
        for tensor in own:
            np.testing.assert_array_equal(own[tensor].numpy(), other[tensor].numpy())
    code, *_ = command(
        "train", tmp_path / "data.npz", "--init", first.path, "--iterations", 40, "--out", tmp_path / "c"
    )
    assert code == 0
    assert (tmp_path / "c" / "policy.safetensors").read_bytes() == (straight.path / "policy.safetensors").read_bytes()


def test_another_start_is_another_run(first, tmp_path):
    settings = manyways.SOGBC(iterations=4, hidden=16)
    out = {"out": tmp_path / "run", "data": tmp_path / "data.npz", "loggers": ()}
    train(settings, init=first.path, **out)
    with pytest.raises(InputError, match=r"started from .*first, not nothing; go on so"):
        train(settings, modes=2, **out)
    second = train(settings, tmp_path / "second", data=tmp_path / "data.npz", init=first, loggers=())
    with pytest.raises(InputError, match=r"started from .*first, not .*second; go on so"):
        train(settings, init=second, **out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--init", "nowhere"), "nowhere is no folder; give that of an earlier run"),
        (("--init", "FIRST", "--modes", 3), "the policy has 2 codes, and not 3 codes"),
        (("--init", "FIRST", "--hidden", 32), "the policy has hidden 16, and not 32"),
    ],
)
def test_a_start_that_does_not_fit_is_one_sentence(command, first, tmp_path, options, message):
    options = [first.path if option == "FIRST" else option for option in options]
    code, _, error = command("train", tmp_path / "data.npz", *options, "--out", tmp_path / "run")
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_papers_start_is_still_a_choice_of_the_same_option(command, tmp_path, first):
    options = ("--modes", 2, "--iterations", 3, "--init", "random", "--out", tmp_path / "run")
    assert command("train", tmp_path / "data.npz", *options)[0] == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["init"] == "random"
    assert "init" not in config
