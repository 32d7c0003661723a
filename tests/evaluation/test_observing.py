"""What a policy observes of an environment whose observations are dictionaries."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from worlds import Line

import manyways
from manyways import InputError
from manyways.evaluation.environments import evaluate_in
from manyways.evaluation.observing import observed_by

NAMES = ("object.1", "arm/pos.0", "arm/pos.1", "grip")
BOX = gym.spaces.Box
ENTRIES = {"arm": {"pos": (2,), "vel": (3,)}, "grip": (1,), "object": (3,), "picture": (5, 5, 3)}


@pytest.fixture(scope="module")
def named():
    rng = np.random.default_rng(0)
    pairs = [(observations := rng.normal(size=(20, 4)), observations[:, :2]) for _ in range(6)]
    demonstrations = replace(manyways.Demonstrations.from_arrays(pairs), names={"observations": NAMES})
    return manyways.SOGBC(prior=manyways.Categorical(1), iterations=2, init="random").fit(demonstrations)


class Robot(Line):
    """Observes a dictionary, whose entries may have other sizes."""

    def __init__(self, **sizes):
        super().__init__()
        shapes = ENTRIES | sizes
        arm = gym.spaces.Dict({name: BOX(-9, 9, shape) for name, shape in shapes.pop("arm").items()})
        self.observation_space = gym.spaces.Dict({"arm": arm} | {name: BOX(-9, 9, s) for name, s in shapes.items()})

    def _observation(self):
        return self.observation_space.sample()


def test_columns_of_a_dictionary_are_found_by_their_names(named):
    assert evaluate_in(named, Robot(), episodes=2).undrawn.length.mean == 10
    observation = {
        "picture": np.zeros((5, 5, 3)),
        "object": np.array([0.0, 7.0, 2.0]),
        "grip": np.array([5.0]),
        "arm": {"vel": np.zeros(3), "pos": np.array([3.0, 4.0])},
    }
    np.testing.assert_array_equal(observed_by(observation, named.observation_space), [7, 3, 4, 5])


def test_a_column_that_a_dictionary_has_not_is_named(named):
    with pytest.raises(InputError, match=r"the dictionary has no object\.1; use the environment"):
        evaluate_in(named, Robot(object=(1,)), episodes=2)


def test_columns_without_names_are_not_guessed(policy):
    with pytest.raises(InputError, match="observes a dictionary"):
        evaluate_in(policy, Robot(), episodes=2)
