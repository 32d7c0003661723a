import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Text

from manyways import InputError
from manyways.tasks.spaces import (
    random_actions,
    require_noise,
    require_supported,
    share_outside,
    with_noise,
    within,
)

BOX = Box(np.array([-1.0, 0.0]), np.array([1.0, 4.0]), dtype=np.float64)
CHOICE, CHOICES = Discrete(3), MultiDiscrete([2, 4])


def test_actions_are_cut_to_a_box_and_choices_must_exist():
    np.testing.assert_array_equal(within(BOX, np.array([[3.0, 2.0], [0.5, -1.0]])), [[1, 2], [0.5, 0]])
    choices = within(CHOICE, np.array([0.0, 2.0]))
    assert choices.dtype == np.int64
    np.testing.assert_array_equal(choices, [0, 2])
    with pytest.raises(InputError, match=r"action 3 is none of Discrete\(3\)"):
        within(CHOICE, np.array([1, 3]))
    with pytest.raises(InputError, match=r"actions have shape \(2,\); give \(2,\) numbers for each environment"):
        within(BOX, np.zeros(2))


def test_the_share_of_actions_outside_counts_steps_and_forgives_rounding():
    actions = np.array([[0.0, 4.0 + 1e-6], [1.5, 2.0], [-3.0, 5.0], [1.0, 0.0]])
    assert share_outside(BOX, actions) == 0.5
    assert share_outside(CHOICE, np.array([0, 1, 2, 3])) == 0.25
    assert share_outside(CHOICES, np.array([[1, 3], [2, 0], [0, -1]])) == pytest.approx(2 / 3)
    assert share_outside(Box(-np.inf, np.inf, (2,)), actions) == 0
    assert share_outside(Box(0, np.inf, (2,)), actions) == 0.25


def test_random_actions_are_uniform_in_the_space():
    rng = np.random.default_rng(0)
    numbers = random_actions(BOX, 20_000, rng)
    np.testing.assert_allclose(numbers.mean(axis=0), [0, 2], atol=0.05)
    assert share_outside(BOX, numbers) == 0
    np.testing.assert_allclose(np.bincount(random_actions(CHOICE, 30_000, rng)) / 30_000, 1 / 3, atol=0.02)
    parts = random_actions(CHOICES, 20_000, rng)
    np.testing.assert_allclose(np.bincount(parts[:, 1]) / 20_000, 1 / 4, atol=0.02)
    assert parts[:, 0].max() == 1


def test_noise_is_gaussian_in_numbers_and_a_random_choice_in_choices():
    rng = np.random.default_rng(0)
    noisy = with_noise(BOX, np.zeros((20_000, 2)), 0.1, rng)
    np.testing.assert_allclose(noisy.std(axis=0), [0.1, 0.2], rtol=0.03)  # in halves of 2 and 4
    choices = with_noise(CHOICE, np.full(30_000, 2), 0.3, rng)
    assert (choices != 2).mean() == pytest.approx(0.3 * 2 / 3, abs=0.01)
    both = with_noise(CHOICES, np.tile([1, 3], (30_000, 1)), 0.5, rng)
    assert (both == [1, 3]).all(axis=1).mean() == pytest.approx(0.5 + 0.5 / 8, abs=0.01)


def test_no_noise_leaves_actions_without_bounds_finite_and_noise_is_refused_there():
    unbounded = Box(-np.inf, np.inf, (2,))
    np.testing.assert_array_equal(with_noise(unbounded, np.ones((3, 2)), 0.0, np.random.default_rng(0)), 1)
    require_noise(unbounded, 0.0, "swing")
    with pytest.raises(InputError, match="swing have no bounds; give its action space finite ones, or a noise of 0"):
        require_noise(unbounded, 0.1, "swing")
    with pytest.raises(InputError, match=r"the noise is -1; give 0 or more"):
        require_noise(BOX, -1, "swing")
    with pytest.raises(InputError, match="of discrete actions it is a probability; give 0 to 1"):
        require_noise(CHOICE, 1.5, "swing")


def test_what_no_policy_can_learn_is_refused():
    require_supported(Dict(a=BOX, b=BOX), CHOICES, "swing")
    with pytest.raises(InputError, match=r"swing observes Discrete\(3.*only arrays \(Box\) and dictionaries of them"):
        require_supported(CHOICE, BOX, "swing")
    with pytest.raises(InputError, match=r"the actions of swing are Text.*only Box, Discrete and MultiDiscrete"):
        require_supported(BOX, Text(3), "swing")
    for late in (Discrete(3, start=1), MultiDiscrete([2, 2], start=[0, 1])):
        with pytest.raises(InputError, match="that start at 0 can be learned"):
            require_supported(BOX, late, "swing")
