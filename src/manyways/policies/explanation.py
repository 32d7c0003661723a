"""The best code of a whole trajectory, by the policy's error and, for policies with groups, the groups' likelihood."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.windows import window_and_chunk
from manyways.latents import Categorical, Gaussian
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.search.factored import block_losses, search_trajectories, stride_of, trajectory_losses
from manyways.search.settings import Search

_NEARLY_BEST = 1.1  # times the least loss
_GRID = 100  # quantiles of the prior at which a dimension of a code is varied


@dataclass(frozen=True, eq=False)
class Encoding:
    """The best code of each trajectory, and how sharply the trajectory determines it.

    Attributes:
        codes: (trajectories, code size).
        losses: (trajectories,), the mean over its steps (in a large set over some) of the squared error of the
            normalised action, summed over the action's dimensions.
        spread: (trajectories, code size), for each dimension of a continuous code the share of the prior with a loss at
            most a tenth above the least, the other dimensions fixed: near 0 if the trajectory determines it sharply, 1
            if it makes no difference. None for discrete codes, and for codes from a trajectory encoder.
    """

    codes: NDArray[np.float32]
    losses: NDArray[np.float64]
    spread: NDArray[np.float64] | None


def explain(
    network: PolicyNetwork, prior: Categorical, demonstrations: Demonstrations, groups: Groups | None
) -> NDArray[np.float64]:
    """Return the loss of each trajectory under each code, (trajectories, codes): see `Policy.losses`."""
    losses = trajectory_losses(network, demonstrations, _all_codes(network, prior), stride=stride_of(demonstrations))
    return losses if groups is None else losses + groups.loss(demonstrations)


def settle(
    network: PolicyNetwork, prior: Categorical, demonstrations: Demonstrations, groups: Groups | None
) -> tuple[NDArray[np.float64], Groups | None]:
    """Return the same at the end of training, and the groups with this network's residual variance."""
    losses = trajectory_losses(network, demonstrations, _all_codes(network, prior), stride=stride_of(demonstrations))
    if groups is None:
        return losses, None
    groups = groups.with_residual(losses, demonstrations, network.actions.variance)
    return losses + groups.loss(demonstrations), groups


@torch.no_grad()
def residual_std(network: PolicyNetwork, demonstrations: Demonstrations, codes: Tensor, at_once: int = 2**13) -> Tensor:
    """Return the root mean square error of each action dimension, in real units, (size,).

    It is measured in some of the steps of a large set.

    Args:
        network: of continuous actions.
        demonstrations: of any lengths.
        codes: (trajectories, code size), or (steps, code size) where they change within trajectories: inputs of the
            code's layer. Each step has its gate's likeliest detail.
        at_once: steps, at most.
    """
    at_once = network.at_once(at_once)
    device = codes.device
    total = torch.zeros(network.actions.size, dtype=torch.float64, device=device)
    taken = np.arange(0, demonstrations.steps, stride_of(demonstrations))
    for start in range(0, len(taken), at_once):
        steps = taken[start : start + at_once]
        owners = steps if len(codes) == demonstrations.steps else demonstrations.trajectory_of(steps)
        own = codes[torch.from_numpy(owners).to(device)]
        observed, planned = window_and_chunk(demonstrations, steps, network.window, network.chunk)
        observations = to_tensors(rows_of(demonstrations.observations, observed), device)
        actions = torch.from_numpy(demonstrations.actions[planned]).to(device)
        errors = network.mean_actions(observations, own) - actions
        total += errors.double().square().flatten(0, -2).mean(dim=0) * len(steps)
    return (total / len(taken)).sqrt().float()


def encode(
    network: PolicyNetwork,
    prior: Gaussian,
    demonstrations: Demonstrations,
    search: Search,
    seed: int,
    trajectory_encoder: TrajectoryEncoder | None,
) -> Encoding:
    """Return the continuous code of each trajectory: see `Policy.encode`."""
    stride = stride_of(demonstrations)
    if trajectory_encoder is not None:
        codes = trajectory_encoder.codes(demonstrations)
        inputs, nothing = network.code_inputs(codes), torch.zeros(1, 1)
        losses = block_losses(network, demonstrations, inputs, slice(0, 1), nothing, stride)[:, 0]
        return Encoding(codes.numpy(), losses.numpy(), None)
    start = torch.zeros(len(demonstrations), prior.dimension)
    generator = torch.Generator().manual_seed(seed)
    inputs, least = search_trajectories(network, demonstrations, search, start, generator, stride)
    return Encoding(network.codes_of(inputs).numpy(), least.numpy(), _spread(network, demonstrations, inputs, least))


def _spread(
    network: PolicyNetwork, demonstrations: Demonstrations, inputs: Tensor, least: Tensor
) -> NDArray[np.float64]:
    """Return the share of the prior at which each dimension of a code is nearly as good, (trajectories, dimension)."""
    values = network.code_inputs(torch.from_numpy(Gaussian(1).grid(_GRID)))
    spread = np.empty(inputs.shape)
    for dimension in range(inputs.shape[1]):
        block = slice(dimension, dimension + 1)
        rest = inputs.clone()
        rest[:, block] = 0
        losses = block_losses(network, demonstrations, rest, block, values, stride_of(demonstrations))
        spread[:, dimension] = (losses <= _NEARLY_BEST * least[:, None]).double().mean(dim=1).numpy()
    return spread


def _all_codes(network: PolicyNetwork, prior: Categorical) -> Any:
    return torch.from_numpy(prior.enumerate()).to(network.code.weight.device)
