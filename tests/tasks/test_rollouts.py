import numpy as np
import pytest

from manyways import InputError
from manyways.tasks import get_task
from manyways.tasks import rollouts as rollouts_module
from manyways.tasks.circles import CirclesVectorEnv
from manyways.tasks.rollouts import Rollouts, roll_out, roll_out_expert


def test_an_episode_counts_until_its_first_end_only():
    environments = CirclesVectorEnv(2, max_episode_steps=50)

    def act(observations, info):
        return np.array([[1.5, 0.0], [0.0, 0.0]])  # the first leaves the field, the second stays

    rollouts = roll_out(environments, act, seed=0)
    left, stayed = rollouts.lengths
    assert left < stayed == 50
    assert rollouts.terminated.tolist() == [True, False]
    assert (rollouts.mode_rewards[0, left:] == 0).all()
    assert (rollouts.observations[0, left:] == rollouts.observations[0, left]).all()
    np.testing.assert_allclose(rollouts.returns[0], rollouts.mode_rewards[0, :left].sum(axis=0))


def test_actions_are_recorded_as_the_environment_took_them():
    rollouts = roll_out(CirclesVectorEnv(1, max_episode_steps=3), lambda *_: np.array([[9.0, -9.0]]), seed=0)
    np.testing.assert_array_equal(rollouts.actions, np.tile([1.5, -1.5], (1, 3, 1)))


def test_parts_of_different_lengths_are_padded_with_the_last_step():
    def still(*_):
        return np.zeros((2, 2))

    def measured(observations, _):
        return observations[:, :1]

    short, long = (
        roll_out(CirclesVectorEnv(2, max_episode_steps=steps), still, seed=0, achieved=measured) for steps in (3, 5)
    )
    together = Rollouts.together([short, long])
    assert together.lengths.tolist() == [3, 3, 5, 5]
    assert together.observations.shape == (4, 6, 10)
    np.testing.assert_array_equal(together.observations[0, 3:], np.tile(short.observations[0, 3], (3, 1)))
    np.testing.assert_array_equal(together.returns, np.concatenate([short.returns, long.returns]))
    assert together.achieved.shape == (4, 5, 1)
    np.testing.assert_array_equal(together.achieved[:, -1, 0], together.observations[:, -1, 0])


def test_many_episodes_are_run_in_parts_that_make_no_difference(monkeypatch):
    task, modes = get_task("circles-images"), np.arange(5) % 3
    whole = roll_out_expert(task, modes, seed=3)
    made = []
    monkeypatch.setattr(rollouts_module, "EPISODES_AT_ONCE", 2)
    monkeypatch.setattr(
        CirclesVectorEnv,
        "__init__",
        lambda self, count, *others, make=CirclesVectorEnv.__init__: (made.append(count), make(self, count, *others))[
            1
        ],
    )
    parts = roll_out_expert(task, modes, seed=3, keep_observations=True)
    assert made == [2, 2, 1]
    np.testing.assert_array_equal(parts.mode_rewards, whole.mode_rewards)
    np.testing.assert_array_equal(parts.actions, whole.actions)
    assert whole.observations is None
    assert parts.observations.shape == (5, 301, 64, 64, 1)
    assert parts.observations_of(4).shape == (301, 64, 64, 1)


def test_rewards_that_are_not_finite_are_refused(monkeypatch):
    task = get_task("circles")
    monkeypatch.setattr(rollouts_module, "roll_out", lambda *_: Rollouts(*[np.full((2, 3, 1), np.nan)] * 6))
    with pytest.raises(InputError, match="the rewards of circles are not finite; mend"):
        roll_out_expert(task, task.modes.spread(2), seed=0)
