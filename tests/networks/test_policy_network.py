import numpy as np
import torch

from manyways.demonstrations.spaces import box
from manyways.networks.normalization import Normalizer
from manyways.networks.policy_network import PolicyNetwork


def test_columns_are_normalised_and_restored():
    values = np.random.default_rng(0).normal([5, -3], [0.01, 200], (500, 2)).astype(np.float32)
    normalizer = Normalizer((2,))
    normalizer.fit(values)
    normal = normalizer.normalize(torch.from_numpy(values))
    torch.testing.assert_close(normal.mean(dim=0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal.std(dim=0), torch.ones(2), atol=5e-3, rtol=0)
    torch.testing.assert_close(normalizer.restore(normal), torch.from_numpy(values))


def test_a_constant_column_stays_silent_when_it_later_varies():
    values = np.stack([np.full(50, 1e4 / 3), np.arange(50)], axis=1).astype(np.float32)
    normalizer = Normalizer((2,))
    normalizer.fit(values)
    later = torch.tensor([[9e9, 3.0]])
    assert normalizer.normalize(later)[0, 0] == 0
    assert torch.isfinite(normalizer.normalize(later)).all()
    torch.testing.assert_close(normalizer.restore(torch.ones(1, 2))[0, 0], torch.tensor(1e4 / 3))


def test_the_network_is_figure_8():
    network = PolicyNetwork(box(4), box(2), 3, hidden=16)
    network.initialize(torch.Generator().manual_seed(0))
    observation, code = torch.randn(5, 4), torch.eye(3)[torch.tensor([0, 1, 2, 0, 1])]
    first, _, second = network.state
    hidden = second(torch.tanh(first(observation))) + network.code(code)
    torch.testing.assert_close(network(observation, code), network.output(torch.tanh(hidden)))
    # Orthogonal with gain √2: W Wᵀ = 2 I.
    torch.testing.assert_close(second.weight @ second.weight.T, 2 * torch.eye(16), atol=1e-5, rtol=0)
