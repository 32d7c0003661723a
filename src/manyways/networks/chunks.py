"""The base of networks without a code, `mdn`, `bet` and `diffusion`: they draw a chunk of actions for a window."""

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyways.networks.base import ActionNetwork
from manyways.networks.residual import initialize_residual


class ChunkNetwork(ActionNetwork):
    """A network without a code, with a loss of its own."""

    blocks: int = 0

    def window_settings(self) -> dict[str, int]:
        """Return the arguments that all these networks have."""
        return {"window": self.window, "chunk": self.chunk, "executed": self.executed, "blocks": self.blocks}

    def initialize(self, generator: torch.Generator, small: bool = False) -> None:
        """Draw the weights, as the base class; those of residual layers are always small."""
        super().initialize(generator, small)
        initialize_residual(self, generator)

    @abstractmethod
    def losses(
        self, windows: Any, actions: Tensor, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the terms of the loss by name.

        Args:
            windows: (n, window, ...), normalised, or a dictionary of such tensors.
            actions: (n, window - 1 + chunk, ...), the loss's targets: the action on each observation of the window, and
                the rest of the chunk.
            generator: of noise, on the CPU.
            known: (n, window - 1 + chunk), which of these actions were done; None where all were. Those after a
                trajectory's end have no loss.
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
