"""The search of a batch's codes where labels or pairs are known (`clustering.constraints`)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.clustering.constraints import Constraints


class ConstrainedCodes:
    """Chooses codes of trajectories by their losses, as labels and pairs allow.

    Linked trajectories are hardly ever in one batch. So the last losses of each are kept; one that has none yet has no
    say.

    Args:
        constraints: of the training's demonstrations.
        device: of the losses.

    Attributes:
        losses: (tied, codes), the last ones of each tied trajectory.
        codes: (blocks,), the last ones of each block of linked trajectories.
    """

    def __init__(self, constraints: Constraints, device: torch.device) -> None:
        self._constraints = constraints
        self._excluded = torch.from_numpy(constraints.excluded).to(device)
        self.losses = torch.zeros(len(constraints.tied), constraints.allowed.shape[1], device=device)
        self.codes = torch.from_numpy(constraints.possible.copy())
        places = np.full(len(constraints.excluded), -1)
        places[constraints.tied] = np.arange(len(constraints.tied))
        self._places = torch.from_numpy(places).to(device)

    @property
    def settled(self) -> NDArray[np.int64]:
        """The trajectories that can have one code alone, (n,)."""
        return np.flatnonzero(self._constraints.settled >= 0)

    def __call__(self, losses: Tensor, trajectories: Tensor) -> Tensor:
        """Return the indices of a batch's codes (n,).

        Args:
            losses: (n, codes), of each code.
            trajectories: (n,), whose they are.
        """
        codes = losses.masked_fill(self._excluded[trajectories], torch.inf).argmin(dim=1)
        places = self._places[trajectories]
        tied = places >= 0
        if tied.any():
            self.losses[places[tied]] = losses[tied].to(self.losses.dtype)
            blocks = self._constraints.blocks[places[tied].cpu().numpy()]
            values = self.losses.double().cpu().numpy()
            self.codes = torch.from_numpy(self._constraints.block_codes(values, self.codes.numpy(), blocks))
            codes[tied] = self.codes[blocks].to(codes.device)
        return codes

    def of_all(self, losses: Tensor) -> Tensor:
        """Return the indices of the codes of all trajectories (trajectories,) by their losses (trajectories, codes)."""
        return torch.from_numpy(self._constraints.codes(losses.double().cpu().numpy())).to(losses.device)
