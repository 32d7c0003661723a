import json
from dataclasses import replace

import numpy as np
import pytest

from manyways import Categorical, InputError
from manyways.evaluation import Evaluation, PolicyEvaluator, evaluate, with_random_actions, with_switched_codes
from manyways.tasks import Base, Picture, Task, get_task, velocities
from manyways.tasks.circles import expert_actions
from manyways.tasks.expert import Expert


class Actor:
    """Acts as the expert of mode (code + shift) % 3, whatever it was trained on."""

    def __init__(self, codes, shift=0):
        self.prior = self.discrete_prior = Categorical(codes)
        self.shift = shift
        self.observation_space, self.action_space = get_task("circles").spaces

    def predict(self, observations, state, deterministic):
        assert deterministic
        return expert_actions(observations, (state.argmax(axis=1) + self.shift) % 3), state


def test_an_expert_under_other_names_is_matched_and_scores_as_the_expert():
    evaluation = evaluate(Actor(3, shift=1), get_task("circles"), episodes=10)
    assert evaluation.assignment == [1, 2, 0]
    assert evaluation.return_mean == pytest.approx(evaluation.expert_return_mean, abs=1)
    matrix = np.array(evaluation.return_matrix)
    assert matrix.shape == (3, 3)
    assert matrix[[0, 1, 2], [1, 2, 0]].min() > 990
    assert (np.sort(matrix)[:, :2] < 600).all()
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_rollouts_of_codes_left_over_are_not_in_the_mean():
    evaluation = evaluate(Actor(4), get_task("circles"), episodes=8)
    assert evaluation.assignment.count(None) == 1
    assert evaluation.return_mean > 990


def test_the_mean_and_std_are_over_rollouts_under_their_own_mode():
    evaluation = evaluate(Actor(3), get_task("circles"), episodes=7)
    diagonal = np.diagonal(evaluation.return_matrix)
    # 7 rollouts over 3 codes: 3, 2 and 2.
    assert evaluation.return_mean == pytest.approx((3 * diagonal[0] + 2 * diagonal[1] + 2 * diagonal[2]) / 7)


def test_too_few_episodes_and_a_policy_of_another_size_are_refused(policy):
    with pytest.raises(InputError, match="2 episodes cannot show 3 codes"):
        evaluate(Actor(3), get_task("circles"), episodes=2)
    with pytest.raises(InputError, match=r"an observation of the policy is .*\(3,\), an action .* but of circles"):
        evaluate(policy, get_task("circles"), episodes=4)


def test_without_an_expert_its_row_is_left_out():
    task, steps = replace(get_task("circles"), scripted_expert=None), []
    evaluation = evaluate(Actor(3), task, episodes=6, on_step=lambda: steps.append(1))
    assert len(steps) == task.episode_steps
    assert evaluation.expert_return_mean is evaluation.expert_return_std is None
    assert evaluation.return_mean > 990
    assert Evaluation.from_json(json.loads(json.dumps(evaluation.to_json()))) == evaluation


def test_a_damaged_expert_is_reported_before_anything_is_rolled_out(tmp_path):
    layers = {"weight.0": np.ones((2, 13), np.float32), "bias.0": np.zeros(2, np.float32)}
    Expert(layers | {"action_scale": np.ones(2, np.float32)}, {}).save(tmp_path, "circles")
    task = replace(get_task("circles"), scripted_expert=None, weights=tmp_path)
    (tmp_path / "circles.safetensors").write_bytes(b"junk")
    steps = []
    with pytest.raises(InputError, match=r"circles\.safetensors"):
        evaluate(Actor(3), task, episodes=3, on_step=lambda: steps.append(1))
    assert not steps


class Pusher(Actor):
    """Balances a pole that leans to the left under code 0 and to the right under code 1, with discrete actions."""

    def __init__(self, task):
        self.prior = self.discrete_prior = Categorical(2)
        self.observation_space, self.action_space = task.spaces
        self.task = task

    def predict(self, observations, state, deterministic):
        return self.task.expert(observations, state.argmax(axis=1)), state


@pytest.mark.parametrize("in_envpool", [True, False])
def test_policies_of_discrete_actions_are_evaluated_and_disturbed(in_envpool):
    task = Task(
        name="balance",
        environment="own/Balance-v0",
        modes=velocities((-1.0, 1.0)),
        episode_steps=60,
        demonstrations=4,
        picture=Picture(lambda observations: observations[:, :2], ("x (m)", "v (m/s)")),
        base=Base("CartPole-v1", in_envpool=in_envpool),
        rewards=lambda step, modes: step.observation[:, 1:2] * modes,
        scripted_expert=lambda observations, modes: (
            observations[:, 2] + observations[:, 3] - 0.1 * (2 * modes - 1) > 0
        ).astype(int),
    )
    evaluation = evaluate(Pusher(task), task, episodes=8)
    assert evaluation.assignment == [0, 1]
    assert evaluation.return_mean == pytest.approx(evaluation.expert_return_mean)
    assert evaluation.return_matrix[0][1] < 0 < evaluation.return_matrix[0][0]
    random = with_random_actions(Pusher(task), task, share=1.0, episodes=8)
    assert random.return_mean < evaluation.return_mean / 2
    switched = with_switched_codes(Pusher(task), task, [0, 1], episodes=4)
    assert switched.observations.shape == (4, switched.active.shape[1] + 1, 4)
    result = PolicyEvaluator(task, None, None, episodes=2)(Pusher(task))
    assert result.agreement == 1
    with pytest.raises(InputError, match=r"an observation of the policy is .*\(10,\).* but of balance"):
        evaluate(Actor(3), task, episodes=3)


def test_policies_of_pictures_are_evaluated_beside_an_expert_that_acts_on_the_state():
    class Watcher(Actor):
        def __init__(self, task):
            super().__init__(3)
            self.observation_space, self.action_space = task.spaces

        def predict(self, observations, state, deterministic):
            points = get_task("circles-images").picture.points(observations)
            return expert_actions(np.tile(points, 5), state.argmax(axis=1)), state

    task = get_task("circles-images")
    evaluation = evaluate(Watcher(task), task, episodes=6)
    assert evaluation.assignment == [0, 1, 2]
    assert evaluation.expert_return_mean > 297
    assert evaluation.return_mean > 290
