import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import manyways
from manyways import InputError, WriteError
from manyways.files import read_tensors
from manyways.runs.run import Run


def settings(**changes):
    return manyways.SOGBC(**({"prior": manyways.Categorical(2), "iterations": 120, "hidden": 16} | changes))


def create(path, demonstrations, **changes):
    chosen = settings(**changes)
    run = Run.create(path, chosen, demonstrations, task=None, data="memory", command="manyways train")
    return run, chosen.start(demonstrations)


def test_a_run_leaves_the_folder_that_the_documentation_describes(tmp_path, demonstrations):
    run, training = create(tmp_path / "run", demonstrations)
    policy = run.train(training)
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "config.json",
        "checkpoint",
        "metrics.jsonl",
        "tensorboard",
        "policy.json",
        "policy.safetensors",
    }
    lines = run.metrics()
    assert [line["iteration"] for line in lines[:50]] == list(range(1, 51))
    assert lines[-1]["iteration"] == 120
    assert all(sum(line["code_usage"]) == pytest.approx(1, abs=1e-5) for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    again = Run.open(run.path).policy()
    np.testing.assert_array_equal(again.losses(demonstrations), policy.losses(demonstrations))


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 60, 119])
def test_a_run_that_failed_goes_on_to_the_same_weights(tmp_path, demonstrations, monkeypatch, stop):
    whole, training = create(tmp_path / "whole", demonstrations)
    whole.train(training)
    monkeypatch.setattr("manyways.runs.run._SECONDS_BETWEEN_CHECKPOINTS", -1.0)  # a checkpoint each iteration
    run, training = create(tmp_path / "broken", demonstrations)

    def break_off(training):
        if training.iteration == stop:
            raise Stop

    with pytest.raises(Stop):
        run.train(training, break_off)
    run, training = create(tmp_path / "broken", demonstrations)
    run.train(training)
    for name in ("policy.safetensors", "checkpoint/training.safetensors"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    strip = [{k: line[k] for k in ("iteration", "loss", "code_usage")} for line in run.metrics()]
    iterations = [line["iteration"] for line in strip]
    assert iterations == sorted(set(iterations))
    assert iterations[-1] == 120


def test_a_process_that_was_killed_goes_on_to_the_same_weights(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    options = ["--data", "data.npz", "--modes", "2", "--hidden", "16", "--iterations", "1500", "--seed", "3"]
    often = (
        "from manyways.runs import run; run._SECONDS_BETWEEN_CHECKPOINTS = 0.2\n"
        "from manyways.cli.main import main; main()"
    )
    arguments = [sys.executable, "-c", often, "train", *options]

    def start(out):
        # One thread each, so that the processes do not wait for each other; the same for all, for the same sums.
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*arguments, "--out", out], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)

    killed = start("killed")
    checkpoint = tmp_path / "killed" / "checkpoint" / "training.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert checkpoint.exists()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    iteration = int(read_tensors(checkpoint)["iteration"])
    assert 0 < iteration < 1500
    assert start("killed").wait(timeout=240) == 0
    assert start("whole").wait(timeout=240) == 0
    for name in ("policy.safetensors", "checkpoint/training.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_an_interrupted_run_saves_where_it_stands(tmp_path, demonstrations):
    run, training = create(tmp_path / "run", demonstrations)

    def interrupt(training):
        if training.iteration == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.train(training, interrupt)
    assert int(read_tensors(run.checkpoint)["iteration"]) == 30


def test_a_finished_run_is_not_trained_again(tmp_path, demonstrations):
    run, training = create(tmp_path / "run", demonstrations)
    run.train(training)
    before = (run.path / "policy.safetensors").read_bytes()
    run, training = create(tmp_path / "run", demonstrations)
    counted = []
    run.train(training, counted.append)
    assert counted == []
    assert (run.path / "policy.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "is a run with seed 0, not 1; go on with the same, or give another folder"),
        ({"hidden": 8}, "is a run with hidden 16, not 8"),
        ({"prior": manyways.Categorical(3)}, "is a run with prior 2 codes, not 3 codes"),
    ],
)
def test_a_run_of_other_settings_is_not_touched(tmp_path, demonstrations, changes, message):
    create(tmp_path / "run", demonstrations)
    with pytest.raises(InputError, match=message):
        create(tmp_path / "run", demonstrations, **changes)


def test_a_run_on_other_data_is_not_touched(tmp_path, demonstrations):
    create(tmp_path / "run", demonstrations)
    other = manyways.Demonstrations(demonstrations.observations + 1, demonstrations.actions, demonstrations.lengths)
    with pytest.raises(InputError, match="is a run on other data"):
        create(tmp_path / "run", other)


def test_a_folder_of_something_else_is_not_touched(tmp_path, demonstrations):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds something else \(thesis\.txt\); give a new or empty folder"):
        create(tmp_path, demonstrations)
    with pytest.raises(InputError, match="is a file; give a folder"):
        create(tmp_path / "thesis.txt", demonstrations)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_demonstrations_may_lie_in_the_runs_folder(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "run" / "demonstrations")
    create(tmp_path / "run", demonstrations)


def test_a_run_killed_while_it_was_created_can_be_started_again(tmp_path, demonstrations):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.999999999.partial").write_text("{")
    create(tmp_path / "run", demonstrations)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not the folder of a run \(it has no config\.json\)"):
        Run.open(tmp_path)


def test_a_run_that_is_not_finished_has_no_policy(tmp_path, demonstrations):
    run, _ = create(tmp_path / "run", demonstrations)
    with pytest.raises(InputError, match="has no policy yet; run the same `manyways train` again"):
        run.policy()
    with pytest.raises(InputError, match=r"metrics\.jsonl does not exist"):
        run.metrics()


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoint/training.safetensors", "policy.json"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, demonstrations, name, damage):
    run, training = create(tmp_path / "run", demonstrations)
    run.train(training)
    path = run.path / name
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "garbage": b"\x00garbage", "empty": b""}[damage])

    def use():
        run, training = create(tmp_path / "run", demonstrations)
        run.metrics()
        run.policy() if name == "policy.json" else run.train(training)

    with pytest.raises(InputError, match=path.name):
        use()


def test_a_config_of_other_fields_is_refused(tmp_path, demonstrations):
    run, _ = create(tmp_path / "run", demonstrations)
    config = json.loads((run.path / "config.json").read_text())
    for broken in ([], config | {"settings": 3}, {"format": 1}):
        (run.path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=r"config\.json is damaged"):
            Run.open(run.path)
    (run.path / "config.json").write_text(json.dumps(config | {"format": 2}))
    with pytest.raises(InputError, match="has format 2; this version reads 1"):
        Run.open(run.path)


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path, demonstrations, monkeypatch):
    monkeypatch.setattr("manyways.runs.run._SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    run, training = create(tmp_path / "run", demonstrations)
    sync, written = os.fsync, []

    def fill_up(descriptor):
        written.append(descriptor)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(WriteError, match="the disk is full; free some space and run the same command again"):
        run.train(training)
    monkeypatch.setattr(os, "fsync", sync)
    assert not list(run.path.rglob("*.partial"))
    reached = int(read_tensors(run.checkpoint)["iteration"])
    assert 0 < reached < 120
    run, training = create(tmp_path / "run", demonstrations)
    run.train(training)
    whole, training = create(tmp_path / "whole", demonstrations)
    whole.train(training)
    assert (run.path / "policy.safetensors").read_bytes() == (whole.path / "policy.safetensors").read_bytes()
