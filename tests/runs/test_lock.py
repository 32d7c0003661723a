import signal
import subprocess
import sys
import time

import pytest

from manyways import InputError
from manyways.runs.lock import LOCK, training_in

HOLD = """
import pathlib, sys, time
from manyways.runs.lock import training_in
with training_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_that_is_at_work_says_who_is(tmp_path):
    process = holder(tmp_path / "run")
    try:
        with (
            pytest.raises(InputError, match=rf"process {process.pid} on .*, since 20.*, is training in"),
            training_in(tmp_path / "run"),
        ):
            pass
    finally:
        process.kill()
        process.wait()


def test_the_mark_of_a_dead_process_does_not_stand_in_the_way(tmp_path):
    process = holder(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with training_in(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists() or not (tmp_path / "run" / LOCK).exists()


def test_folders_that_were_not_there_are_gone_where_nothing_came_of_it(tmp_path):
    with pytest.raises(ZeroDivisionError), training_in(tmp_path / "a" / "b"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def test_the_second_training_into_a_folder_ends_with_2(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    options = ["data.npz", "--modes", "2", "--hidden", "16", "--iterations", "100000", "--out", "run"]
    train = [sys.executable, "-m", "manyways", "train", *options]
    first = subprocess.Popen(train, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        second = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True)
        assert second.returncode == 2
        assert f"process {first.pid} on" in second.stderr
        assert second.stderr.count("\n") == 1
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
