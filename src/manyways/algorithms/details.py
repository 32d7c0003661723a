"""Which detail each step of a batch learns: hard EM for a mixture of experts (Jacobs et al. 1991).

The experts are the details, the gate says how likely each is at an observation. At first the error alone counts, and
draws at a falling temperature let every detail learn something. Later a step learns its likeliest detail, by its error
and by the gate. By the error alone, details split noise that nothing seen announces, and the gate cannot choose among
them when the policy acts.
"""

import numpy as np
import torch
from torch import Tensor

from manyways.networks.policy_network import PolicyNetwork

# Details are drawn in this share of the iterations, at temperatures in units of the error of one action dimension.
_SOFT = 0.3
_TEMPERATURE, _LEAST_TEMPERATURE = 0.5, 0.02
# A plan's error counts as that of so many independent actions at most, since a person's errors last; chosen on PushT's
# development episodes.
_INDEPENDENT = 10 / 3


@torch.no_grad()
def choose_details(
    network: PolicyNetwork, errors: Tensor, features: Tensor, codes: Tensor, share: float, rng: np.random.Generator
) -> Tensor:
    """Return the details of each step under its trajectory's code, (trajectories, steps).

    Args:
        network: the policy.
        errors: (trajectories, steps, codes, details).
        features: (trajectories, steps, hidden), the state's part of the sum.
        codes: (trajectories, codes), one-hot.
        share: of the iterations that are over.
        rng: of the draws.
    """
    own = errors[torch.arange(len(codes)), :, codes.argmax(dim=1)]  # (trajectories, steps, details)
    if share < _SOFT:
        temperature = max(_LEAST_TEMPERATURE, _TEMPERATURE * (1 - share / _SOFT)) * network.actions.size
        return (torch.from_numpy(rng.gumbel(size=tuple(own.shape))).to(own) - own / temperature).argmax(dim=2)
    variance = network.actions.variance(own.min(dim=2).values.mean())
    nll = min(network.chunk, _INDEPENDENT) * own / (2 * variance)
    return (network.gate(features, codes[:, None]).log_softmax(dim=2) - nll).argmax(dim=2)
