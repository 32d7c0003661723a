import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from manyways import InputError
from manyways.reproduce.posterior_gap import LinearGaussian, bound, check_bound, gap, least_bound


def posterior(seed, dimension=3):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
    variances = rng.uniform(0.05, 0.9, size=dimension)
    return rng.normal(size=dimension), basis * variances @ basis.T, variances


@pytest.mark.parametrize("seed", range(3))
def test_the_gap_is_the_largest_log_ratio_of_posterior_and_prior(seed):
    mean, covariance, _ = posterior(seed)

    def ratio(code):
        return multivariate_normal.logpdf(code, mean, covariance) - multivariate_normal.logpdf(code, np.zeros(3))

    assert gap(mean, covariance) == pytest.approx(-minimize(lambda code: -ratio(code), np.zeros(3)).fun, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_h_bounds_the_gap_with_and_without_the_half(seed):
    mean, covariance, variances = posterior(seed)
    norm = np.linalg.norm(mean)
    assert gap(mean, covariance) <= bound(norm, variances, 0.5) < bound(norm, variances)


def test_the_bound_with_the_half_is_met_in_one_dimension():
    assert gap([1.5], [[0.3]]) == pytest.approx(float(bound(1.5, [0.3], 0.5)))
    assert check_bound(200, 0)["largest_first_term_of_g_over_h_with_half"] == pytest.approx(1)


def test_h_falls_and_then_rises_as_the_posterior_narrows():
    variance, least = least_bound(1.0)
    # where the derivative is zero: 9 sqrt(2) v = (1 - v)²
    assert 9 * np.sqrt(2) * variance == pytest.approx((1 - variance) ** 2, rel=1e-3)
    assert bound(3.0, [variance, variance]) == pytest.approx(least)


def test_a_posterior_as_wide_as_the_prior_has_no_largest_ratio():
    with pytest.raises(InputError, match="give ones between 0 and 1"):
        gap([0.0], [[1.0]])


def test_equation_19_holds_for_any_code():
    generator = torch.Generator().manual_seed(0)
    model = LinearGaussian(3, 2, 4, 0.7, generator)
    x, y = model.sample(10, generator)
    for scale in (0.1, 1.0, 5.0):
        codes = scale * np.random.default_rng(0).normal(size=(10, 3))
        terms = model.objective(codes, x, y) - model.log_ratio(codes, x, y)
        np.testing.assert_allclose(terms, model.log_likelihood(x, y), rtol=1e-9)
