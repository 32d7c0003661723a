"""The base of networks without a code, `mdn`, `bet` and `diffusion`: they draw a chunk of actions for a window."""

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
        """Return the terms of the loss by name.

        Args:
            windows: (n, window, ...), normalised, or a dictionary of such tensors.
            actions: (n, window - 1 + chunk, ...), the loss's targets: the action on each observation of the window, and
                the rest of the chunk.
            generator: of noise, on the CPU.
        """

    @abstractmethod
    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Return outputs (n, executed, outputs) for `self.actions`.

        Args:
            windows: normalised observations (n, window, ...).
            rng: of random actions; None takes the likeliest.
        """

    def act(self, windows: Any, codes: Tensor | None, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, executed, ...) within the demonstrated range."""
        return self.actions.actions(self.draw(self.observations(windows), rng))  # without `rng`: `draw` was random


def choose(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw an index by each row of unnormalised log probabilities (n, choices), (n,)."""
    # The arg max after Gumbel noise is a draw from the softmax.
    return (logits + torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))).argmax(dim=1)
