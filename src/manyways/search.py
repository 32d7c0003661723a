"""The arg min over codes (Algorithm 1, line 7; Algorithm 2, line 6): which code explains each step, each trajectory.

The search is factored. In the policy's sum (Figure 8) the state's part does not depend on the code, nor the code's part
on the state, so each is computed once, and only tanh and the last layer remain for every (step, code) pair. Those are
computed in chunks, in memory that is taken once.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.demonstrations import Demonstrations
from manyways.networks import PolicyNetwork

# How many numbers are held at once: few enough for a processor's cache, enough to hide the cost of a call. The fastest
# powers of two on sizes from 3 to 256 codes.
_HIDDEN_NUMBERS = 2**18  # steps x codes x hidden
_ACTION_NUMBERS = 2**20  # steps x codes x action size
_MOST_STEPS = 2**12


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
    code_features = network.code(codes)
    weight, bias = network.output.weight.T, network.output.bias
    chunk = max(1, _HIDDEN_NUMBERS // code_features.numel())
    units = features.new_empty(min(chunk, len(features)), *code_features.shape)  # (chunk, codes, hidden)
    errors = features.new_empty(len(features), len(codes), actions.shape[1])
    for start in range(0, len(features), chunk):
        part = features[start : start + chunk, None]
        torch.add(part, code_features, out=units[: len(part)]).tanh_()
        torch.mm(units[: len(part)].flatten(0, 1), weight, out=errors[start : start + chunk].flatten(0, 1))
    return errors.sub_((actions - bias)[:, None]).square_().sum(dim=-1)


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
