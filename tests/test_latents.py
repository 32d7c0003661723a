import numpy as np
import pytest

from manyways import Categorical, InputError
from manyways.latents import prior_from_json


def test_codes_are_one_hot_and_equally_likely():
    prior = Categorical(4)
    np.testing.assert_array_equal(prior.enumerate(), np.eye(4))
    np.testing.assert_array_equal(prior.code(2), [0, 0, 1, 0])
    drawn = prior.sample(8000, np.random.default_rng(0))
    np.testing.assert_allclose(drawn.mean(axis=0), 0.25, atol=0.02)
    assert (drawn.sum(axis=1) == 1).all()


def test_a_prior_comes_back_from_json():
    assert prior_from_json(Categorical(5).to_json()) == Categorical(5)
    with pytest.raises(InputError, match="describes no prior known"):
        prior_from_json({"kind": "gaussian", "size": 3})


def test_codes_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="0 codes is empty"):
        Categorical(0)
    for index in (-1, 3):
        with pytest.raises(InputError, match="the codes are 0 to 2"):
            Categorical(3).code(index)
