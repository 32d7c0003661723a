"""Runs of algorithms that run the environment, or have no codes, on the command line and as folders."""

import json

import numpy as np
import pytest
import torch

from manyways.algorithms.adversarial.sog_gail import SOGGAIL
from manyways.demonstrations import Demonstrations
from manyways.evaluation import PolicyEvaluator, PolicyReturns
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.rl.random_actions import RandomActions
from manyways.runs.run import Run
from manyways.tasks import get_task

QUICK = ("--total-steps", 640, "--environments", 4, "--steps-per-update", 32, "--pretraining", 20, "--hidden", 16)


@pytest.fixture(autouse=True)
def one_thread():
    """Keep PyTorch to one thread: matrices this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def start(path, data, **changes):
    small = {
        "prior": Categorical(3),
        "total_steps": 1024,
        "environments": 4,
        "steps_per_update": 32,
        "pretraining": 20,
        "hidden": 16,
        "updates_per_restart": 2,
        "warm_up_updates": 1,
    }
    settings, demonstrations = SOGGAIL(**(small | changes)), Demonstrations.load(data)
    run = Run.create(path, settings, demonstrations, task="circles", data=str(data), command="manyways train")
    return run, settings.start(demonstrations, get_task("circles").make_vec(settings.environments))


def test_sog_gail_from_the_command_line_to_page_and_robustness(command, tmp_path, circles_folder):
    run = tmp_path / "run"
    train = ("train", "--task", "circles", "--data", circles_folder, "--algorithm", "sog-gail", "--out", run, *QUICK)
    code, output, _ = command(*train)
    assert code == 0
    assert "best iteration" in output
    best = json.loads((run / "best" / "judged.json").read_text())
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
    assert 0 <= result["switching"]["survived"] <= 1
    assert result["random_actions"]["share"] == 0.2
    assert (run / "switching.png").stat().st_size > 5_000
    # The same command again has nothing left to do.
    before = (run / "policy.safetensors").read_bytes()
    assert command(*train)[0] == 0
    assert (run / "policy.safetensors").read_bytes() == before


@pytest.mark.parametrize("algorithm", ["mdn", "bet", "diffusion"])
def test_a_policy_without_codes_is_trained_and_evaluated_by_what_its_rollouts_are_of(
    command, tmp_path, circles_folder, algorithm
):
    run = tmp_path / "run"
    options = ("--task", "circles", "--data", circles_folder, "--out", run, "--iterations", 15, "--hidden", 16)
    assert command("train", "--algorithm", algorithm, *options)[0] == 0
    code, output, _ = command("evaluate", run, "--episodes", 4)
    assert code == 0
    assert "each of the mode it is closest to" in output
    assert sum(json.loads((run / "evaluation.json").read_text())["mode_counts"]) == 4
    for refused in ("report", "modes", "film", "robustness"):
        code, _, error = command(refused, run)
        assert code == 2
        assert f"{algorithm} has no codes" in error
        assert "manyways evaluate" in error


def test_behaviour_cloning_has_one_way(command, tmp_path, circles_folder):
    run = tmp_path / "run"
    options = ("--task", "circles", "--data", circles_folder, "--out", run, "--iterations", 15, "--hidden", 16)
    assert command("train", "--algorithm", "bc", *options)[0] == 0
    assert Policy.load(run).prior == Categorical(1)
    code, output, _ = command("evaluate", run, "--episodes", 4)
    assert code == 0
    assert "2 modes have no code" in output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--algorithm", "sog-gail", "--data", "DATA", "--modes", 3), ("needs --task NAME", "sog-bc")),
        (("--algorithm", "gail", "--task", "circles", "--lambda-s", 1), ("--lambda-s is no setting of gail",)),
        (("--algorithm", "gail", "--task", "circles", "--modes", 3), ("gail has no codes", "--modes")),
        (("--algorithm", "mdn", "--task", "circles", "--modes", 3), ("mdn has no codes", "--modes")),
        (("--algorithm", "sog-bc", "--task", "circles", "--total-steps", 9), ("--total-steps is no setting",)),
        (("--algorithm", "mdn", "--task", "circles", "--block", 2), ("--block", "no setting of mdn")),
        (("--algorithm", "sog-gail", "--task", "circles", "--random-actions", 1.5), ("random_actions is 1.5",)),
    ],
)
def test_what_an_algorithm_cannot_use_is_refused(command, tmp_path, circles_folder, options, words):
    given = [circles_folder if option == "DATA" else option for option in options]
    data = () if "DATA" in options else ("--data", circles_folder)
    code, _, error = command("train", *given, *data, "--out", tmp_path / "run")
    assert code == 2
    assert error.count("\n") == 1
    for word in words:
        assert word in error
    assert not (tmp_path / "run").exists()


class Stop(Exception):
    pass


def test_a_run_that_failed_between_restarts_goes_on_to_the_same_weights(tmp_path, circles_folder, monkeypatch):
    monkeypatch.setattr("manyways.runs.run._SECONDS_BETWEEN_CHECKPOINTS", -1.0)  # a checkpoint wherever one may be
    judge = PolicyEvaluator(get_task("circles"), Demonstrations.load(circles_folder), None, episodes=1)
    whole, training = start(tmp_path / "whole", circles_folder)
    whole.train(training, judge=judge)
    run, training = start(tmp_path / "broken", circles_folder)

    def break_off(training):
        if training.iteration == 20 + 5:  # after the restart at 4, before the one at 6
            raise Stop

    with pytest.raises(Stop):
        run.train(training, break_off, judge)
    run, training = start(tmp_path / "broken", circles_folder)
    run.train(training, judge=judge)
    for name in (
        "policy.safetensors",
        "best/policy.safetensors",
        "best/judged.json",
        "checkpoint/training.safetensors",
    ):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    kept = ("iteration", "discriminator_loss", "return_mean", "kl")
    one, other = ([{k: line.get(k) for k in kept} for line in r.metrics()] for r in (run, whole))
    assert one == other


def test_the_best_policy_is_the_one_whose_rollouts_returned_most(tmp_path, circles_folder):
    returns = iter([5.0, 9.0, 7.0, 8.0])
    seen = []

    def judge(policy):
        seen.append(policy.network.output.weight.clone())
        return PolicyReturns(next(returns), (1.0, 2.0), 0.5)

    run, training = start(tmp_path / "run", circles_folder)
    run.train(training, judge=judge)
    assert run.best == {"iteration": 24, "environment_steps": 512, "return_mean": 9.0}
    assert torch.equal(run.policy().network.output.weight, seen[1])
    assert torch.equal(run.policy("best").network.output.weight, seen[1])
    assert torch.equal(run.policy("last").network.output.weight, seen[3])
    judged = [line for line in run.metrics() if "return_mean" in line]
    assert [line["return_mean"] for line in judged] == [5, 9, 7, 8]
    assert judged[0]["return/code-1"] == 2
    assert judged[0]["code_mode_agreement"] == 0.5


def test_a_judge_takes_the_return_under_the_matched_modes(circles_folder):
    task = get_task("circles")
    judge = PolicyEvaluator(task, Demonstrations.load(circles_folder), None, episodes=2)

    class Scripted(Policy):
        def __init__(self):
            self.prior = Categorical(3)
            self.order = np.array([2, 0, 1])

        observation_size, action_size = 10, 2

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return task.expert(observation, self.order[state.argmax(axis=1)]), state

    verdict = judge(Scripted())
    assert verdict.return_mean == pytest.approx(998, abs=2)
    assert verdict.agreement == 1
    assert len(verdict.returns) == 3


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
