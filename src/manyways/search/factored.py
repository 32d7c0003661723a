"""The arg min over codes (Algorithm 1, line 7; Algorithm 2, line 6), for each step and each trajectory.

The search is factored. In the policy's sum (Figure 8) the state's part h does not depend on the code, nor the code's
part g on the state. So each is computed once, and only tanh(h + g) and the last layer remain for a (step, code) pair.
Even the exponential in that tanh factors, since

    tanh(h + g) = 1 - 2 / (1 + exp(2h) exp(2g)),

and the constant and the factor move into the last layer. So a pair costs one reciprocal for each hidden unit. Pairs are
computed in chunks, in memory that is allocated once.

Blocks of a continuous code (Algorithm 4) factor in the same way. The code's layer is linear, so the other dimensions
join the state's part, and all trajectories share the candidates for a block.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.windows import window_and_chunk
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.search.coordinates import coordinate_search, search_nearby
from manyways.search.settings import Search

# Values in memory at once: few enough for a processor's cache, enough to hide the cost of a call.
_HIDDEN_VALUES = 2**18  # steps x codes x hidden
_ACTION_VALUES = 2**20  # steps x codes x action size
_MOST_STEPS = 2**12
# Codes of whole trajectories are searched in about so many steps of a large set; the median one keeps so many.
_SEARCHED, _SEARCHED_OF_EACH = 2**20, 32
# tanh is ±1 in float32 from 9 on, and exp(2 * 20) squared is still finite.
_LARGEST_FEATURE = 20.0


@torch.no_grad()
def part_losses(
    network: PolicyNetwork, features: Tensor, actions: Tensor, parts: Tensor, known: Tensor | None = None
) -> Tensor:
    """Return the error of every step under every code.

    Args:
        network: the policy.
        features: (steps, hidden), the state's part of the sum.
        actions: (steps, ...), the loss's targets.
        parts: (codes, hidden), the codes' parts of the sum.
        known: (steps, chunk), which actions of a plan count; None for all.

    Returns:
        (steps, codes): ‖f(z, s) - a‖² of normalised actions; of choices the cross-entropy.
    """
    state_part = _exponential(features)
    code_part = _exponential(parts)
    weight, bias = _output(network)
    one = features.new_ones(())
    steps, count = len(features), len(parts)
    chunk = max(1, _HIDDEN_VALUES // code_part.numel())
    units = features.new_empty(min(chunk, steps), *code_part.shape)  # (chunk, codes, hidden)
    # Action dimensions come first: a product with few rows is several times faster than one with few columns.
    products = features.new_empty(len(weight), steps * count)
    for start in range(0, steps, chunk):
        part = state_part[start : start + chunk, None]
        pairs = torch.addcmul(one, part, code_part, out=units[: len(part)]).reciprocal_().flatten(0, 1)
        torch.mm(weight, pairs.T, out=products[:, start * count : (start + len(part)) * count])
    return network.actions.pair_errors(products.view(-1, steps, count), bias, actions, known)


def _output(network: PolicyNetwork) -> tuple[Tensor, Tensor]:
    """Return the last layer's weight and bias for 1 / (1 + exp(2h) exp(2g)) in place of tanh(h + g)."""
    return -2 * network.output.weight, network.output.bias + network.output.weight.sum(dim=1)


def _exponential(features: Tensor) -> Tensor:
    return features.clamp(-_LARGEST_FEATURE, _LARGEST_FEATURE).mul_(2).exp_()


def code_parts(network: PolicyNetwork, codes: Tensor) -> Tensor:
    """Return the parts of the sum of all codes with all details, (codes * details, hidden), a code's side by side."""
    parts = network.code(codes)
    return parts if network.details == 1 else (parts[:, None] + network.detail.weight.T).flatten(0, 1)


def stride_of(demonstrations: Demonstrations) -> int:
    """Return every how many steps codes of whole trajectories are searched; more than 1 in large sets only."""
    most = int(np.median(demonstrations.lengths)) // _SEARCHED_OF_EACH
    return max(1, min(demonstrations.steps // _SEARCHED, most))


@torch.no_grad()
def trajectory_losses(
    network: PolicyNetwork,
    demonstrations: Demonstrations,
    codes: Tensor,
    features: Tensor | None = None,
    stride: int = 1,
) -> NDArray[np.float64]:
    """Return the mean error of every trajectory under every code, (trajectories, codes).

    Beside the result, memory does not grow with the steps, nor with the codes up to thousands of them.

    Args:
        network: the policy.
        demonstrations: of any lengths.
        codes: (codes, dimension), the same for every trajectory; or (codes, hidden), with `features`.
        features: (trajectories, hidden), each trajectory's own part of the sum; `codes` are then parts of the sum too.
        stride: every how many steps the error is taken.
    """
    totals = torch.zeros(len(demonstrations), len(codes), dtype=torch.float64, device=codes.device)
    for owners, errors in _errors(network, demonstrations, codes, stride, features):
        totals.index_add_(0, owners, errors.double())
    return totals.cpu().numpy() / -(-demonstrations.lengths[:, None] // stride)


@torch.no_grad()
def step_losses(network: PolicyNetwork, demonstrations: Demonstrations, codes: Tensor) -> NDArray[np.float64]:
    """Return the error of every step under every code, (steps, codes); arguments as for `trajectory_losses`."""
    found = _errors(network, demonstrations, codes, 1, None)
    return np.concatenate([errors.double().cpu().numpy() for _, errors in found])


def _errors(
    network: PolicyNetwork, demonstrations: Demonstrations, codes: Tensor, stride: int, features: Any
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield trajectories (n,) and the errors of a step of each under each code, (n, codes).

    Every so many steps of each trajectory are taken, from its first one on.
    """
    device = codes.device
    parts = code_parts(network, codes) if features is None else codes
    at_once = max(1, min(network.at_once(_MOST_STEPS), _ACTION_VALUES // (len(parts) * network.actions.outputs)))
    taken = np.cumsum(-(-demonstrations.lengths // stride))  # steps, to the end of each trajectory
    for start in range(0, int(taken[-1]), at_once):
        places = np.arange(start, min(start + at_once, int(taken[-1])))
        whose = np.searchsorted(taken, places, side="right")
        before = places - taken[whose] + -(-demonstrations.lengths[whose] // stride)
        steps = demonstrations.starts[whose] + stride * before
        owners = torch.from_numpy(whose).to(device)
        observed, planned = window_and_chunk(demonstrations, steps, network.window, network.chunk)
        observations = to_tensors(rows_of(demonstrations.observations, observed), device)
        actions = torch.from_numpy(demonstrations.actions[planned]).to(device)
        sums, targets = network.features_and_targets(observations, actions)
        if features is not None:
            sums = sums + features[owners]
        errors = part_losses(network, sums, targets, parts)
        if len(parts) > len(codes):  # the best detail of each step
            errors = errors.view(len(steps), len(codes), network.details).min(dim=2).values
        yield owners, errors


@torch.no_grad()
def search_batch(
    network: PolicyNetwork,
    features: Tensor,
    actions: Tensor,
    search: Search,
    start: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Search the continuous code of each trajectory of a batch (Algorithm 2, lines 5 and 6; Algorithm 4's blocks).

    With `search.race`, all candidates are tried on a sixteenth of a trajectory's steps, the best quarter of them on a
    quarter, and the best sixteenth on all.

    Args:
        network: the policy.
        features: (trajectories, steps, hidden), the state's part of the sum; steps in no particular order.
        actions: (trajectories, steps, action size), normalised.
        search: how.
        start: (trajectories, dimension), the last codes, or zeros to search samples of the prior.
        generator: of the candidates.

    Returns:
        The codes, (trajectories, dimension).
    """
    stages = _stages(features.shape[1], search)

    def losses(codes: Tensor, block: slice, offsets: Tensor) -> Tensor:
        own, parts = _split(network, codes, block, offsets)
        return _raced_losses(network, features + own[:, None], actions, parts, stages)

    if search.near == "last":
        return search_nearby(losses, start, search, generator, LARGEST_INPUT)[0]
    return coordinate_search(losses, start, search, generator, LARGEST_INPUT)[0]


@torch.no_grad()
def search_trajectories(
    network: PolicyNetwork,
    demonstrations: Demonstrations,
    search: Search,
    start: Tensor,
    generator: torch.Generator | None = None,
    stride: int = 1,
) -> tuple[Tensor, Tensor]:
    """Search the continuous code of every trajectory over all its steps: of the prior first, then nearby.

    Args:
        network: the policy.
        demonstrations: of any lengths.
        search: how many candidates, blocks and rounds; there is no race here.
        start: (trajectories, dimension), codes to start from.
        generator: of the candidates.
        stride: every how many steps the error is taken.

    Returns:
        The codes (trajectories, dimension), and each trajectory's mean squared error under its code (trajectories,).
    """
    losses = partial(block_losses, network, demonstrations, stride=stride)
    codes, _ = coordinate_search(losses, start, search, generator, LARGEST_INPUT)
    return search_nearby(losses, codes, search, generator, LARGEST_INPUT)


@torch.no_grad()
def block_losses(
    network: PolicyNetwork,
    demonstrations: Demonstrations,
    codes: Tensor,
    block: slice,
    offsets: Tensor,
    stride: int = 1,
) -> Tensor:
    """Return each trajectory's mean squared error if each offset is added to a block of its code.

    Args:
        network: the policy.
        demonstrations: of any lengths.
        codes: (trajectories, dimension).
        block: the dimensions to which the offsets are added.
        offsets: (offsets, dimensions in the block).
        stride: every how many steps the error is taken.

    Returns:
        (trajectories, offsets), in double precision.
    """
    own, parts = _split(network, codes, block, offsets)
    return torch.from_numpy(trajectory_losses(network, demonstrations, parts, own, stride)).to(codes.device)


def _split(network: PolicyNetwork, codes: Tensor, block: slice, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the codes' part of the sum (n, hidden), and that of offsets on a block (m, hidden).

    The code's layer is linear, so the part of a code with an offset is the sum of both.
    """
    return network.code(codes), offsets @ network.code.weight[:, block].T


def _stages(steps: int, search: Search) -> list[tuple[slice, int]]:
    """Return for each stage of a race the new steps, and how many candidates take part."""
    if not search.race:
        return [(slice(0, steps), search.candidates)]
    stages, start = [], 0
    for part in (16, 4, 1):
        end = max(1, steps // part)
        count = max(1, search.candidates * part // 16)
        if end > start:
            stages.append((slice(start, end), count))
            start = end
    return stages


def _raced_losses(
    network: PolicyNetwork, features: Tensor, actions: Tensor, parts: Tensor, stages: list[tuple[slice, int]]
) -> Tensor:
    """Return the loss of every trajectory under every candidate (n, m), infinite for those that left the race.

    Args:
        network: the policy.
        features: (n, steps, hidden).
        actions: (n, steps, action size).
        parts: (m, hidden), the candidates' part of the sum.
        stages: of the race.
    """
    steps, _ = stages[0]
    count = len(features)
    losses = part_losses(network, features[:, steps].flatten(0, 1), actions[:, steps].flatten(0, 1), parts)
    losses = losses.view(count, -1, len(parts)).sum(dim=1)
    if len(stages) == 1:
        return losses
    state = _exponential(features)
    code = _exponential(parts)
    for steps, survivors in stages[1:]:
        best = losses.topk(survivors, dim=1, largest=False, sorted=False).indices  # (n, survivors)
        more = _own_errors(network, state[:, steps], actions[:, steps], code[best])
        losses = torch.full_like(losses, torch.inf).scatter_(1, best, losses.gather(1, best) + more)
    return losses


def _own_errors(network: PolicyNetwork, state: Tensor, actions: Tensor, code: Tensor) -> Tensor:
    """Return the summed squared errors of trajectories under candidates of their own, (n, candidates).

    Args:
        network: the policy.
        state: exp(2h), (n, steps, hidden).
        actions: (n, steps, action size), normalised.
        code: exp(2g), (n, candidates, hidden).
    """
    weight, bias = _output(network)
    count, steps, hidden = state.shape
    candidates = code.shape[1]
    one = state.new_ones(())
    errors = state.new_empty(count, candidates)
    at_once = max(1, _HIDDEN_VALUES // (steps * candidates * hidden))
    units = state.new_empty(min(at_once, count), steps, candidates, hidden)
    for start in range(0, count, at_once):
        rows = slice(start, start + at_once)
        part = state[rows, :, None]
        pairs = torch.addcmul(one, part, code[rows, None], out=units[: len(part)]).reciprocal_()
        products = (weight @ pairs.flatten(0, 2).T).view(-1, len(part), steps, candidates)
        errors[rows] = network.actions.pair_errors(products, bias, actions[rows]).sum(dim=1)
    return errors
