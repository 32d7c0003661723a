"""What networks without a code share: from a window of observations they draw a chunk of actions.

`mdn`, `bet` and `diffusion` are how multimodal demonstrations are cloned where no code tells the modes apart.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyways.networks.base import ActionNetwork


class ChunkNetwork(ActionNetwork):
    """A network without a code, with a loss of its own."""

    @abstractmethod
    def losses(self, windows: Any, actions: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the parts of the loss, which add up to it.

        Args:
            windows: (n, window, ...), normalised, or a dictionary of such tensors.
            actions: (n, window - 1 + chunk, ...), the loss's targets: the action on each observation of the window, and
                the rest of the chunk.
            generator: of whatever noise is needed, on the CPU.
        """

    @abstractmethod
    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Return outputs (n, executed, outputs), as `actions` takes them, for normalised windows (n, window, ...).

        Args:
            windows: of observations.
            rng: draws among all actions that are likely; None takes the likeliest.
        """

    def act(self, windows: Any, codes: Tensor | None, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, executed, ...) within the demonstrated range."""
        return self.actions.actions(self.draw(self.observations(windows), rng))  # `draw` has left nothing to chance


def choose(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Return for each row of unnormalised log probabilities (n, choices) an index drawn by them, (n,)."""
    # Whatever is greatest after Gumbel noise is drawn by the softmax.
    return (logits + torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))).argmax(dim=1)
