"""The search over continuous codes: samples of the prior (Algorithm 1, line 7), block after block (Algorithm 4).

Beyond the paper, `search_nearby` improves codes by small steps. An item is a point or a trajectory; the caller defines
its loss under a code. All items try the same candidates or the same steps, so the candidates' part is computed once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from manyways.search.settings import Search

Losses = Callable[[Tensor, slice, Tensor], Tensor]
"""From codes (n, dimension), a block of dimensions, and offsets (m, block) to losses (n, m): that of each of n items if
each offset is added to the block of its code."""

_NEARBY = (0.5, 0.2)  # standard deviations of the steps from the last code, in order


@torch.no_grad()
def coordinate_search(
    losses: Losses,
    codes: Tensor,
    search: Search,
    generator: torch.Generator | None = None,
    limit: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Search a code for each of n items among samples of the prior, one block of dimensions after the other.

    A block changes only if that lowers the loss.

    Args:
        losses: of the items under candidates.
        codes: (n, dimension), where to start: zeros in Algorithm 4.
        search: how many candidates, blocks and rounds.
        generator: of the candidates, on the CPU.
        limit: of a uniform prior, ±; None for the standard normal one.

    Returns:
        The best codes, (n, dimension), and their losses, (n,).
    """
    codes = codes.clone()
    least = torch.full((len(codes),), torch.inf, device=codes.device)
    for block in search.blocks(codes.shape[1]):
        rest = codes.clone()
        rest[:, block] = 0
        size = (search.candidates, block.stop - block.start)
        if limit is None:
            candidates = torch.randn(size, generator=generator)
        else:
            candidates = limit * (2 * torch.rand(size, generator=generator) - 1)
        codes, least = _best(losses, rest, block, candidates.to(codes.device), None, codes, least)
    return codes, least


@torch.no_grad()
def search_nearby(
    losses: Losses,
    codes: Tensor,
    search: Search,
    generator: torch.Generator | None = None,
    limit: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Search better codes near those of n items, first with large steps, then with small ones.

    Args:
        losses: of the items under offsets from their codes.
        codes: (n, dimension), where to start.
        search: how many candidates, and which blocks.
        generator: of the offsets, on the CPU.
        limit: of every dimension, ±; None for no limit.

    Returns:
        The best codes, (n, dimension), and their losses, (n,), never above those at the start.
    """
    least = torch.full((len(codes),), torch.inf, device=codes.device)
    for width in _NEARBY:
        for block in search.once(codes.shape[1]):
            offsets = width * torch.randn(search.candidates, block.stop - block.start, generator=generator)
            offsets[0] = 0  # the current code is a candidate too
            codes, least = _best(losses, codes, block, offsets.to(codes.device), limit, codes, least)
    return codes, least


def _best(
    losses: Losses, base: Tensor, block: slice, offsets: Tensor, limit: float | None, codes: Tensor, least: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `codes` and their losses `least`, or if better `base` with the best offset on a block, for each item."""
    values = losses(base, block, offsets)
    if limit is not None:
        beyond = ((base[:, None, block] + offsets).abs() > limit).any(dim=2)
        values = values.masked_fill(beyond, torch.inf)
    lowest, index = values.min(dim=1)
    candidates = base.clone()
    candidates[:, block] += offsets[index]
    better = lowest < least
    return torch.where(better[:, None], candidates, codes), torch.where(better, lowest, least)
