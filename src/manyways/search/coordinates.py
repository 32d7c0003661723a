"""The search over continuous codes: samples of the prior (Algorithm 1, line 7), block after block (Algorithm 4).

What is searched for, a point's code or a trajectory's, and what its loss is under a code, is the caller's.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from manyways.errors import InputError

Losses = Callable[[Tensor, slice, Tensor], Tensor]
"""Codes (n, dimension), a block of their numbers, and candidates for it (m, block) to losses (n, m): that of each of n
items if the block of its code is replaced by each candidate, all else staying."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How continuous codes are searched.

    Args:
        candidates: samples of the prior that are tried for each block.
        block: how many of a code's numbers are drawn together, Δ of Algorithm 4.
        rounds: over all blocks; where there is a single block, one is enough and is what is done.
        race: whether most candidates are dropped after a few of a trajectory's steps, where it has many.

    Raises:
        InputError: a setting is below 1.
    """

    candidates: int = 100
    block: int = 1
    rounds: int = 3
    race: bool = True

    def __post_init__(self) -> None:
        for setting in ("candidates", "block", "rounds"):
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} of the search is {getattr(self, setting)}; give 1 or more")

    def blocks(self, dimension: int) -> list[slice]:
        """Return the blocks in the order in which they are searched, all rounds."""
        starts = range(0, dimension, self.block)
        once = [slice(start, min(start + self.block, dimension)) for start in starts]
        return once * (self.rounds if len(once) > 1 else 1)


@torch.no_grad()
def coordinate_search(
    losses: Losses, codes: Tensor, search: Search, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Search a code for each of n items, one block of its numbers after the other.

    All items try the same candidates, so that what depends on a candidate alone is computed once. A block is replaced
    only where that is better than what was found before.

    Args:
        losses: of the items under candidates.
        codes: (n, dimension), where to start: zeros in Algorithm 4.
        search: how many candidates, blocks and rounds.
        generator: from which the candidates are drawn, on the CPU.

    Returns:
        The codes found, (n, dimension), and their losses, (n,).
    """
    codes = codes.clone()
    least = torch.full((len(codes),), torch.inf, device=codes.device)
    for block in search.blocks(codes.shape[1]):
        size = block.stop - block.start
        candidates = torch.randn(search.candidates, size, generator=generator).to(codes.device)
        found, index = losses(codes, block, candidates).min(dim=1)
        better = found < least
        codes[:, block] = torch.where(better[:, None], candidates[index], codes[:, block])
        least = torch.where(better, found, least)
    return codes, least
