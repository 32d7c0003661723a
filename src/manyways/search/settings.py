"""Settings of the search over continuous codes; no PyTorch is needed."""

from dataclasses import dataclass
from typing import Literal

from manyways.errors import require_at_least, require_choice


@dataclass(frozen=True, kw_only=True)
class Search:
    """How continuous codes are searched.

    Args:
        candidates: codes that are tried for each block.
        block: how many dimensions of a code are searched together, Δ of Algorithm 4.
        rounds: over all blocks; a single block is searched once.
        near: "last" searches around a trajectory's last code in training, and keeps the distribution of all codes that
            of the prior; "prior" searches samples of the prior every time, as in Algorithms 1 and 4.
        race: whether most candidates are dropped after a few of a trajectory's steps.

    Raises:
        InputError: a setting is out of its range.
    """

    candidates: int = 100
    block: int = 4
    rounds: int = 3
    near: Literal["last", "prior"] = "last"
    race: bool = True

    def __post_init__(self) -> None:
        require_at_least(self, 1, "candidates", "block", "rounds")
        require_choice(self, "near", "last", "prior")

    def once(self, dimension: int) -> list[slice]:
        """Return the blocks in order."""
        starts = range(0, dimension, self.block)
        return [slice(start, min(start + self.block, dimension)) for start in starts]

    def blocks(self, dimension: int) -> list[slice]:
        """Return the blocks of all rounds in order."""
        once = self.once(dimension)
        return once * (self.rounds if len(once) > 1 else 1)
