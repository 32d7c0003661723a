import sys
import types

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import manyways
from manyways.runs import WeightsAndBiases, train
from manyways.runs.tensorboard import TensorBoard


def scalars(folder, tag):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, event.value) for event in accumulator.Scalars(tag)]


def test_tensorboard_reads_what_is_written(tmp_path):
    writer = TensorBoard(tmp_path, start=1)
    for step in (1, 2, 3):
        writer.log(step, {"loss": 1 / step, "code_usage/0": 0.5})
    writer.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 0.5), (3, 0.3333333432674408)]
    assert [step for step, _ in scalars(tmp_path, "code_usage/0")] == [1, 2, 3]


def test_what_was_written_beyond_a_checkpoint_is_forgotten(tmp_path):
    for start, value in ((1, 1.0), (3, 2.0)):  # the second run takes up where step 2 was saved
        writer = TensorBoard(tmp_path, start=start)
        for step in range(start, 6):
            writer.log(step, {"loss": value})
        writer.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


class Recorder:
    """A logger of one's own."""

    def __init__(self):
        self.lines, self.calls = [], []

    def log(self, step, scalars):
        self.lines.append((step, dict(scalars)))

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


def test_several_loggers_get_the_same_numbers(tmp_path, demonstrations):
    recorder = Recorder()
    settings = manyways.SOGBC(prior=None, iterations=30, hidden=16, validation=0)
    run = train(settings, tmp_path / "run", data=demonstrations, modes=2, loggers=("jsonl", "tensorboard", recorder))
    assert recorder.calls == ["flush", "close"]
    assert [step for step, _ in recorder.lines] == list(range(1, 31))
    assert [{"iteration": step, **numbers} for step, numbers in recorder.lines] == run.metrics()
    losses = [(step, pytest.approx(numbers["loss"], rel=1e-6)) for step, numbers in recorder.lines]
    assert scalars(run.path / "tensorboard", "loss") == losses


def test_metrics_are_written_whoever_else_logs(tmp_path, demonstrations):
    settings = manyways.SOGBC(prior=None, iterations=5, hidden=16)
    run = train(settings, tmp_path / "run", data=demonstrations, modes=2, loggers=())
    assert len(run.metrics()) == 5
    assert not (run.path / "tensorboard").exists()


def test_weights_and_biases_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(manyways.InputError, match=r"pip install manyways\[wandb\]"):
        WeightsAndBiases(tmp_path, "run", {})


def test_weights_and_biases_keeps_the_numbers_offline(tmp_path, demonstrations, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    settings = manyways.SOGBC(prior=None, iterations=5, hidden=16)
    run = train(settings, tmp_path / "run", data=demonstrations, modes=2, loggers=("wandb",))
    (kept,) = (run.path / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"learning_rate" in kept.read_bytes()


def test_weights_and_biases_that_refuses_is_one_sentence(tmp_path, monkeypatch):
    class Refusing(types.ModuleType):
        def init(self, **settings):
            raise RuntimeError("no api key")

    monkeypatch.setitem(sys.modules, "wandb", Refusing("wandb"))
    with pytest.raises(manyways.InputError, match=r"does not begin \(no api key\); run `wandb login`"):
        WeightsAndBiases(tmp_path, "run", {})
