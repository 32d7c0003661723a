"""Dropout follows from the seed, and leaves the user's random numbers alone."""

import numpy as np
import pytest
import torch

import manyways

RESIDUAL = {"network": "residual", "optimizer": "adamw", "hidden": 16, "iterations": 10, "history": 2, "horizon": 4}


@pytest.fixture(scope="module")
def demonstrations():
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 100.0, 0.0])  # the last column does not vary
    pairs = [(rng.normal(size=(50, 3)) * scale + 7, rng.normal(size=(50, 2))) for _ in range(20)]
    return manyways.Demonstrations.from_arrays(pairs)


def weights(settings, demonstrations):
    return settings.fit(demonstrations).network.state_dict()


@pytest.mark.parametrize("algorithm", [manyways.SOGBC, manyways.BC, manyways.MDN])
def test_the_same_seed_gives_the_same_weights_with_dropout(algorithm, demonstrations):
    prior = {"prior": manyways.Categorical(2)} if algorithm is manyways.SOGBC else {}
    settings = algorithm(**RESIDUAL, **prior)
    first = weights(settings, demonstrations)
    torch.rand(3)
    again = weights(settings, demonstrations)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = weights(algorithm(**RESIDUAL, **prior, seed=1), demonstrations)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_gradient_step_leaves_the_users_draws_as_they_are(demonstrations):
    training = manyways.BC(**RESIDUAL).start(demonstrations)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    training.step()
    assert torch.equal(torch.rand(5), expected)
