"""Residual layers with dropout, for a few noisy demonstrations: the state's part of a policy network."""

import math

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """x + Linear(dropout(SiLU(Linear(layer norm(x))))).

    Args:
        width: of x.
        dropout: share of the hidden units that a gradient step leaves out.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., width)."""
        return x + self.layers(x)


def state_layers(inputs: int, width: int, blocks: int, dropout: float) -> nn.Sequential:
    """Return the layers of the state's part: the paper's (Figure 8a) for no blocks, else residual ones.

    Args:
        inputs: features of a window of observations.
        width: of the layers.
        blocks: residual layers.
        dropout: of their hidden units.
    """
    if blocks == 0:
        return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width))
    residual = (Residual(width, dropout) for _ in range(blocks))
    return nn.Sequential(nn.Linear(inputs, width), *residual, nn.LayerNorm(width), nn.Linear(width, width))


def initialize_residual(module: nn.Module, generator: torch.Generator) -> None:
    """Draw small uniform weights for the linear layers of residual ones, as deep networks need them."""
    for part in module.modules():
        if isinstance(part, Residual):
            for layer in part.layers:
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.in_features)
                    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
