import json
from dataclasses import replace

import numpy as np
import pytest

from manyways import Demonstrations, Gaussian, InputError
from manyways.evaluation import ContinuousEvaluation, PolicyEvaluator, continuous, evaluate_continuous, evaluate_expert
from manyways.policies.explanation import Encoding
from manyways.tasks import Base, ContinuousModes, Picture, get_task
from manyways.tasks.rollouts import Rollouts

MODES = ContinuousModes((-1.0,), (1.0,), "torque", tolerance=0.5)
COUNT = 8


class Follower:
    """Turns a pendulum with the torque that its code is, and finds the true modes when it encodes."""

    prior = Gaussian(1)

    def __init__(self, task):
        self.observation_space, self.action_space = task.spaces

    def encode(self, demonstrations, seed=0):
        return Encoding(labels()[: len(demonstrations)], np.zeros(len(demonstrations)), None)

    def predict(self, observations, state, deterministic):
        return np.clip(state, -1, 1), state


def labels():
    return np.linspace(-1, 1, COUNT)[:, None]


@pytest.fixture
def task():
    return replace(
        get_task("circles"),
        name="turn",
        environment="own/Turn-v0",
        modes=MODES,
        episode_steps=20,
        picture=Picture(lambda observations: observations[:, :2], ("", "")),
        entry_point=None,
        base=Base("Pendulum-v1"),
        rewards=lambda step, modes: -abs(step.action - modes),
        scripted_expert=lambda observations, modes: modes,
        achieved=lambda observations, info: observations[:, :1],
    )


@pytest.fixture
def demonstrations():
    return Demonstrations.from_arrays([(np.zeros((4, 3)), np.zeros((4, 1)))] * COUNT)


def test_a_policy_that_follows_its_code_returns_what_the_expert_does(task, demonstrations):
    evaluation = evaluate_continuous(Follower(task), task, demonstrations, labels(), episodes=COUNT)
    assert evaluation.return_mean == pytest.approx(evaluation.expert_return_mean, abs=1e-5)
    assert evaluation.mutual_information_nats is not None
    assert evaluation.expert_mutual_information_nats is not None
    assert evaluation.expert_entropy_nats == pytest.approx(np.log(2), abs=0.35)  # of [-1, 1], from 80 points
    assert np.shape(evaluation.achieved_mean) == (10 * COUNT, 1)
    assert ContinuousEvaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def test_without_an_expert_its_row_is_left_out(task, demonstrations):
    alone = replace(task, scripted_expert=None)
    evaluation = evaluate_continuous(Follower(task), alone, demonstrations, labels(), episodes=COUNT)
    whole = evaluate_continuous(Follower(task), task, demonstrations, labels(), episodes=COUNT)
    assert evaluation.expert_return_mean is evaluation.expert_return_std is None
    assert evaluation.expert_mutual_information_nats is None
    for name in ("return_mean", "hit_rate", "entropy_nats", "mutual_information_nats"):
        assert getattr(evaluation, name) == getattr(whole, name)


def test_policies_are_evaluated_on_the_way_under_the_codes_of_demonstrations(task, demonstrations):
    result = PolicyEvaluator(task, demonstrations, labels(), episodes=COUNT)(Follower(task))
    assert result.return_mean == pytest.approx(0, abs=1e-5)
    assert result.scalars() == {"return_mean": result.return_mean}
    with pytest.raises(InputError, match="there are no labels, but turn needs 1 numbers for each of 8"):
        PolicyEvaluator(task, demonstrations, None)


def test_modes_or_codes_that_are_lists_and_too_few_episodes_are_refused(task, demonstrations):
    with pytest.raises(InputError, match="circles and this policy do not both have continuous modes and codes"):
        evaluate_continuous(Follower(task), get_task("circles"), demonstrations, labels())
    with pytest.raises(InputError, match="3 episodes are too few"):
        evaluate_continuous(Follower(task), task, demonstrations, labels(), episodes=3)


def test_under_the_codes_of_demonstrations_the_modes_tell_what_is_achieved(task, monkeypatch):
    many = Demonstrations.from_arrays([(np.zeros((4, 3)), np.zeros((4, 1)))] * 400)
    modes, rng = np.linspace(-1, 1, 400)[:, None], np.random.default_rng(0)

    def roll_out(policy, task, codes, *_):  # a world in which a code is achieved, with noise at each step
        achieved = codes[:, None] + 0.1 * rng.normal(size=(len(codes), 20, 1))
        lengths = np.full(len(codes), 20)
        return Rollouts(achieved, np.zeros((len(codes), 20, 1)), lengths, lengths < 0, achieved)

    monkeypatch.setattr(continuous, "roll_out_codes", roll_out)
    shared = []
    for codes in (modes, np.zeros_like(modes)):
        policy = Follower(task)
        policy.encode = lambda some, seed=0, codes=codes: Encoding(codes[: len(some)], np.zeros(len(some)), None)
        found = evaluate_continuous(policy, task, many, modes, episodes=40)
        shared.append(found.embedded_mutual_information_nats)
    # Of a uniform mode on [-1, 1] and noise of 0.1: ln 2 less the noise's entropy, and a little for the ends.
    assert shared[0] == pytest.approx(np.log(2) - 0.5 * np.log(2 * np.pi * np.e * 0.01), abs=0.2)
    assert shared[1] < 0.1


def test_the_experts_own_row_is_of_what_it_reaches(task):
    reaching = replace(task, achieved=lambda observations, info: np.clip(observations[:, 1:2], -1, 1))
    away = replace(task, achieved=lambda observations, info: 0 * observations[:, :1] + 5)
    for one, hits in ((reaching, None), (away, 0.0)):
        found = evaluate_expert(one, episodes=COUNT)
        assert found.return_mean == pytest.approx(0, abs=1e-5)
        assert hits is None or found.hit_rate == hits
        assert found.entropy_nats < 0.5  # of what is reached: uniform modes have ln 2 = 0.69
    assert evaluate_expert(get_task("circles"), episodes=3).hit_rate is None
