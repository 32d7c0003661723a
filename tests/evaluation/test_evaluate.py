import numpy as np
import pytest

from manyways import Categorical, InputError
from manyways.evaluation import Evaluation, evaluate
from manyways.tasks import get_task
from manyways.tasks.circles import expert_actions


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
    with pytest.raises(
        InputError, match=r"the policy has observations of shape \(3,\) and actions of .*, but circles has"
    ):
        evaluate(policy, get_task("circles"), episodes=4)
