import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import manyways
from manyways import Demonstrations, Policy

QUICK = ("--iterations", "60", "--hidden", "16")


@pytest.fixture
def data(tmp_path, demonstrations, labels):
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    return tmp_path / "data.npz"


@pytest.fixture
def run_folder(tmp_path, data, command):
    assert command("train", data, "--modes", 2, "--out", tmp_path / "run", *QUICK)[0] == 0
    return tmp_path / "run"


def assert_refused(result, *words):
    """Assert exit code 2 and one clear sentence."""
    code, _, error = result
    assert code == 2
    assert error.startswith("manyways: ")
    assert error.count("\n") == 1
    assert "Traceback" not in error
    for word in words:
        assert str(word) in error


def test_ones_own_data_from_file_to_codes_and_page(command, tmp_path, data, labels):
    code, out, _ = command("inspect", data)
    assert code == 0
    assert "24 trajectories" in out
    assert "labels of 2 modes" in out
    run = tmp_path / "run"
    code, out, _ = command("train", data, "--modes", 2, "--out", run, "--iterations", 300, "--hidden", 32)
    assert code == 0
    assert f"Wrote {run / 'policy.safetensors'}" in out
    assert f"Next: manyways modes {run}" in out
    code, out, _ = command("modes", run, "--data", data, "--out", tmp_path / "modes.json")
    assert f"Next: manyways report {run}" in out
    assert "purity 1.0000" in out
    result = json.loads((tmp_path / "modes.json").read_text())
    assert np.array(result["losses"]).shape == (24, 2)
    assert result["counts"] == [12, 12]
    assert result["codes"] == np.argmin(result["losses"], axis=1).tolist()
    assert result["purity"] == result["normalized_mutual_information"] == 1
    assert len(set(zip(result["codes"], labels.tolist(), strict=True))) == 2
    assert command("report", run)[0] == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert Policy.load(run).modes[0].trajectories == 12


def test_labels_never_reach_training(command, tmp_path, data, demonstrations, labels):
    demonstrations.save(tmp_path / "unlabelled.npz")
    demonstrations.save(tmp_path / "lying.npz", modes=1 - labels)
    weights = set()
    for name in ("data", "unlabelled", "lying"):
        out = tmp_path / name
        assert command("train", tmp_path / f"{name}.npz", "--modes", 2, "--out", out, *QUICK)[0] == 0
        weights.add((out / "policy.safetensors").read_bytes())
    assert len(weights) == 1


def test_trajectories_without_a_label_among_others_are_not_scored(
    command, tmp_path, run_folder, demonstrations, labels
):
    some = np.where(np.arange(24) < 6, labels, -1)
    demonstrations.save(tmp_path / "some.npz", modes=some)
    code, out, _ = command("modes", run_folder, "--data", tmp_path / "some.npz", "--out", tmp_path / "modes.json")
    assert code == 0
    assert "18 trajectories have none" in out
    result = json.loads((tmp_path / "modes.json").read_text())
    assert result["purity"] == 1
    assert result["unlabelled"] == 18
    assert "labels of 2 modes" in command("inspect", tmp_path / "some.npz")[1]


def test_unlabelled_data_has_codes_but_no_agreement(command, tmp_path, run_folder, demonstrations):
    demonstrations.save(tmp_path / "unlabelled.npz")
    command("modes", run_folder, "--data", tmp_path / "unlabelled.npz", "--out", tmp_path / "modes.json")
    result = json.loads((tmp_path / "modes.json").read_text())
    assert len(result["codes"]) == 24
    assert "purity" not in result


def test_circles_from_collecting_to_the_page(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("runs/demo")  # relative, as people type it
    data = run / "demonstrations"
    assert command("collect", "circles", "--episodes", 12, "--out", data)[0] == 0
    options = ("--task", "circles", data, "--out", run, "--iterations", 300)
    code, out, _ = command("train", *options)
    assert code == 0
    assert f"Next: manyways evaluate {run}" in out
    code, out, _ = command("evaluate", run, "--episodes", 6)
    assert code == 0
    evaluation = json.loads((run / "evaluation.json").read_text())
    expected = ("task", "algorithm", "seed", "episodes", "return_mean", "return_std", "expert_return_mean")
    assert {*expected, "assignment", "return_matrix"} <= set(evaluation)
    assert (evaluation["task"], evaluation["algorithm"], evaluation["episodes"]) == ("circles", "sog-bc", 6)
    assert np.array(evaluation["return_matrix"]).shape == (3, 3)
    assert sorted(evaluation["assignment"]) == [0, 1, 2]
    assert command("report", run)[0] == 0
    assert command("train", *options)[0] == 0  # the same again finds it done


def test_a_task_collects_its_demonstrations_on_first_use(command, tmp_path, monkeypatch, circles_folder):
    from manyways.tasks import get_task

    monkeypatch.setenv("MANYWAYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("manyways.tasks.task._TASKS", {"circles": _smaller(get_task("circles"), 12)})
    for name in ("first", "second"):
        code, out, _ = command("train", "--task", "circles", "--out", tmp_path / name, *QUICK)
        assert code == 0
        assert ("collecting" in out) == (name == "first")
    (collected,) = (tmp_path / "cache" / "demonstrations").iterdir()
    assert len(Demonstrations.load(collected)) == 12


def _smaller(task, episodes):
    from dataclasses import replace

    return replace(task, demonstrations=episodes)


def test_the_commands_explain_themselves(command):
    code, out, _ = command("--help")
    assert code == 0
    for name in ("algorithms", "collect", "inspect", "train", "modes", "evaluate", "report", "robustness", "film"):
        assert name in out
        assert command(name, "--help")[0] == 0


def test_the_version_is_printed(command):
    assert command("--version")[:2] == (0, f"{manyways.__version__}\n")


def test_a_reader_that_has_seen_enough_is_no_error():
    for arguments in (["--help"], ["tasks"], ["train", "sog-gail", "--help"]):
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "manyways", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.read(1)
        process.stdout.close()
        error = process.stderr.read().decode()
        process.wait()
        assert error == ""


def test_a_notebooks_backend_for_pictures_does_no_harm(command, run_folder):
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    result = subprocess.run(
        [sys.executable, "-m", "manyways", "report", run_folder], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_too_little_memory_is_one_sentence(command, tmp_path, data, monkeypatch):
    def full(*arguments, **settings):
        raise MemoryError

    monkeypatch.setattr("manyways.runs.workflow.train", full)
    assert_refused(command("train", data, "--modes", 2, "--out", tmp_path / "run"), "the memory is not enough")


BAD_DATA = {
    "missing array": ({"observations": np.zeros((2, 3, 1))}, "has no array actions"),
    "lengths": (
        {"observations": np.zeros((9, 1)), "actions": np.zeros((9, 1)), "lengths": [4, 4]},
        "the lengths add up to 8 steps, but there are 9 rows",
    ),
    "one-dimensional": ({"observations": np.zeros(9), "actions": np.zeros(9)}, "have shape (9,)"),
    "nan": (
        {"observations": np.full((2, 3, 2), [0, np.nan]), "actions": np.zeros((2, 3, 1))},
        "observations have nan in trajectory 0, step 0, column 1",
    ),
    "infinity": (
        {"observations": np.zeros((2, 3, 2)), "actions": np.full((2, 3, 1), np.inf)},
        "actions have inf in trajectory 0, step 0, column 0",
    ),
    "no trajectories": ({"observations": np.zeros((0, 3, 2)), "actions": np.zeros((0, 3, 1))}, "no trajectories"),
    "one step": ({"observations": np.zeros((2, 1, 2)), "actions": np.zeros((2, 1, 1))}, "trajectory 0 has length 1"),
    "pickle": (
        {"observations": np.full((2, 3, 1), "a", dtype=object), "actions": np.zeros((2, 3, 1))},
        "Python objects",
    ),
    "differing": ({"observations": np.zeros((2, 3, 2)), "actions": np.zeros((2, 4, 1))}, "must be the same"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_data_that_cannot_be_used_is_refused_and_leaves_nothing(command, tmp_path, case):
    arrays, message = BAD_DATA[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    result = command("train", tmp_path / "bad.npz", "--modes", 1, "--out", tmp_path / "run")
    assert_refused(result, message)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.npz"]


def test_a_missing_file_and_one_that_is_no_npz_are_refused(command, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    for name, message in (("nowhere.npz", "does not exist"), ("text.npz", "is not an NPZ file")):
        for arguments in (
            ("inspect", tmp_path / name),
            ("train", tmp_path / name, "--modes", 2, "--out", tmp_path / "run"),
        ):
            assert_refused(command(*arguments), name, message)
    assert [p.name for p in tmp_path.iterdir()] == ["text.npz"]


def test_wrong_names_and_numbers_are_refused_with_what_there_is(command, tmp_path, data):
    out = tmp_path / "run"
    on_data = ("train", data, "--out", out)
    assert_refused(command("train", "--task", "squares", "--out", out), "no task 'squares'", "circles")
    assert_refused(command("collect", "squares", "--out", out), "no task 'squares'", "circles")
    assert_refused(command("train", "magic", data, "--out", out), "no algorithm 'magic'", "sog-bc")
    assert_refused(command(*on_data, "--modes", 25), "25 codes are more than the 24 trajectories")
    assert_refused(command(*on_data, "--modes", 0), "0 codes is empty")
    assert_refused(command(*on_data), "give --modes K")
    assert_refused(command("train", "--out", out), "give --task NAME or the demonstrations' path")
    assert_refused(command(*on_data, "--modes", 2, "--device", "tricorder"), "no device 'tricorder'")
    assert_refused(command(*on_data, "--modes", 2, "--iterations", 0), "iterations is 0")
    assert_refused(command("collect", "circles", "--episodes", 0, "--out", out), "0 episodes")
    assert not out.exists()


def test_a_folder_of_something_else_is_refused(command, tmp_path, data):
    assert_refused(command("train", data, "--modes", 2, "--out", tmp_path), "holds something else (data.npz)")
    assert_refused(command("collect", "circles", "--episodes", 3, "--out", tmp_path), "holds something already")
    assert_refused(command("evaluate", tmp_path), "is not the folder of a run")
    assert [p.name for p in tmp_path.iterdir()] == ["data.npz"]


def test_a_run_folder_with_a_damaged_file_is_refused(command, run_folder, data):
    for name in ("policy.safetensors", "policy.json", "config.json"):
        path = run_folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert_refused(command("modes", run_folder, "--data", data), name)
        assert_refused(command("report", run_folder, "--data", data), name)
        path.write_bytes(whole)
    (run_folder / "evaluation.json").write_text('{"return_mean": 3}')
    assert_refused(command("report", run_folder), "evaluation.json is damaged")
    assert not (run_folder / "report.html").exists()
    assert not (run_folder / "modes.json").exists()


def test_data_of_another_task_is_refused_before_training(command, tmp_path, data):
    result = command("train", "--task", "circles", data, "--out", tmp_path / "run")
    assert_refused(result, data, "numbers of shape (3,)", "circles numbers of shape (10,)")
    assert not (tmp_path / "run").exists()


def test_data_that_was_moved_is_asked_for(command, tmp_path, data, run_folder):
    data.rename(tmp_path / "elsewhere.npz")
    for name in ("modes", "report"):
        assert_refused(command(name, run_folder), "is not there any more; give its place with --data")
        assert command(name, run_folder, "--data", tmp_path / "elsewhere.npz")[0] == 0


def test_what_needs_an_environment_says_so(command, run_folder):
    assert_refused(command("evaluate", run_folder), "trained on data without an environment")


def test_a_full_disk_is_one_sentence_and_nothing_half_written(command, tmp_path, run_folder, monkeypatch):
    def full_disk(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(run_folder.rglob("*"))
    monkeypatch.setattr(os, "fsync", full_disk)
    for arguments in (("modes", run_folder), ("report", run_folder)):
        assert_refused(command(*arguments), "the disk is full; free some space and run the same command again")
    assert sorted(run_folder.rglob("*")) == before


def test_a_data_set_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path):
    # The real HDF5 writer against a real limit: no file of this process may pass 200 kB.
    arguments = ["collect", "circles", "--episodes", "20", "--out", "demonstrations"]
    result = subprocess.run(
        [sys.executable, "-c", "from manyways.cli.main import main; main()", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)),
    )
    assert_refused((result.returncode, result.stdout, result.stderr), "cannot write demonstrations")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_says_how_to_go_on(tmp_path, data):
    train = [sys.executable, "-m", "manyways", "train", data, "--modes", "2", "--out", "run", "--iterations", "3000"]
    process = subprocess.Popen([*train, "--hidden", "16"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "tensorboard").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert error == "manyways: interrupted; run the same command again to go on\n"
    assert (tmp_path / "run" / "checkpoint" / "training.safetensors").exists()
