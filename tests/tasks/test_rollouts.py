import numpy as np

from manyways.tasks.circles import CirclesVectorEnv
from manyways.tasks.rollouts import roll_out


def test_an_episode_counts_until_its_first_end_only():
    environments = CirclesVectorEnv(2, max_episode_steps=50)

    def act(observations):
        return np.array([[1.5, 0.0], [0.0, 0.0]])  # the first leaves the field, the second stays

    rollouts = roll_out(environments, act, seed=0)
    left, stayed = rollouts.lengths
    assert left < stayed == 50
    assert rollouts.terminated.tolist() == [True, False]
    assert (rollouts.mode_rewards[0, left:] == 0).all()
    assert (rollouts.observations[0, left:] == rollouts.observations[0, left]).all()
    np.testing.assert_allclose(rollouts.returns[0], rollouts.mode_rewards[0, :left].sum(axis=0))


def test_actions_are_recorded_as_the_environment_took_them():
    rollouts = roll_out(CirclesVectorEnv(1, max_episode_steps=3), lambda _: np.array([[9.0, -9.0]]), seed=0)
    np.testing.assert_array_equal(rollouts.actions, np.tile([1.5, -1.5], (1, 3, 1)))
