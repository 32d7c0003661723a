import json

import numpy as np
import pytest

from manyways import Categorical, InputError
from manyways.evaluation import evaluate
from manyways.evaluation.robustness import with_random_actions, with_switched_codes
from manyways.tasks import get_task
from manyways.tasks.circles import expert_actions

CIRCLES = get_task("circles")


class Actor:
    """Acts as the expert of mode (code + shift) % 3, whatever it was trained on."""

    def __init__(self, codes, shift=0):
        self.prior = self.discrete_prior = Categorical(codes)
        self.shift = shift
        self.observation_space, self.action_space = get_task("circles").spaces

    def predict(self, observations, state, deterministic):
        assert deterministic
        return expert_actions(observations, (state.argmax(axis=1) + self.shift) % 3), state


class Leaver(Actor):
    """Walks off the field under code 0, and stays under all others."""

    def predict(self, observations, state, deterministic):
        return np.where(state[:, :1] == 1, [[1.5, 0.0]], [[0.0, 0.0]]), state


def test_without_random_actions_it_is_the_plain_evaluation():
    plain = evaluate(Actor(3, shift=1), CIRCLES, episodes=10)
    result = with_random_actions(Actor(3, shift=1), CIRCLES, share=0, episodes=10)
    assert (result.return_mean, result.return_std) == (plain.return_mean, plain.return_std)
    assert result.assignment == plain.assignment == [1, 2, 0]
    assert result.return_matrix == plain.return_matrix
    assert result.survived == 1


def test_where_all_actions_are_random_the_policy_makes_no_difference():
    first, second = (with_random_actions(actor, CIRCLES, share=1, episodes=6) for actor in (Actor(3), Leaver(3)))
    assert first == second
    assert first.return_mean < 500


def test_random_actions_cost_returns_and_are_the_same_for_the_same_seed():
    none, some, again, other = (
        with_random_actions(Actor(3), CIRCLES, share=share, episodes=6, seed=seed)
        for share, seed in ((0, 0), (0.5, 0), (0.5, 0), (0.5, 1))
    )
    assert some == again != other
    assert 500 < some.return_mean < none.return_mean - 5
    assert some.assignment == [0, 1, 2]
    assert json.loads(json.dumps(some.to_json()))["share"] == 0.5


def test_random_actions_have_the_given_share_and_are_independent():
    # Who stays still but for random steps of ±1.5 m is at a random walk of so many steps, and the environment's noise.
    class Still(Actor):
        def predict(self, observations, state, deterministic):
            observed.append(observations)
            return np.zeros((len(observations), 2)), state

    observed = []
    with_random_actions(Still(3), CIRCLES, share=0.25, episodes=99)
    positions = np.stack(observed)[:200, :, -2:]  # (steps, episodes, 2), before anybody leaves the field
    moved = np.abs(np.diff(positions, axis=0)).max(axis=-1) > 0.6  # four standard deviations of the noise
    assert moved.mean() == pytest.approx(0.25 * (1 - 0.4**2), abs=0.01)
    assert np.diff(positions, axis=0).mean() == pytest.approx(0, abs=0.01)
    assert np.corrcoef(np.diff(positions[..., 0], axis=0)[:, :2].T)[0, 1] == pytest.approx(0, abs=0.2)


def test_every_code_is_active_equally_long_in_an_order_of_each_rollout():
    result = with_switched_codes(Actor(3), CIRCLES, [0, 1, 2], episodes=20)
    assert result.active.shape == (20, 1000)
    assert result.observations.shape == (20, 1001, 10)
    for active in result.active:
        assert sorted(np.bincount(active)) == [333, 333, 334]
        assert np.count_nonzero(np.diff(active)) == 2
    assert len({tuple(active[[0, 500, 999]]) for active in result.active}) > 3
    assert result.survived == 1


def test_experts_that_are_switched_find_their_circle_again():
    result = with_switched_codes(Actor(3, shift=1), CIRCLES, [1, 2, 0], episodes=12)
    first, *later = result.return_by_part
    assert first > 325
    assert min(later) > 260
    assert max(later) < first  # the way from one circle to the other costs
    assert result.return_mean == pytest.approx(sum(result.return_by_part))
    assert result.return_mean == pytest.approx(sum(result.return_by_code))
    # Under modes that belong to other codes the same rollouts are worth little.
    mistaken = with_switched_codes(Actor(3, shift=1), CIRCLES, [0, 1, 2], episodes=12)
    np.testing.assert_array_equal(mistaken.observations, result.observations)
    assert mistaken.return_mean < 0.6 * result.return_mean


def test_the_active_code_is_the_one_that_acts():
    result = with_switched_codes(Leaver(2), CIRCLES, [0, 1], episodes=1, seed=3)
    walked = np.diff(result.observations[0, :, -2]) > 0.75
    length = result.lengths[0]
    np.testing.assert_array_equal(walked[:length], result.active[0, :length] == 0)


def test_a_policy_that_walks_off_the_field_does_not_survive_and_earns_nothing_after():
    result = with_switched_codes(Leaver(2), CIRCLES, [0, 1], episodes=10)
    assert result.survived == 0
    assert (result.lengths < 1000).all()
    began = result.active[:, 0] == 0
    assert (result.lengths[began] < 40).all()
    assert (result.lengths[~began] > 500).all()
    assert with_random_actions(Leaver(2), CIRCLES, share=0, episodes=4).survived == 0.5


def test_codes_without_a_mode_are_active_but_not_scored():
    result = with_switched_codes(Actor(4), CIRCLES, [0, 1, 2, None], episodes=8)
    assert all(sorted(np.bincount(active)) == [250] * 4 for active in result.active)
    assert result.return_by_code[3] is None
    assert result.return_mean == pytest.approx(sum(result.return_by_code[:3]))
    assert result.return_mean < 750


def test_the_file_has_the_numbers_and_the_picture_the_paths():
    result = with_switched_codes(Leaver(2), CIRCLES, [0, None], episodes=1)
    written = json.loads(json.dumps(result.to_json()))
    assert written["survived"] == 0
    assert not {"observations", "lengths", "active"} & set(written)
    [(points, active)] = result.paths(CIRCLES)
    assert points.shape == (len(active) + 1, 2) == (result.lengths[0] + 1, 2)
    assert points[-1, 0] > 30


@pytest.mark.parametrize("assignment", [[0, 1], [0, 1, 3], [None] * 3])
def test_an_assignment_that_is_none_of_these_codes_to_modes_is_refused(assignment):
    with pytest.raises(InputError, match="does not assign 3 modes to 3 codes"):
        with_switched_codes(Actor(3), CIRCLES, assignment)


def test_shares_episodes_and_policies_that_do_not_fit_are_refused(policy):
    with pytest.raises(InputError, match=r"share of 1\.5 random actions"):
        with_random_actions(Actor(3), CIRCLES, share=1.5)
    with pytest.raises(InputError, match="2 episodes cannot show 3 codes"):
        with_random_actions(Actor(3), CIRCLES, episodes=2)
    with pytest.raises(InputError, match="0 episodes show nothing"):
        with_switched_codes(Actor(3), CIRCLES, [0, 1, 2], episodes=0)
    for disturb in (with_random_actions, lambda policy, task: with_switched_codes(policy, task, [0, 1])):
        with pytest.raises(InputError, match=r"an observation of the policy is .*\(3,\), an action .* but of circles"):
            disturb(policy, CIRCLES)
