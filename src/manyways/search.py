"""The arg min over codes (Algorithm 1, line 7; Algorithm 2, line 6): which code explains each step, each trajectory.

The search is factored. In the policy's sum (Figure 8) the state's part h does not depend on the code, nor the code's
part g on the state, so each is computed once, and only tanh(h + g) and the last layer remain for a (step, code) pair.
Even that tanh takes no exponential of its own, since

    tanh(h + g) = 1 - 2 / (1 + exp(2h) exp(2g)),

and a constant and a factor can move into the last layer: what is left of a pair is one reciprocal for each hidden unit.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from manyways.demonstrations import Demonstrations
from manyways.networks import PolicyNetwork

# How many numbers (steps x codes x hidden) are held at once: large enough to hide the cost of a call, small enough for
# a processor's cache; the fastest of 2^16 to 2^22 measured on sizes from 3 to 256 codes.
_PAIR_NUMBERS = 2**20
_STEPS_AT_ONCE = 2**13
# tanh is ±1 in float32 from 9 on; exp(2 · 20)² is still finite.
_LARGEST_FEATURE = 20.0


@torch.no_grad()
def step_losses(network: PolicyNetwork, features: Tensor, actions: Tensor, codes: Tensor) -> Tensor:
    """Return the squared error of every step under every code.

    Args:
        network: the policy.
        features: (steps, hidden), the state's part of the sum.
        actions: (steps, action size), normalised.
        codes: (codes, dimension).

    Returns:
        (steps, codes): ‖f(z, s) - a‖², summed over the normalised action's numbers.
    """
    hidden = features.shape[1]
    code_exponentials = torch.exp(2 * network.code(codes).clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE))
    state_exponentials = torch.exp(2 * features.clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE))
    weight = -2 * network.output.weight
    bias = network.output.bias + network.output.weight.sum(dim=1)
    one = features.new_ones(())
    losses = features.new_empty(len(features), len(codes))
    chunk = max(1, _PAIR_NUMBERS // (len(codes) * hidden))
    for start in range(0, len(features), chunk):
        rows = slice(start, start + chunk)
        units = torch.addcmul(one, state_exponentials[rows, None], code_exponentials).reciprocal_()
        errors = functional.linear(units, weight, bias).sub_(actions[rows, None])  # (chunk, codes, action size)
        torch.sum(errors.square_(), dim=-1, out=losses[rows])
    return losses


@torch.no_grad()
def trajectory_losses(network: PolicyNetwork, demonstrations: Demonstrations, codes: Tensor) -> NDArray[np.float64]:
    """Return the mean squared error of every trajectory under every code, (trajectories, codes).

    The memory needed beside the result does not grow with the steps or the codes.
    """
    device = codes.device
    totals = torch.zeros(len(demonstrations), len(codes), dtype=torch.float64, device=device)
    owners = torch.from_numpy(np.repeat(np.arange(len(demonstrations)), demonstrations.lengths))
    for start in range(0, demonstrations.steps, _STEPS_AT_ONCE):
        rows = slice(start, start + _STEPS_AT_ONCE)
        observations = torch.from_numpy(demonstrations.observations[rows]).to(device)
        actions = network.actions.normalize(torch.from_numpy(demonstrations.actions[rows]).to(device))
        losses = step_losses(network, network.state_features(observations), actions, codes)
        totals.index_add_(0, owners[rows].to(device), losses.double())
    return totals.cpu().numpy() / demonstrations.lengths[:, None]
