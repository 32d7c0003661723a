import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from manyways import Demonstrations, InputError, Search
from manyways.demonstrations.spaces import box
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.search import factored as search
from manyways.search.coordinates import coordinate_search, search_nearby


def network_of(observation_size, action_size, codes, hidden, scale=1.0):
    network = PolicyNetwork(box(observation_size), box(action_size), codes, hidden)
    network.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        network.code.weight.mul_(scale)
        network.output.bias.normal_(generator=torch.Generator().manual_seed(1))
    return network


def plain_losses(network, observations, actions, codes):
    """Run the whole network on every (step, code) pair."""
    with torch.no_grad():
        predictions = network.double()(
            observations.double()[:, None].expand(-1, len(codes), -1), codes.double()[None].expand(len(actions), -1, -1)
        )
        losses = (predictions - actions.double()[:, None]).square().sum(dim=-1)
    network.float()
    return losses.float()


@settings(deadline=None, max_examples=30)
@given(
    steps=st.integers(1, 40),
    observation_size=st.integers(1, 6),
    action_size=st.integers(1, 5),
    codes=st.integers(1, 9),
    scale=st.sampled_from([1.0, 30.0]),
)
def test_the_factored_search_is_the_whole_network(steps, observation_size, action_size, codes, scale):
    network = network_of(observation_size, action_size, codes, 24, scale)
    generator = torch.Generator().manual_seed(2)
    observations = scale * torch.randn(steps, observation_size, generator=generator)
    actions = torch.randn(steps, action_size, generator=generator)
    with torch.no_grad():
        features = network.state_features(observations)
    losses = search.part_losses(network, features, actions, network.code(torch.eye(codes)))
    expected = plain_losses(network, observations, actions, torch.eye(codes))
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-4)


def test_sums_far_beyond_the_exponentials_range_stay_finite():
    network = network_of(2, 1, 2, 8)
    features = torch.tensor([[1e4] * 8, [-1e4] * 8])
    losses = search.part_losses(network, features, torch.zeros(2, 1), network.code(torch.eye(2)))
    with torch.no_grad():
        saturated = torch.stack([network.output(sign * torch.ones(8)).square() for sign in (1, -1)])
    torch.testing.assert_close(losses, saturated.expand(-1, 2))


def test_chunks_change_nothing(monkeypatch, demonstrations):
    network = network_of(3, 2, 5, 16)
    whole = search.trajectory_losses(network, demonstrations, torch.eye(5))
    monkeypatch.setattr(search, "_HIDDEN_VALUES", 5 * 16 * 3)
    monkeypatch.setattr(search, "_MOST_STEPS", 7)
    np.testing.assert_allclose(search.trajectory_losses(network, demonstrations, torch.eye(5)), whole, rtol=1e-5)


def test_a_trajectorys_loss_is_the_mean_over_its_own_steps():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(n, 3)), rng.normal(size=(n, 2))) for n in (2, 17, 5)]
    demonstrations = Demonstrations.from_arrays(pairs)
    network = network_of(3, 2, 4, 16)
    losses = search.trajectory_losses(network, demonstrations, torch.eye(4))
    for i, (observations, actions) in enumerate(demonstrations):
        expected = plain_losses(network, torch.from_numpy(observations), torch.from_numpy(actions), torch.eye(4))
        np.testing.assert_allclose(losses[i], expected.mean(dim=0), rtol=1e-4)


def test_memory_does_not_grow_with_the_steps():
    rng = np.random.default_rng(0)
    network = network_of(3, 2, 64, 32)
    for steps in (1_000, 30_000):
        demonstrations = Demonstrations.from_arrays([(rng.normal(size=(steps, 3)), rng.normal(size=(steps, 2)))])
        peak = _peak_size(lambda d=demonstrations: search.trajectory_losses(network, d, torch.eye(64)))
        assert peak <= max(search._HIDDEN_VALUES, search._ACTION_VALUES)


def _peak_size(call):
    """Return the size of the largest tensor that the call made."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        peak = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                self.peak = max(self.peak, result.numel())
            return result

    with Watch() as watch:
        call()
    return watch.peak


@pytest.mark.parametrize("codes", [2, 256])
def test_the_least_loss_wins(codes):
    network = network_of(3, 2, codes, 16)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(40, 3)).astype(np.float32)
    pairs = []
    for code in (0, codes - 1):
        with torch.no_grad():
            actions = network(torch.from_numpy(observations), torch.eye(codes)[code].expand(40, -1))
        pairs.append((observations, actions.numpy()))
    losses = search.trajectory_losses(network, Demonstrations.from_arrays(pairs), torch.eye(codes))
    assert losses.argmin(axis=1).tolist() == [0, codes - 1]
    np.testing.assert_allclose(losses.min(axis=1), 0, atol=1e-9)


def continuous_batch(dimension, trajectories=6, steps=32, noise=0.0):
    """Return a network, and steps that it would take under known codes."""
    network = network_of(4, 3, dimension, 32)
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(trajectories, steps, 4, generator=generator)
    codes = LARGEST_INPUT * (2 * torch.rand(trajectories, dimension, generator=generator) - 1)
    with torch.no_grad():
        features = network.state_features(states)
        actions = network.decode(features + network.code(codes)[:, None])
        actions += noise * torch.randn(actions.shape, generator=generator)
    return network, features, actions, codes


def batch_losses(network, features, actions, codes):
    with torch.no_grad():
        return (network.decode(features + network.code(codes)[:, None]) - actions).square().sum(dim=(1, 2))


@pytest.mark.parametrize("race", [False, True])
def test_a_batch_gets_the_best_of_all_candidates(race):
    network, features, actions, _ = continuous_batch(1, noise=0.1)
    settings = Search(candidates=64, race=race, near="prior")
    codes = search.search_batch(
        network, features, actions, settings, torch.zeros(6, 1), torch.Generator().manual_seed(7)
    )
    candidates = LARGEST_INPUT * (2 * torch.rand(64, 1, generator=torch.Generator().manual_seed(7)) - 1)
    every = torch.stack([batch_losses(network, features, actions, c.expand(6, 1)) for c in candidates])
    least = every.min(dim=0)
    if not race:
        torch.testing.assert_close(codes, candidates[least.indices])
    # A race may drop the very best, not a good one.
    assert (batch_losses(network, features, actions, codes) <= every.quantile(0.05, dim=0)).all()


@pytest.mark.parametrize(("dimension", "block"), [(2, 1), (3, 2), (3, 3)])
def test_blocks_and_rounds_find_the_code_that_acted(dimension, block):
    network, features, actions, _ = continuous_batch(dimension)
    losses = []
    for rounds in (1, 6):
        settings = Search(candidates=400, block=block, rounds=rounds, race=False, near="prior")
        codes = search.search_batch(
            network, features, actions, settings, torch.zeros(6, dimension), torch.Generator().manual_seed(0)
        )
        losses.append(batch_losses(network, features, actions, codes))
    start = batch_losses(network, features, actions, torch.zeros(6, dimension))
    assert (losses[1] < 0.25 * start).all()
    if block < dimension:
        assert (losses[1] <= losses[0] + 1e-4).all()
        assert losses[1].sum() < 0.7 * losses[0].sum()


@settings(max_examples=25, deadline=None)
@given(
    dimension=st.integers(1, 5),
    block=st.integers(1, 5),
    rounds=st.integers(1, 3),
    candidates=st.integers(1, 20),
    race=st.booleans(),
)
def test_the_result_has_its_own_loss_and_no_round_makes_it_worse(dimension, block, rounds, candidates, race):
    target = torch.linspace(-1, 1, 7)[:, None].expand(7, dimension)
    shapes = []

    def losses(codes, part, offsets):
        candidates = codes[:, None].expand(-1, len(offsets), -1).clone()
        candidates[:, :, part] += offsets
        values = (candidates - target[:, None]).square().sum(dim=2)
        shapes.append(values.shape)
        return values

    options = Search(candidates=candidates, block=block, rounds=rounds, race=race)
    codes, least = coordinate_search(losses, torch.zeros(7, dimension), options)
    torch.testing.assert_close(least, (codes - target).square().sum(dim=1))
    blocks = -(-dimension // block)
    assert shapes == [(7, candidates)] * (blocks * (rounds if blocks > 1 else 1))
    nearer, less = search_nearby(losses, codes, options)
    torch.testing.assert_close(less, (nearer - target).square().sum(dim=1))
    if candidates > 1:
        assert (less <= least + 1e-6).all()


def test_all_trajectories_of_a_data_set_get_their_codes():
    network, *_, codes = continuous_batch(2)
    rng = np.random.default_rng(0)
    pairs = []
    for code, length in zip(codes, (5, 40, 33, 17, 60, 21), strict=True):
        states = torch.from_numpy(rng.normal(size=(length, 4)).astype(np.float32))
        with torch.no_grad():
            pairs.append((states.numpy(), network(states, code.expand(length, -1)).numpy()))
    demonstrations = Demonstrations.from_arrays(pairs)
    codes, losses = search.search_trajectories(
        network, demonstrations, Search(candidates=500, rounds=6), torch.zeros(6, 2)
    )
    for code, loss, (states, actions) in zip(codes, losses, demonstrations, strict=True):
        expected = plain_losses(network, torch.from_numpy(states), torch.from_numpy(actions), code[None]).mean()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-6)
    assert losses.max() < 0.05


def test_a_search_of_nothing_is_refused():
    with pytest.raises(InputError, match="candidates is 0; give 1 or more"):
        Search(candidates=0)
