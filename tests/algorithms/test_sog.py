import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.cluster import KMeans
from torch import nn

from manyways import SOG, Categorical, Gaussian, InputError
from manyways.clustering.initial_codes import ComponentCodes
from manyways.reproduce.posterior_gap import LinearGaussian
from manyways.search.settings import Search


class Centres(nn.Module):
    """f(z) = z C: the centres of a mixture, or a plane through the origin."""

    def __init__(self, centres):
        super().__init__()
        self.centres = nn.Parameter(torch.tensor(centres, dtype=torch.float32))

    def forward(self, codes):
        return codes @ self.centres


class Shifted(nn.Module):
    """f(z, x) = z C + x, counting how many pairs it is asked for at once."""

    def __init__(self, centres):
        super().__init__()
        self.centres = nn.Parameter(torch.tensor(centres, dtype=torch.float32))
        self.most = 0

    def forward(self, codes, x):
        self.most = max(self.most, len(codes))
        return codes @ self.centres + x


def two_groups(points=400, seed=0):
    """Return points around -2 (a quarter of them) and 3, with σ = 0.5, and the group of each."""
    rng = np.random.default_rng(seed)
    groups = (np.arange(points) % 4 > 0).astype(int)
    return (np.array([-2.0, 3.0])[groups] + 0.5 * rng.normal(size=points))[:, None], groups


def test_responsibilities_are_those_of_equation_12():
    model = SOG(Centres([[0.0], [2.0]]), Categorical(2), assignment="soft", sigma=0.8).model()
    model.weights = torch.tensor([0.3, 0.7])
    joint = np.array([0.3, 0.7]) * norm.pdf(np.array([[0.5], [1.9]]), [0.0, 2.0], 0.8)
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.responsibilities(None, [[0.5], [1.9]]), expected, atol=1e-6)


def test_weights_are_the_mean_responsibilities_of_equation_13():
    y, _ = two_groups()
    network = Centres([[-1.0], [1.0]])
    sog = SOG(network, Categorical(2), assignment="soft", sigma=2.0, epochs=1, batch_size=1000, learning_rate=1e-9)
    before = sog.model().responsibilities(None, y).mean(dim=0)
    model = sog.fit(None, y)
    np.testing.assert_allclose(model.weights, before, atol=1e-5)


def test_soft_em_finds_a_mixture_with_its_weights_and_sigma():
    y, groups = two_groups()
    network = Centres([[-1.0], [1.0]])
    model = SOG(network, Categorical(2), assignment="soft", epochs=60, batch_size=100, learning_rate=0.1).fit(None, y)
    means = [y[groups == group].mean() for group in (0, 1)]
    np.testing.assert_allclose(network.centres.detach().flatten(), means, atol=0.05)
    np.testing.assert_allclose(model.weights, [0.25, 0.75], atol=0.01)
    assert model.sigma == pytest.approx(0.5, rel=0.1)


def test_hard_em_without_x_is_k_means():
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0], [9, 0], [0, 9]])[:, None]
    y = (middles + rng.normal(size=(3, 50, 2))).reshape(-1, 2)
    k_means = KMeans(3, n_init=1, init=y[[0, 60, 120]]).fit(y)
    model = SOG(Centres(y[[0, 60, 120]]), Categorical(3), epochs=150, batch_size=1000, learning_rate=0.05).fit(None, y)
    np.testing.assert_array_equal(model.encode(None, y).argmax(dim=1), k_means.labels_)
    assert model.loss == pytest.approx(k_means.inertia_ / len(y), rel=1e-3)
    np.testing.assert_array_equal(model.weights, torch.full((3,), 1 / 3))


def test_sigma_is_measured_as_the_residual():
    y, groups = two_groups()
    model = SOG(Centres([[-1.0], [1.0]]), Categorical(2), epochs=100, learning_rate=0.05).fit(None, y)
    means = np.array([y[groups == group].mean() for group in (0, 1)])[groups]
    assert model.sigma == pytest.approx((y[:, 0] - means).std(), rel=0.02)


def test_likelihood_of_a_mixture_is_exact():
    model = SOG(Centres([[0.0, 1.0], [2.0, -1.0]]), Categorical(2), sigma=0.6).model()
    y = np.random.default_rng(0).normal(size=(5, 2))
    densities = [norm.pdf(y, centre, 0.6).prod(axis=1) for centre in ([0.0, 1.0], [2.0, -1.0])]
    np.testing.assert_allclose(model.log_likelihood(None, y), np.log(np.mean(densities, axis=0)), rtol=1e-5)


def test_likelihood_of_a_linear_gaussian_model_is_near_its_closed_form():
    generator = torch.Generator().manual_seed(0)
    network = LinearGaussian(2, 3, 5, 1.0, generator)
    x, y = network.sample(30, generator)
    model = SOG(network, Gaussian(2), sigma=1.0).model()
    few, many = (
        np.abs(model.log_likelihood(x, y, samples=n).numpy() - network.log_likelihood(x, y)) for n in (100, 30_000)
    )
    assert many.mean() < 0.03
    assert many.mean() < few.mean() / 3


@pytest.mark.parametrize("search", [Search(candidates=3000, block=2), Search(candidates=200, block=1, rounds=8)])
def test_a_gaussian_code_is_the_one_of_least_squares(search):
    plane = np.array([[1.0, 0.3, 0.0], [0.2, 1.0, 0.5]])
    codes = np.random.default_rng(0).normal(size=(20, 2)).clip(-1.5, 1.5)
    model = SOG(Centres(plane), Gaussian(2), search=search).model()
    np.testing.assert_allclose(model.encode(None, codes @ plane, refine=15), codes, atol=0.15)
    np.testing.assert_allclose(model.reconstruct(None, codes @ plane, refine=15), codes @ plane, atol=0.2)


def test_candidates_that_are_shared_are_the_same_as_those_of_each_point():
    plane = [[1.0, 0.3, 0.0], [0.2, 1.0, 0.5]]
    y = np.random.default_rng(0).normal(size=(15, 3))
    search = Search(candidates=20, block=1, rounds=2)
    shared = SOG(Centres(plane), Gaussian(2), search=search).model().encode(None, y)
    own = SOG(Shifted(plane), Gaussian(2), search=search).model().encode(np.zeros((15, 3)), y)
    np.testing.assert_array_equal(shared, own)


def test_memory_is_bounded_and_changes_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 3))
    plane = rng.normal(size=(4, 3))
    results = []
    for evaluations in (64, 4096):
        network = Shifted(plane)
        model = SOG(
            network, Gaussian(4), sigma=1.0, search=Search(candidates=16, block=2), evaluations=evaluations
        ).model()
        codes = model.encode(x, y, refine=2)
        results.append((codes, model.decode(codes, x), model.log_likelihood(x, y, samples=64)))
        assert network.most <= evaluations
    for few, many in zip(*results, strict=True):
        np.testing.assert_allclose(few, many, rtol=1e-5, atol=1e-6)


def test_neighbours_never_make_a_code_worse():
    y = np.random.default_rng(0).normal(size=(40, 3))
    model = SOG(Centres(np.eye(3)), Gaussian(3), search=Search(candidates=5, block=1, rounds=1)).model()
    errors = [(model.reconstruct(None, y, refine=n) - torch.tensor(y)).square().sum(dim=1) for n in (0, 1, 10)]
    assert (errors[1] <= errors[0] + 1e-6).all()
    assert (errors[2] <= errors[1] + 1e-6).all()
    assert errors[2].mean() < errors[0].mean() / 2


@pytest.mark.parametrize("local", [0, 6])
def test_a_curve_without_labels_is_learned_and_the_same_seed_gives_the_same_weights(local):
    angles = np.random.default_rng(0).uniform(0, np.pi, size=200)
    y = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
        epochs = []
        sog = SOG(network, Gaussian(1), search=Search(candidates=40), local=local, epochs=40, learning_rate=1e-2)
        model = sog.fit(None, y, lambda model, epochs=epochs: epochs.append((model.epoch, model.loss)))
        weights.append(network[0].weight.detach().clone())
    assert [epoch for epoch, _ in epochs] == list(range(1, 41))
    assert model.loss < 0.02 < epochs[0][1]
    np.testing.assert_array_equal(*weights)


def test_initial_codes_help_a_random_network():
    # Eight dimensions, each with its own effect on all outputs.
    codes = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    y = codes @ np.random.default_rng(1).normal(size=(8, 12)).astype(np.float32)
    first = ComponentCodes.fit(y, Gaussian(8))(y)
    losses = {}
    for name, codes in (("random", None), ("initial", first)):
        torch.manual_seed(0)
        network = nn.Linear(8, 12, bias=False)
        settings = {"search": Search(candidates=8, block=1, rounds=1), "local": 4, "epochs": 30, "batch_size": 32}
        model = SOG(network, Gaussian(8), learning_rate=0.1, **settings).fit(None, y, initial_codes=codes)
        losses[name] = model.loss
    assert losses["initial"] < losses["random"] / 3
    near = model.encode(None, y, near=first, refine=5)
    np.testing.assert_array_equal(model.encode(None, y, near=first), first)
    errors = [(model.decode(codes) - torch.tensor(y)).square().sum(dim=1) for codes in (first, near)]
    assert (errors[1] <= errors[0] + 1e-5).all()
    assert errors[1].mean() < errors[0].mean()


def test_batch_normalisation_is_searched_in_evaluation_mode():
    y = np.random.default_rng(0).normal(size=(64, 4))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))
    SOG(network, Gaussian(2), search=Search(candidates=16, block=2), epochs=2).fit(None, y)
    assert not network.training
    assert int(network[1].num_batches_tracked) == 2


def test_wrong_arguments_are_refused():
    network, prior = Centres([[0.0], [1.0]]), Categorical(2)
    y = np.zeros((4, 1))
    for settings, words in (
        ({"assignment": "fuzzy"}, "assignment is 'fuzzy'"),
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": math.inf}, "sigma is inf"),
        ({"epochs": 0}, "epochs is 0"),
        ({"local": -1}, "local is -1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"device": "abacus"}, "there is no device 'abacus'"),
    ):
        with pytest.raises(InputError, match=words):
            SOG(network, prior, **settings)
    with pytest.raises(InputError, match="a Gaussian has no end of them"):
        SOG(network, Gaussian(2), assignment="soft")
    sog = SOG(network, prior)
    model = sog.model()
    for call, words in (
        (lambda: sog.fit(None, np.zeros((0, 1))), "y has no points"),
        (lambda: sog.fit(np.zeros((3, 1)), y), r"x has the shape \(3, 1\) and y has 4 points"),
        (lambda: sog.fit(None, [[math.nan]]), "y has numbers that are not finite"),
        (lambda: sog.fit(None, np.zeros((4, 2))), r"the network returns \(1,\) for a point of y"),
        (lambda: model.log_likelihood(None, y), "sigma is not known before `fit`"),
        (lambda: model.log_likelihood(None, y, samples=0), "samples is 0"),
        (lambda: model.decode([[1.0]]), r"codes have the shape \(1, 1\)"),
        (lambda: model.decode(np.eye(2), np.zeros((3, 1))), "2 codes for 3 x"),
        (lambda: sog.fit(None, y, initial_codes=np.eye(2)), "give SOG local=8, or none"),
        (
            lambda: SOG(network, prior, local=8).fit(None, y, initial_codes=np.eye(2)),
            "local search for a Gaussian's",
        ),
        (lambda: model.encode(None, y, near=np.eye(2)), "leave out `near`"),
        (lambda: SOG(network, Gaussian(2), local=1).fit(None, y, initial_codes=np.eye(2)), r"give \(4, 2\)"),
        (lambda: SOG(network, Gaussian(2)).model().encode(None, y, near=np.full((4, 2), math.nan)), "all finite"),
        (lambda: SOG(network, Gaussian(2), sigma=1.0).model().responsibilities(None, y), "cannot be listed"),
    ):
        with pytest.raises(InputError, match=words):
            call()
