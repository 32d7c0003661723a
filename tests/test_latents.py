import numpy as np
import pytest

from manyways import Categorical, Gaussian, InputError
from manyways.latents import prior_from_json


def test_codes_are_one_hot_and_equally_likely():
    prior = Categorical(4)
    np.testing.assert_array_equal(prior.enumerate(), np.eye(4))
    np.testing.assert_array_equal(prior.code(2), [0, 0, 1, 0])
    codes = prior.sample(8000, np.random.default_rng(0))
    np.testing.assert_allclose(codes.mean(axis=0), 0.25, atol=0.02)
    assert (codes.sum(axis=1) == 1).all()


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


def test_quantiles_and_their_cdf_of_gaussian_codes():
    prior = Gaussian(2)
    codes = prior.quantile([[0.5, 0.975], [0.1, 0.9]])
    np.testing.assert_allclose(codes[0], [0, 1.959964], atol=1e-5)
    np.testing.assert_allclose(prior.cdf(codes), [[0.5, 0.975], [0.1, 0.9]], atol=1e-6)
    assert prior.grid(3).shape == (9, 2)
    np.testing.assert_allclose(prior.cdf(prior.grid(3))[1], [1 / 6, 1 / 2], atol=1e-6)
    assert prior.usage(prior.grid(10)).tolist() == [20] * 10
    for wrong in ([0.5], [0.0, 0.5], [0.5, 1.0]):
        with pytest.raises(InputError, match="are not 2 probabilities between 0 and 1"):
            prior.quantile(wrong)


def test_a_sample_of_gaussian_codes_is_standard_normal():
    codes = Gaussian(3).sample(20_000, np.random.default_rng(0))
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(3), atol=0.04)


@pytest.mark.parametrize("prior", [Categorical(4), Gaussian(3)])
def test_priors_survive_their_description(prior):
    assert prior_from_json(prior.to_json()) == prior


def test_an_empty_gaussian_code_is_refused():
    with pytest.raises(InputError, match="a Gaussian prior of 0 dimensions is empty"):
        Gaussian(0)
