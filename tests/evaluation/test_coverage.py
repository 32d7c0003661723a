import json
from dataclasses import replace

import numpy as np
import pytest

from manyways import Categorical, Diffusion, InputError
from manyways.evaluation.coverage import Coverage, behaviour_entropy, evaluate_coverage, summarize
from manyways.tasks import get_task
from manyways.tasks.circles import expert_actions


class Actor:
    """Acts as the expert of its code's mode, or of one mode always."""

    def __init__(self, codes=3, always=None):
        self.prior = self.discrete_prior = Categorical(codes)
        self.always = always
        self.observation_space, self.action_space = get_task("circles").spaces

    def predict(self, observations, state, deterministic):
        assert deterministic
        modes = state.argmax(axis=1) if self.always is None else np.full(len(state), self.always)
        return expert_actions(observations, modes), state


class Drawn:
    """Draws a mode where an episode starts, keeps it as its state, and acts as its expert: a policy without codes."""

    prior = None

    def __init__(self, shares):
        self.observation_space, self.action_space = get_task("circles").spaces
        self.shares = shares

    def seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def predict(self, observations, state, episode_start):
        drawn = self.rng.choice(3, size=len(observations), p=self.shares)
        modes = drawn if state is None else np.where(episode_start, drawn, state)
        return expert_actions(observations, modes), modes


@pytest.mark.parametrize(
    ("counts", "entropy"),
    [
        ([5, 5, 5], 1.0),
        ([0, 9, 0], 0.0),
        ([0, 0, 0], 0.0),
        ([4], 0.0),
        ([3, 3, 0, 0], 0.5),
        ([2, 1, 1], 1.5 * np.log(2) / np.log(3)),
        ([1, 3], -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))),
    ],
)
def test_the_entropy_is_to_the_base_of_the_number_of_modes(counts, entropy):
    assert behaviour_entropy(counts) == pytest.approx(entropy, abs=1e-12)


def test_rollouts_are_of_the_mode_they_fall_least_short_of_and_succeed_with_half_the_experts():
    # The second rollout returns more under mode 1, but falls 50 short of its expert and only 40 short of mode 0's.
    returns = np.array([[100.0, 20.0], [60.0, 150.0], [10.0, 190.0], [45.0, 30.0], [-60.0, 80.0]])
    coverage = summarize(returns, np.array([90.0, 110.0, 200.0]), np.array([0, 0, 1]))
    assert coverage.mode_counts == [3, 2]
    assert coverage.success_rate == pytest.approx(3 / 5)  # 100 and 60 of 100, 190 of 200
    assert coverage.behaviour_entropy == pytest.approx(behaviour_entropy([3, 2]))
    assert coverage.successful_entropy == pytest.approx(behaviour_entropy([2, 1]))
    assert coverage.returns == pytest.approx([(100 + 60 + 45) / 3, (190 + 80) / 2])
    assert coverage.return_mean == pytest.approx(np.mean([100, 60, 190, 45, 80]))
    assert coverage.return_std == pytest.approx(np.std([100, 60, 190, 45, 80]))
    assert coverage.expert_return_mean == pytest.approx(400 / 3)


def test_the_expert_itself_succeeds_where_returns_are_negative():
    coverage = summarize(np.array([[-10.0], [-14.0], [-16.0]]), np.array([-10.0]), np.array([0]))
    assert coverage.success_rate == pytest.approx(2 / 3)


def test_a_policy_with_codes_draws_one_for_each_episode():
    coverage = evaluate_coverage(Actor(), get_task("circles"), episodes=30)
    assert sum(coverage.mode_counts) == coverage.episodes == 30
    assert min(coverage.mode_counts) >= 3
    assert coverage.success_rate == 1
    assert coverage.behaviour_entropy == coverage.successful_entropy > 0.85
    assert coverage.return_mean == pytest.approx(coverage.expert_return_mean, abs=1)
    assert coverage.return_mean > 990
    assert Coverage.from_json(coverage.to_json()) == coverage


def test_a_policy_of_one_way_has_no_entropy():
    coverage = evaluate_coverage(Actor(always=2), get_task("circles"), episodes=6)
    assert coverage.mode_counts == [0, 0, 6]
    assert coverage.behaviour_entropy == 0
    assert coverage.returns[:2] == [None, None]
    assert coverage.returns[2] > 990
    assert Coverage.from_json(coverage.to_json()) == coverage


def test_a_policy_without_codes_draws_its_ways_from_the_seed():
    policy = Drawn([0.5, 0.0, 0.5])
    coverage = evaluate_coverage(policy, get_task("circles"), episodes=20)
    assert coverage.mode_counts[0] > 3
    assert coverage.mode_counts[2] > 3
    assert evaluate_coverage(policy, get_task("circles"), episodes=20) == coverage
    assert evaluate_coverage(policy, get_task("circles"), episodes=20, seed=1) != coverage


def test_progress_is_told_and_too_few_episodes_and_wrong_sizes_are_refused(policy, demonstrations):
    steps = []
    evaluate_coverage(Actor(), get_task("circles"), 3, on_step=lambda: steps.append(1))
    assert len(steps) == 2 * get_task("circles").episode_steps
    with pytest.raises(InputError, match="2 episodes cannot show 3 modes; give 3 or more"):
        evaluate_coverage(Actor(), get_task("circles"), episodes=2)
    small = Diffusion(iterations=1, hidden=8).fit(demonstrations)
    for other in (policy, small):
        with pytest.raises(InputError, match=r"an observation of the policy is .*\(3,\), an action .* but of circles"):
            evaluate_coverage(other, get_task("circles"), episodes=4)


def test_without_an_expert_its_row_is_left_out_and_the_best_rollouts_tell_the_modes_apart(monkeypatch):
    task = replace(get_task("circles"), scripted_expert=None)
    steps = []
    coverage = evaluate_coverage(Actor(), task, episodes=12, on_step=lambda: steps.append(1))
    assert len(steps) == task.episode_steps
    assert coverage.expert_return_mean is coverage.expert_return_std is None
    assert coverage.success_rate is coverage.successful_entropy is None
    assert coverage.mode_counts == evaluate_coverage(Actor(), get_task("circles"), episodes=12).mode_counts
    assert Coverage.from_json(json.loads(json.dumps(coverage.to_json()))) == coverage
