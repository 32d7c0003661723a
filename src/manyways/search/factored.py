"""The arg min over codes (Algorithm 1, line 7; Algorithm 2, line 6): which code explains each step, each trajectory.

The search is factored. In the policy's sum (Figure 8) the state's part h does not depend on the code, nor the code's
part g on the state, so each is computed once, and only tanh(h + g) and the last layer remain for a (step, code) pair.
Even the exponential in that tanh factors, since

    tanh(h + g) = 1 - 2 / (1 + exp(2h) exp(2g)),

and the constant and the factor move into the last layer: a pair costs one reciprocal a hidden unit. Pairs are computed
in chunks, in memory that is taken once.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.demonstrations import Demonstrations
from manyways.networks import PolicyNetwork

# How many numbers are held at once: few enough for a processor's cache, enough to hide the cost of a call.
_HIDDEN_NUMBERS = 2**18  # steps x codes x hidden
_ACTION_NUMBERS = 2**20  # steps x codes x action size
_MOST_STEPS = 2**12
# tanh is ±1 in float32 from 9 on, and exp(2 * 20) squared is still finite.
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
    state_part = _exponential(features)
    code_part = _exponential(network.code(codes))
    weight = -2 * network.output.weight
    bias = network.output.bias + network.output.weight.sum(dim=1)
    one = features.new_ones(())
    steps, count = len(features), len(codes)
    chunk = max(1, _HIDDEN_NUMBERS // code_part.numel())
    units = features.new_empty(min(chunk, steps), *code_part.shape)  # (chunk, codes, hidden)
    # Action numbers come first: a product with few rows is several times faster than one with few columns.
    errors = features.new_empty(actions.shape[1], steps * count)
    for start in range(0, steps, chunk):
        part = state_part[start : start + chunk, None]
        pairs = torch.addcmul(one, part, code_part, out=units[: len(part)]).reciprocal_().flatten(0, 1)
        torch.mm(weight, pairs.T, out=errors[:, start * count : (start + len(part)) * count])
    targets = (actions - bias).T[..., None]  # (action size, steps, 1)
    return errors.view(-1, steps, count).sub_(targets).square_().sum(dim=0)


def _exponential(features: Tensor) -> Tensor:
    return features.clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE).mul_(2).exp_()


@torch.no_grad()
def trajectory_losses(network: PolicyNetwork, demonstrations: Demonstrations, codes: Tensor) -> NDArray[np.float64]:
    """Return the mean squared error of every trajectory under every code, (trajectories, codes).

    The memory needed beside the result does not grow with the steps, nor with the codes up to thousands of them.
    """
    device = codes.device
    totals = torch.zeros(len(demonstrations), len(codes), dtype=torch.float64, device=device)
    at_once = max(1, min(_MOST_STEPS, _ACTION_NUMBERS // (len(codes) * demonstrations.action_size)))
    for start in range(0, demonstrations.steps, at_once):
        rows = slice(start, min(start + at_once, demonstrations.steps))
        owners = torch.from_numpy(demonstrations.trajectory_of(np.arange(rows.start, rows.stop)))
        observations = torch.from_numpy(demonstrations.observations[rows]).to(device)
        actions = network.actions.normalize(torch.from_numpy(demonstrations.actions[rows]).to(device))
        losses = step_losses(network, network.state_features(observations), actions, codes)
        totals.index_add_(0, owners.to(device), losses.double())
    return totals.cpu().numpy() / demonstrations.lengths[:, None]
