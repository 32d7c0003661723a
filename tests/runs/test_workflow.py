import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from torch.optim.optimizer import register_optimizer_step_pre_hook

import manyways
from manyways import InputError, WriteError
from manyways.algorithms import get_algorithm
from manyways.files import read_tensors
from manyways.runs import Progress, Run, evaluate, modes, robustness, train
from manyways.runs.provenance import data_fingerprint
from manyways.tasks import get_task
from manyways.tasks.collect import collect

SETTINGS = {"iterations": 120, "hidden": 16}


def sog_bc(**changes):
    return manyways.SOGBC(prior=None, **(SETTINGS | changes))


def trained(path, demonstrations, **arguments):
    return train(sog_bc(), path, data=demonstrations, modes=2, **arguments)


class Recorder(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.sections, self.lines, self.warnings = [], [], []

    def section(self, what, total=None, unit=""):
        self.sections.append(what)
        return super().section(what, total, unit)

    def say(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.warnings.append(text)


def test_a_run_leaves_the_folder_that_the_documentation_describes(tmp_path, demonstrations):
    run = trained(tmp_path / "run", demonstrations)
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
    assert all(line["code_usage/0"] + line["code_usage/1"] == pytest.approx(1, abs=1e-5) for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert Run.open(run.path).policy().counts == (12, 12)


def test_training_prints_nothing_and_says_what_takes_long(tmp_path, demonstrations, capsys):
    recorder = Recorder()
    train(sog_bc(), tmp_path / "run", data=demonstrations, modes="auto", progress=recorder)
    assert capsys.readouterr() == ("", "")
    assert recorder.sections == ["counting modes", "getting ready", "training"]
    assert recorder.lines[0].startswith("gaps between modes: action level")
    assert "2 modes counted" in recorder.lines[1]
    assert Run.open(tmp_path / "run").config["mode_count"]["best"] == 2


def test_every_result_says_where_it_comes_from(tmp_path, circles_folder):
    run = train(sog_bc(), tmp_path / "run", data=circles_folder, task="circles")
    evaluate(run, episodes=3)
    robustness(run, episodes=3, seed=5)
    modes(run)
    fingerprint = data_fingerprint(manyways.Demonstrations.load(circles_folder))
    for name in ("config", "evaluation", "robustness", "modes"):
        found = json.loads((run.path / f"{name}.json").read_text())["provenance"]
        assert set(found) == {
            "version",
            "commit",
            "data",
            "expert",
            "seeds",
            "budget",
            "machine",
            "command",
            "date",
        }
        assert found["data"] == fingerprint
        assert found["version"] == manyways.__version__
        assert found["seeds"] == ([0, 5] if name == "robustness" else [0, 0] if name == "evaluation" else [0])
        assert found["budget"]["iterations"] == 120
        assert (found["expert"] is None) == (name == "modes")


def test_what_does_not_fit_is_refused_and_leaves_nothing(tmp_path, demonstrations):
    for arguments, message in (
        ({}, "the number of modes is not known"),
        ({"modes": 2, "code_size": 1}, "exclude each other"),
        ({"modes": 2, "loggers": ["paper"]}, "there is no logger 'paper'"),
        ({"modes": 25}, "25 codes are more than the 24 trajectories"),
    ):
        with pytest.raises(InputError, match=message):
            train(sog_bc(), tmp_path / "one" / "run", data=demonstrations, **arguments)
    with pytest.raises(InputError, match="there is nothing to learn from"):
        train(sog_bc(), tmp_path / "one" / "run", modes=2)
    with pytest.raises(InputError, match="has no codes to choose from"):
        train(get_algorithm("mdn")(), tmp_path / "one" / "run", data=demonstrations, modes=2)
    with pytest.raises(InputError, match=r"the algorithm is 'sog-bc'; give its settings"):
        train("sog-bc", tmp_path / "one" / "run", data=demonstrations, modes=2)
    with pytest.raises(InputError, match="there is no folder nowhere of an expert"):
        train(sog_bc(), tmp_path / "one" / "run", task="circles", weights="nowhere")
    with pytest.raises(InputError, match=r"prior is 3; give manyways.Categorical"):
        get_algorithm("sog-bc")(prior=3)
    assert list(tmp_path.iterdir()) == []


def test_a_callback_ends_training(tmp_path, demonstrations):
    run = trained(tmp_path / "run", demonstrations, callback=lambda training: training.iteration < 77)
    assert run.metrics()[-1]["iteration"] == 77
    assert run.policy().counts == (12, 12)
    assert int(read_tensors(run.checkpoint)["iteration"]) == 77
    whole = trained(tmp_path / "whole", demonstrations)
    trained(run.path, demonstrations)  # the rest
    assert (run.path / "policy.safetensors").read_bytes() == (whole.path / "policy.safetensors").read_bytes()


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 60, 119])
def test_a_run_that_failed_goes_on_to_the_same_weights(tmp_path, demonstrations, monkeypatch, stop):
    whole = trained(tmp_path / "whole", demonstrations)
    monkeypatch.setattr("manyways.runs.loop._SECONDS_BETWEEN_CHECKPOINTS", -1.0)  # a checkpoint each iteration

    def break_off(training):
        if training.iteration == stop:
            raise Stop

    with pytest.raises(Stop):
        trained(tmp_path / "broken", demonstrations, callback=break_off)
    run = trained(tmp_path / "broken", demonstrations)
    for name in ("policy.safetensors", "checkpoint/training.safetensors"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()
    iterations = [line["iteration"] for line in run.metrics()]
    assert iterations == sorted(set(iterations))
    assert iterations[-1] == 120


def test_a_process_that_was_killed_goes_on_to_the_same_weights(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    options = ["data.npz", "--modes", "2", "--hidden", "16", "--iterations", "600", "--seed", "3"]
    often = (
        "from manyways.runs import loop; loop._SECONDS_BETWEEN_CHECKPOINTS = 0.2\n"
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
    assert 0 < iteration < 600
    assert start("killed").wait(timeout=240) == 0  # the mark of the dead one does not stand in the way
    assert start("whole").wait(timeout=240) == 0
    for name in ("policy.safetensors", "checkpoint/training.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


ADVERSARIAL = {
    "total_steps": 1024,
    "environments": 4,
    "steps_per_update": 32,
    "pretraining": 20,
    "hidden": 16,
    "updates_per_restart": 2,
    "warm_up_updates": 1,
}


def start(algorithm, path, folder, callback=None):
    """Train an algorithm on Circles, as small as it goes."""
    chosen = get_algorithm("sog-bc" if algorithm == "dropout" else algorithm)
    small = ADVERSARIAL if algorithm.endswith("gail") else {"iterations": 12, "hidden": 16}
    if algorithm in ("sog-bc", "sog-gail", "dropout"):
        small = small | {"prior": None}
    if algorithm == "dropout":
        small = small | {"network": "residual", "optimizer": "adamw"}
    return train(chosen(**small), path, data=folder, task="circles", callback=callback)


@pytest.fixture(scope="session")
def few_circles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demonstrations") / "few"
    collect(get_task("circles"), 6, folder, seed=0)
    return folder


@pytest.fixture(scope="session")
def whole(tmp_path_factory, few_circles):
    """Return what the weights of each algorithm are where nobody interrupts, and how many steps optimizers took."""
    known = {}

    def of(algorithm):
        if algorithm not in known:
            with counted_steps() as count:
                run = start(algorithm, tmp_path_factory.mktemp("whole") / "run", few_circles)
            known[algorithm] = ((run.path / "policy.safetensors").read_bytes(), count[0])
        return known[algorithm]

    return of


class counted_steps:
    """Counts the steps of all optimizers, and presses Ctrl-C before one of them."""

    def __init__(self, press_at=-1):
        self.press_at = press_at

    def __enter__(self):
        self.count = [0]

        def press(*arguments):
            self.count[0] += 1
            if self.count[0] == self.press_at:
                signal.raise_signal(signal.SIGINT)

        self.hook = register_optimizer_step_pre_hook(press)
        return self.count

    def __exit__(self, *arguments):
        self.hook.remove()


@pytest.mark.parametrize("algorithm", ["sog-bc", "dropout", "mdn", "bet", "diffusion", "sog-gail", "gail"])
def test_an_interrupt_at_any_moment_goes_on_to_the_same_weights(tmp_path, few_circles, whole, algorithm):
    weights, steps = whole(algorithm)
    handler = signal.getsignal(signal.SIGINT)  # in the background of a shell it is not Python's
    # Moments between two optimizers are among them: each of several optimizers steps in turn.
    moments = {2, 3, steps // 2, steps // 2 + 1, steps - 1}
    for moment in sorted(moments if not algorithm.endswith("gail") else {3, steps // 2, steps // 2 + 1}):
        path = tmp_path / str(moment)
        with counted_steps(moment), pytest.raises(KeyboardInterrupt):
            start(algorithm, path, few_circles)
        start(algorithm, path, few_circles)
        assert (path / "policy.safetensors").read_bytes() == weights, f"interrupted at optimizer step {moment}"
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_interrupt_does_not_wait(tmp_path, demonstrations, monkeypatch):
    monkeypatch.setattr("manyways.runs.loop._SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", demonstrations, callback=_press_in_step(20))
    assert int(read_tensors(tmp_path / "run" / "checkpoint" / "training.safetensors")["iteration"]) == 20
    run, whole = trained(tmp_path / "run", demonstrations), trained(tmp_path / "whole", demonstrations)
    assert (run.path / "policy.safetensors").read_bytes() == (whole.path / "policy.safetensors").read_bytes()


def _press_in_step(iteration):
    """Return a callback after which the next step is interrupted twice, in its middle."""

    def callback(training):
        if training.iteration == iteration:
            hook = None

            def press(*arguments):
                hook.remove()
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

            hook = register_optimizer_step_pre_hook(press)

    return callback


def test_training_in_another_thread_leaves_interrupts_alone(tmp_path, demonstrations):
    runs = []
    thread = threading.Thread(target=lambda: runs.append(trained(tmp_path / "run", demonstrations)))
    thread.start()
    thread.join()
    assert runs[0].policy().counts == (12, 12)


def test_an_interrupted_callback_saves_where_training_stands(tmp_path, demonstrations):
    def interrupt(training):
        if training.iteration == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", demonstrations, callback=interrupt)
    run = Run.open(tmp_path / "run")
    assert int(read_tensors(run.checkpoint)["iteration"]) == 30
    assert run.metrics()[-1]["iteration"] == 30


def test_a_finished_run_is_not_trained_again(tmp_path, demonstrations):
    run = trained(tmp_path / "run", demonstrations)
    before = (run.path / "policy.safetensors").read_bytes()
    counted = []
    trained(tmp_path / "run", demonstrations, callback=counted.append)
    assert counted == []
    assert (run.path / "policy.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "checkpoint/training.safetensors", "policy.json"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_file_of_a_run_is_named(tmp_path, demonstrations, name, damage):
    run = trained(tmp_path / "run", demonstrations)
    path = run.path / name
    data = path.read_bytes()
    path.write_bytes({"truncated": data[: len(data) // 2], "garbage": b"\x00garbage", "empty": b""}[damage])

    def use():
        run = Run.open(tmp_path / "run")
        run.metrics()
        run.policy() if name == "policy.json" else trained(tmp_path / "run", demonstrations)

    with pytest.raises(InputError, match=path.name):
        use()


def test_a_full_disk_loses_nothing_that_was_saved(tmp_path, demonstrations, monkeypatch):
    monkeypatch.setattr("manyways.runs.loop._SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    sync, written = os.fsync, []

    def fill_up(descriptor):
        written.append(descriptor)
        if len(written) > 40:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(WriteError, match="the disk is full; free some space and run the same command again"):
        trained(tmp_path / "run", demonstrations)
    monkeypatch.setattr(os, "fsync", sync)
    assert not list((tmp_path / "run").rglob("*.partial"))
    run = Run.open(tmp_path / "run")
    reached = int(read_tensors(run.checkpoint)["iteration"])
    assert 0 < reached < 120
    trained(run.path, demonstrations)
    whole = trained(tmp_path / "whole", demonstrations)
    assert (run.path / "policy.safetensors").read_bytes() == (whole.path / "policy.safetensors").read_bytes()


def test_demonstrations_in_memory_are_asked_for_again(tmp_path, demonstrations, labels):
    run = trained(tmp_path / "run", demonstrations)
    with pytest.raises(InputError, match="was trained on demonstrations in memory"):
        modes(run)
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    assert modes(run, data=tmp_path / "data.npz").purity == 1


def test_trajectories_without_a_label_are_not_scored(tmp_path, demonstrations, labels):
    run = trained(tmp_path / "run", demonstrations)
    demonstrations.save(tmp_path / "data.npz", modes=np.where(np.arange(24) < 6, labels, -1))
    found = modes(run, data=tmp_path / "data.npz")
    assert (found.purity, found.normalized_mutual_information, found.unlabelled) == (1, 1, 18)
    demonstrations.save(tmp_path / "none.npz", modes=np.full(24, -1))
    assert modes(run, data=tmp_path / "none.npz").purity is None


def test_codeless_runs_say_what_there_is_instead(tmp_path, demonstrations):
    run = train(get_algorithm("mdn")(iterations=5, hidden=16), tmp_path / "run", data=demonstrations)
    with pytest.raises(InputError, match=r"mdn has no codes.*manyways report"):
        modes(run)
    with pytest.raises(InputError, match=r"trained on data without an environment.*manyways report"):
        evaluate(run)
