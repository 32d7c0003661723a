import numpy as np
import pytest
import torch

from manyways.algorithms.details import choose_details
from manyways.demonstrations.spaces import box
from manyways.networks.policy_network import PolicyNetwork


@pytest.fixture
def network():
    """Return a network whose gate gives three details the probabilities 0.9, 0.09 and 0.01 everywhere."""
    made = PolicyNetwork(box(3), box(2), 2, 8, chunk=2, executed=1, details=3)
    with torch.no_grad():
        made.gate.output.weight.zero_()
        made.gate.output.bias.copy_(torch.log(torch.tensor([0.9, 0.09, 0.01])))
    return made


def chosen(network, errors, share):
    """Return the details of a thousand steps alike, of a trajectory with the second code."""
    under_both = torch.stack([torch.tensor([0.0, 9.0, 9.0]), torch.tensor(errors)]).expand(1, 1000, 2, 3)
    features, codes = torch.zeros(1, 1000, 8), torch.tensor([[0.0, 1.0]])
    return choose_details(network, under_both, features, codes, share, np.random.default_rng(0))[0]


@pytest.mark.parametrize(("errors", "expected"), [([2.1, 1.0, 2.0], 0), ([2.2, 1.0, 2.0], 1), ([9.0, 9.0, 1.0], 2)])
def test_a_step_learns_its_likeliest_detail(network, errors, expected):
    # The least error is 1, so a dimension's variance is 1/2. Two actions count: an error of 1 is 2 nats; log 10 is 2.3.
    assert (chosen(network, errors, 0.5) == expected).all()


def test_at_first_details_are_drawn_by_their_errors_whatever_the_gate_says(network):
    shares = np.bincount(chosen(network, [2.0, 1.0, 1.0], 0.0), minlength=3) / 1000
    expected = np.exp([-2.0, -1.0, -1.0]) / np.exp([-2.0, -1.0, -1.0]).sum()  # 0.5 a dimension: a temperature of 1
    np.testing.assert_allclose(shares, expected, atol=0.05)
