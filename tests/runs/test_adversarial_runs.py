"""Runs of algorithms that run the environment, or have no codes, on the command line and as folders."""

import json

import numpy as np
import pytest
import torch

from manyways.algorithms import SOGGAIL
from manyways.demonstrations import Demonstrations
from manyways.evaluation import PolicyEvaluator, PolicyReturns
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.rl.random_actions import RandomActions
from manyways.runs import train
from manyways.tasks import get_task

QUICK = ("--total-steps", 640, "--environments", 4, "--steps-per-update", 32, "--pretraining", 20, "--hidden", 16)


@pytest.fixture(autouse=True)
def one_thread():
    """Keep PyTorch to one thread: matrices this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL = {
    "prior": Categorical(3),
    "total_steps": 1024,
    "environments": 4,
    "steps_per_update": 32,
    "pretraining": 20,
    "hidden": 16,
    "updates_per_restart": 2,
    "warm_up_updates": 1,
}


@pytest.fixture
def evaluated_by(monkeypatch):
    """Return a function that puts another evaluator in the place of the usual one."""

    def put(evaluator):
        monkeypatch.setattr("manyways.runs.workflow._evaluator", lambda *arguments: evaluator)

    return put


def start(path, data, callback=None):
    return train(SOGGAIL(**SMALL), path, data=data, task="circles", callback=callback)


def test_sog_gail_from_the_command_line_to_page_and_robustness(command, tmp_path, circles_folder):
    run = tmp_path / "run"
    training = ("train", "sog-gail", circles_folder, "--task", "circles", "--out", run, *QUICK)
    code, output, _ = command(*training)
    assert code == 0
    assert "best iteration" in output
    best = json.loads((run / "best" / "evaluated.json").read_text())
    code, output, _ = command("evaluate", run, "--episodes", 6)
    assert code == 0
    assert "when nobody chooses" in output
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["policy"] == "best"
    assert evaluation["best"] == best
    assert sum(evaluation["coverage"]["mode_counts"]) == 6
    code, _, _ = command("evaluate", run, "--episodes", 6, "--policy", "last")
    assert json.loads((run / "evaluation.json").read_text())["policy"] == "last"
    assert command("report", run)[0] == 0
    assert "the discriminator tells" in (run / "report.html").read_text()
    code, output, _ = command("robustness", run, "--episodes", 6)
    assert code == 0
    assert "random actions" in output
    result = json.loads((run / "robustness.json").read_text())
    assert len(result["switching"]["return_by_code"]) == 3
    assert result["random_actions"]["share"] == 0.2
    assert (run / "switching.png").stat().st_size > 5_000
    # The same command again has nothing left to do.
    before = (run / "policy.safetensors").read_bytes()
    assert command(*training)[0] == 0
    assert (run / "policy.safetensors").read_bytes() == before


@pytest.mark.parametrize("algorithm", ["mdn", "bet", "diffusion"])
def test_a_policy_without_codes_is_trained_evaluated_and_reported(command, tmp_path, circles_folder, algorithm):
    run = tmp_path / "run"
    options = ("--task", "circles", "--out", run, "--iterations", 15, "--hidden", 16)
    code, output, _ = command("train", algorithm, circles_folder, *options)
    assert code == 0
    assert f"Next: manyways evaluate {run}" in output
    code, output, _ = command("evaluate", run, "--episodes", 4)
    assert code == 0
    assert "each of the mode it is closest to" in output
    assert f"Next: manyways report {run}" in output
    assert sum(json.loads((run / "evaluation.json").read_text())["mode_counts"]) == 4
    code, output, _ = command("report", run)
    assert code == 0
    assert "in a browser" in output
    for refused in ("modes", "robustness"):
        code, _, error = command(refused, run)
        assert code == 2
        assert f"{algorithm} has no codes" in error


def test_a_policy_without_codes_on_ones_own_data_leads_to_its_page(command, tmp_path, demonstrations):
    """Each next step that is advised works, and none is advised twice."""
    demonstrations.save(tmp_path / "data.npz")
    run = tmp_path / "run"
    options = ("--out", run, "--iterations", 15, "--hidden", 16)
    code, output, _ = command("train", "mdn", tmp_path / "data.npz", *options)
    assert f"Next: manyways report {run}" in output
    code, output, _ = command("report", run)
    assert code == 0
    assert "in a browser" in output
    for refused in ("evaluate", "film", "robustness"):
        code, _, error = command(refused, run)
        assert code == 2
        assert f"manyways report {run}" in error


def test_behaviour_cloning_has_one_mode(command, tmp_path, circles_folder):
    run = tmp_path / "run"
    options = ("--task", "circles", "--out", run, "--iterations", 15, "--hidden", 16)
    assert command("train", "bc", circles_folder, *options)[0] == 0
    assert Policy.load(run).prior == Categorical(1)
    code, output, _ = command("evaluate", run, "--episodes", 4)
    assert code == 0
    assert "2 modes have no code" in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("sog-gail", "DATA", "--modes", 3), ("needs a task", "sog-bc")),
        (("sog-gail", "DATA", "--task", "circles", "--random-actions", 1.5), ("random_actions is 1.5",)),
        (("sog-gail", "DATA", "--task", "fetch-reach"), ("fetch-reach", "use what was made for this task")),
    ],
)
def test_what_an_algorithm_cannot_use_is_refused(command, tmp_path, circles_folder, options, words):
    replaced = [circles_folder if option == "DATA" else option for option in options]
    code, _, error = command("train", *replaced, "--out", tmp_path / "run")
    assert code == 2
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [("gail", "--lambda-s", 1), ("gail", "--modes", 3), ("mdn", "--block", 2), ("sog-bc", "--total-steps", 9)],
)
def test_what_is_no_setting_of_an_algorithm_is_no_option(command, tmp_path, options):
    code, _, error = command("train", *options, "--task", "circles", "--out", tmp_path / "run")
    assert code == 2
    assert f"{options[1]}" in error
    assert not (tmp_path / "run").exists()


class Stop(Exception):
    pass


def test_a_run_that_failed_between_restarts_goes_on_to_the_same_weights(
    tmp_path, circles_folder, monkeypatch, evaluated_by
):
    monkeypatch.setattr("manyways.runs.loop._SECONDS_BETWEEN_CHECKPOINTS", -1.0)  # a checkpoint wherever one may be
    evaluated_by(PolicyEvaluator(get_task("circles"), Demonstrations.load(circles_folder), None, episodes=1))
    whole = start(tmp_path / "whole", circles_folder)

    def break_off(training):
        if training.iteration == 20 + 5:  # after the restart at 4, before the one at 6
            raise Stop

    with pytest.raises(Stop):
        start(tmp_path / "broken", circles_folder, break_off)
    run = start(tmp_path / "broken", circles_folder)
    for name in (
        "policy.safetensors",
        "best/policy.safetensors",
        "best/evaluated.json",
        "checkpoint/training.safetensors",
    ):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    kept = ("iteration", "discriminator_loss", "return_mean", "kl")
    one, other = ([{k: line.get(k) for k in kept} for line in r.metrics()] for r in (run, whole))
    assert one == other


def test_a_callback_ends_training_between_restarts(tmp_path, circles_folder, evaluated_by):
    evaluated_by(lambda policy: PolicyReturns(1.0, (), None))
    run = start(tmp_path / "run", circles_folder, lambda training: training.iteration < 20 + 5)
    assert run.metrics()[-1]["iteration"] == 25
    assert run.policy("last").prior == Categorical(3)
    whole = start(tmp_path / "whole", circles_folder)
    start(tmp_path / "run", circles_folder)
    assert (run.path / "policy.safetensors").read_bytes() == (whole.path / "policy.safetensors").read_bytes()


def test_the_best_policy_is_the_one_whose_rollouts_returned_most(tmp_path, circles_folder, evaluated_by):
    returns = iter([5.0, 9.0, 7.0, 8.0])
    evaluated = []

    def evaluator(policy):
        evaluated.append(weights_of(policy))
        return PolicyReturns(next(returns), (1.0, 2.0), 0.5)

    evaluated_by(evaluator)
    run = start(tmp_path / "run", circles_folder)
    assert run.best == {"iteration": 24, "environment_steps": 512, "return_mean": 9.0}
    assert torch.equal(weights_of(run.policy()), evaluated[1])
    assert torch.equal(weights_of(run.policy("best")), evaluated[1])
    assert torch.equal(weights_of(run.policy("last")), evaluated[3])
    lines = [line for line in run.metrics() if "return_mean" in line]
    assert [line["return_mean"] for line in lines] == [5, 9, 7, 8]
    assert lines[0]["return/code-1"] == 2
    assert lines[0]["code_mode_agreement"] == 0.5


def weights_of(policy):
    return torch.cat([parameter.detach().flatten().clone() for parameter in policy.network.parameters()])


def test_random_actions_are_as_frequent_as_asked_and_the_same_for_the_same_seed():
    task = get_task("circles")
    steps = []
    for share in (0.0, 0.3, 0.3):
        environment = RandomActions(task.make_vec(50), share)
        environment.reset(seed=1)
        places = []
        for _ in range(40):
            places.append(environment.step(np.zeros((50, 2), np.float32))[0][:, -2:])
        steps.append(np.diff(places, axis=0))
    still = np.abs(steps[0]).max()  # the environment's own noise
    moved = (np.abs(steps[1]) > still).any(axis=2).mean()
    assert 0.15 < moved < 0.3
    np.testing.assert_array_equal(steps[1], steps[2])
