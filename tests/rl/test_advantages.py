import numpy as np
import pytest
import torch

from manyways.rl.advantages import generalized_advantages


def advantages(rewards, values, gamma, gae_lambda, terminated=None, truncated=None):
    """Return the advantages of one environment."""
    flags = [torch.zeros(len(rewards), 1, dtype=torch.bool) for _ in range(2)]
    for flag, at in zip(flags, (terminated, truncated), strict=True):
        if at is not None:
            flag[at] = True
    rewards, values = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (rewards, values))
    return generalized_advantages(rewards, values, *flags, gamma, gae_lambda).squeeze(1).numpy()


# --- advantages ---


def test_with_lambda_0_an_advantage_is_the_error_of_one_step():
    result = advantages([1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0], gamma=0.5, gae_lambda=0.0)
    np.testing.assert_allclose(result, [1 + 10 - 10, 2 + 15 - 20, 3 + 20 - 30])


def test_with_lambda_1_an_advantage_is_the_discounted_return_beyond_the_value():
    result = advantages([1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0], gamma=0.5, gae_lambda=1.0)
    returns = [1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 40, 2 + 0.5 * 3 + 0.25 * 40, 3 + 0.5 * 40]
    np.testing.assert_allclose(result, np.array(returns) - [10, 20, 30])


def test_between_them_it_is_the_sum_by_hand():
    # errors 1 + 0.9 · 2 - 1 = 1.8 and 1 + 0.9 · 3 - 2 = 1.7; 1.8 + 0.9 · 0.5 · 1.7 = 2.565
    np.testing.assert_allclose(advantages([1.0, 1.0], [1.0, 2.0, 3.0], 0.9, 0.5), [2.565, 1.7])


def test_a_terminated_episode_is_worth_nothing_and_a_truncated_one_its_last_value():
    rewards, values = [1.0, 1.0, 0.0, 5.0], [2.0, 3.0, 7.0, 4.0, 6.0]
    terminated = advantages(rewards, values, 0.5, 1.0, terminated=1)
    np.testing.assert_allclose(terminated, [1 + 0.5 * 1 - 2, 1 - 3, 0 + 0.5 * 5 + 0.25 * 6 - 7, 5 + 0.5 * 6 - 4])
    truncated = advantages(rewards, values, 0.5, 1.0, truncated=1)
    np.testing.assert_allclose(truncated[:2], [1 + 0.5 * 1 + 0.25 * 7 - 2, 1 + 0.5 * 7 - 3])
    np.testing.assert_array_equal(truncated[2:], terminated[2:])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_values_that_are_right_leave_no_advantage(gae_lambda):
    # Reward 1 at every step for ever is worth 1 / (1 - γ).
    np.testing.assert_allclose(advantages([1.0] * 50, [10.0] * 51, 0.9, gae_lambda), 0.0, atol=1e-12)


def test_a_constant_reward_gives_a_geometric_series():
    steps, gamma, gae_lambda = 20, 0.9, 0.8
    result = advantages([1.0] * steps, [0.0] * (steps + 1), gamma, gae_lambda)
    remaining = steps - np.arange(steps)
    np.testing.assert_allclose(result, (1 - (gamma * gae_lambda) ** remaining) / (1 - gamma * gae_lambda))


def test_values_between_two_episodes_have_no_effect():
    rewards, values = [1.0, 1.0, np.nan, 5.0], [2.0, 3.0, np.nan, 4.0, 6.0]
    result = advantages(rewards, values, 0.5, 1.0, terminated=1)
    np.testing.assert_allclose(result[[0, 1, 3]], [1 + 0.5 - 2, 1 - 3, 5 + 3 - 4])
