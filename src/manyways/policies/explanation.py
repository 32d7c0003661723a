"""Which code explains a whole trajectory best: by the policy's error and, where there are groups, by these too."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical, Gaussian
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.search.factored import block_losses, search_trajectories, trajectory_losses
from manyways.search.settings import Search

_NEARLY_BEST = 1.1  # times the least loss
_GRID = 100  # quantiles of the prior at which a code's number is varied


@dataclass(frozen=True, eq=False)
class Encoding:
    """The code under which the policy explains each trajectory best, and how sharply the trajectory determines it.

    Attributes:
        codes: (trajectories, code size).
        losses: (trajectories,), the mean over its steps of the squared error of the normalised action, summed over the
            action's numbers.
        spread: (trajectories, code size), for each number of a continuous code the share of the prior at which the loss
            is at most a tenth above the least, the others staying: near 0 where the trajectory determines it sharply, 1
            where it makes no difference. None for discrete codes, and where codes are not searched.
    """

    codes: NDArray[np.float32]
    losses: NDArray[np.float64]
    spread: NDArray[np.float64] | None


def explain(
    network: PolicyNetwork, prior: Categorical, demonstrations: Demonstrations, groups: Groups | None
) -> NDArray[np.float64]:
    """Return how badly each code explains each trajectory, (trajectories, codes): see `Policy.losses`."""
    losses = trajectory_losses(network, demonstrations, _every(network, prior))
    return losses if groups is None else losses + groups.loss(demonstrations)


def settle(
    network: PolicyNetwork, prior: Categorical, demonstrations: Demonstrations, groups: Groups | None
) -> tuple[NDArray[np.float64], Groups | None]:
    """Return the same at the end of training, and the groups with the residual of this network."""
    losses = trajectory_losses(network, demonstrations, _every(network, prior))
    if groups is None:
        return losses, None
    groups = groups.with_residual(losses, demonstrations, network.actions.variance)
    return losses + groups.loss(demonstrations), groups


def encode(
    network: PolicyNetwork,
    prior: Gaussian,
    demonstrations: Demonstrations,
    search: Search,
    seed: int,
    trajectory_encoder: TrajectoryEncoder | None,
) -> Encoding:
    """Return the continuous code of each trajectory: see `Policy.encode`."""
    if trajectory_encoder is not None:
        codes = trajectory_encoder.codes(demonstrations)
        inputs, nothing = network.code_inputs(codes), torch.zeros(1, 1)
        losses = block_losses(network, demonstrations, inputs, slice(0, 1), nothing)[:, 0]
        return Encoding(codes.numpy(), losses.numpy(), None)
    start = torch.zeros(len(demonstrations), prior.dimension)
    generator = torch.Generator().manual_seed(seed)
    inputs, least = search_trajectories(network, demonstrations, search, start, generator)
    return Encoding(network.codes_of(inputs).numpy(), least.numpy(), _spread(network, demonstrations, inputs, least))


def _spread(
    network: PolicyNetwork, demonstrations: Demonstrations, inputs: Tensor, least: Tensor
) -> NDArray[np.float64]:
    """Return the share of the prior at which each number of each code is nearly as good, (trajectories, dimension)."""
    values = network.code_inputs(torch.from_numpy(Gaussian(1).grid(_GRID)))
    spread = np.empty(inputs.shape)
    for number in range(inputs.shape[1]):
        block = slice(number, number + 1)
        rest = inputs.clone()
        rest[:, block] = 0
        losses = block_losses(network, demonstrations, rest, block, values)
        spread[:, number] = (losses <= _NEARLY_BEST * least[:, None]).double().mean(dim=1).numpy()
    return spread


def _every(network: PolicyNetwork, prior: Categorical) -> Any:
    return torch.from_numpy(prior.enumerate()).to(network.code.weight.device)
