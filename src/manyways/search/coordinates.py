"""The search over continuous codes: samples of the prior (Algorithm 1, line 7), block after block (Algorithm 4).

Beyond the paper, codes are also searched near those found before.

What is searched for, a point's code or a trajectory's, and what its loss is under a code, is the caller's. All items
try the same candidates, or the same steps away from where they are, so that what depends on these alone is computed
once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from manyways.search.settings import Search

Losses = Callable[[Tensor, slice, Tensor], Tensor]
"""Codes (n, dimension), a block of their numbers, and offsets (m, block) to losses (n, m): that of each of n items if
each offset is added to the block of its code, all else staying."""

_NEARBY = (0.5, 0.2)  # standard deviations of the steps away from the last code, one after the other


@torch.no_grad()
def coordinate_search(
    losses: Losses,
    codes: Tensor,
    search: Search,
    generator: torch.Generator | None = None,
    limit: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Search a code for each of n items among samples of the prior, one block of its numbers after the other.

    A block is replaced only where that is better than what was found before.

    Args:
        losses: of the items under candidates.
        codes: (n, dimension), where to start: zeros in Algorithm 4.
        search: how many candidates, blocks and rounds.
        generator: from which the candidates are drawn, on the CPU.
        limit: of a uniform prior's numbers, ±; None for the standard normal one.

    Returns:
        The codes found, (n, dimension), and their losses, (n,).
    """
    codes = codes.clone()
    least = torch.full((len(codes),), torch.inf, device=codes.device)
    for block in search.blocks(codes.shape[1]):
        rest = codes.clone()
        rest[:, block] = 0
        size = (search.candidates, block.stop - block.start)
        drawn = torch.randn(size, generator=generator) if limit is None else torch.rand(size, generator=generator)
        candidates = drawn if limit is None else limit * (2 * drawn - 1)
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
    """Search better codes near those that n items have, first farther away and then closer.

    Args:
        losses: of the items under offsets from their codes.
        codes: (n, dimension), what they have.
        search: how many candidates, and which blocks.
        generator: from which the offsets are drawn, on the CPU.
        limit: which no number may pass; None for none.

    Returns:
        The codes found, (n, dimension), and their losses, (n,): never worse than before.
    """
    least = torch.full((len(codes),), torch.inf, device=codes.device)
    for width in _NEARBY:
        for block in search.once(codes.shape[1]):
            offsets = width * torch.randn(search.candidates, block.stop - block.start, generator=generator)
            offsets[0] = 0  # what there is takes part
            codes, least = _best(losses, codes, block, offsets.to(codes.device), limit, codes, least)
    return codes, least


def _best(
    losses: Losses, base: Tensor, block: slice, offsets: Tensor, limit: float | None, codes: Tensor, least: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `codes` and their losses `least`, or where that is better `base` with an offset on a block of it."""
    values = losses(base, block, offsets)
    if limit is not None:
        beyond = ((base[:, None, block] + offsets).abs() > limit).any(dim=2)
        values = values.masked_fill(beyond, torch.inf)
    found, index = values.min(dim=1)
    moved = base.clone()
    moved[:, block] += offsets[index]
    better = found < least
    return torch.where(better[:, None], moved, codes), torch.where(better, found, least)
