"""Noise in what is seen in training, dropout, and that both follow from the seed."""

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
def test_the_same_seed_gives_the_same_weights_with_dropout_and_noise(algorithm, demonstrations):
    prior = {"prior": manyways.Categorical(2)} if algorithm is manyways.SOGBC else {}
    settings = algorithm(**RESIDUAL, **prior, observation_noise=0.1)
    first = weights(settings, demonstrations)
    torch.rand(3)
    again = weights(settings, demonstrations)
    assert all(torch.equal(first[name], again[name]) for name in first)
    without = weights(algorithm(**RESIDUAL, **prior), demonstrations)
    assert any(not torch.equal(first[name], without[name]) for name in first)


def test_a_gradient_step_leaves_the_users_draws_as_they_are(demonstrations):
    training = manyways.BC(**RESIDUAL, observation_noise=0.1).start(demonstrations)
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    training.step()
    assert torch.equal(torch.rand(5), expected)


def test_noise_is_in_units_of_each_column_and_the_same_for_a_window(demonstrations):
    training = manyways.BC(**RESIDUAL, observation_noise=0.1, validation=0.0).start(demonstrations)
    rows = torch.arange(1000)[:, None].expand(1000, 2)
    clean = torch.from_numpy(demonstrations.observations)[rows]
    noise = training._noisy(rows, windows=True) - clean
    torch.testing.assert_close(noise[:, 0], noise[:, 1], atol=1e-4, rtol=1e-3)
    deviations = torch.from_numpy(demonstrations.observations).std(dim=0)
    torch.testing.assert_close(noise[:, 0].std(dim=0), 0.1 * deviations, rtol=0.1, atol=1e-6)
    each = training._noisy(rows, windows=False) - clean
    assert not torch.allclose(each[:, 0], each[:, 1], atol=1e-2)


def test_images_have_no_noise():
    rng = np.random.default_rng(0)
    seen = {
        "image": rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8),
        "state": rng.normal(size=(40, 2)).astype(np.float32),
    }
    pairs = [
        ({name: array[part] for name, array in seen.items()}, rng.normal(size=(20, 2)))
        for part in (slice(20), slice(20, 40))
    ]
    data = manyways.Demonstrations.from_arrays(pairs)
    training = manyways.BC(hidden=16, iterations=2, observation_noise=0.5, history=1, horizon=1).start(data)
    noisy = training._noisy(torch.arange(40), windows=False)
    assert np.array_equal(noisy["image"].numpy(), data.observations["image"])
    assert not np.allclose(noisy["state"].numpy(), data.observations["state"])


def test_noise_below_zero_is_refused():
    with pytest.raises(manyways.InputError, match="observation_noise is -1; give 0 or more"):
        manyways.BC(observation_noise=-1)
