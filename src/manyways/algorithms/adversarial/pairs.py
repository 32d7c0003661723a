"""Pairs of observation and action, with their code, and networks that score them (Figure 8b)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manyways.algorithms.adversarial.settings import Adversarial
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.networks.base import initialize_layers
from manyways.networks.encoders import Encoder, encode, features_of, make_encoder
from manyways.networks.normalization import take

_LEAK = 0.01  # slope of the leaky rectifier below 0


@dataclass(eq=False)
class Pairs:
    """Pairs with their codes.

    Attributes:
        inputs: normalised observations (n, ...), or a dictionary of such tensors.
        actions: (n, action size), normalised.
        codes: (n, code size), inputs of the code's layer; (n, 0) if they are not needed.
    """

    inputs: Any
    actions: Tensor
    codes: Tensor

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.actions)

    def rows(self, index: Any) -> "Pairs":
        """Return these pairs."""
        return Pairs(take(self.inputs, index), self.actions[index], self.codes[index])

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        inputs = list(self.inputs.values()) if isinstance(self.inputs, dict) else [self.inputs]
        return [*inputs, self.actions, self.codes]

    def between(self, other: "Pairs", shares: Tensor) -> "Pairs":
        """Return points between these pairs and others, at shares (n, 1) of the line, with `requires_grad`."""

        def mix(one: Tensor, another: Tensor) -> Tensor:
            share = shares.view(-1, *[1] * (one.ndim - 1))
            return (one + share * (another - one)).detach().requires_grad_(True)

        inputs: Any = (
            {name: mix(tensor, other.inputs[name]) for name, tensor in self.inputs.items()}
            if isinstance(self.inputs, dict)
            else mix(self.inputs, other.inputs)
        )
        return Pairs(inputs, mix(self.actions, other.actions), mix(self.codes, other.codes))


def batches(settings: Adversarial, count: int, rng: np.random.Generator) -> Tensor:
    """Return the indices of the pairs, of `count`, in each batch of an update's gradient steps, (steps, batch)."""
    size = min(settings.discriminator_batch, count)
    needed = settings.discriminator_steps * size
    order = np.concatenate([rng.permutation(count) for _ in range(math.ceil(needed / count))])
    return torch.from_numpy(order[:needed].reshape(-1, size))


class Scorer(nn.Module):
    """Figure 8b: pairs[, codes] → Linear → leaky ReLU → Linear → leaky ReLU → Linear → scores.

    Args:
        observation_space: of one step.
        others: dimensions of the other inputs, action and code.
        outputs: scores of a pair.
        hidden: width of the layers.
        encoder: from an observation to features.
        seed: of all weights.
    """

    encoder: Any

    def __init__(
        self, observation_space: Space, others: int, outputs: int, hidden: int, encoder: Encoder, seed: int
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(encoder, observation_space, seed)
        self._ndims = {name: len(box.shape) for name, box in entry_spaces(observation_space).items()}
        self.layers = nn.Sequential(
            nn.Linear(features_of(self.encoder, observation_space) + others, hidden),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, outputs),
        )
        generator = torch.Generator().manual_seed(seed)
        if hasattr(self.encoder, "initialize"):
            self.encoder.initialize(generator)
        initialize_layers(self.layers, generator)

    def forward(self, pairs: Pairs, with_codes: bool = False) -> Tensor:
        """Return the scores of pairs, (n, outputs)."""
        parts = [encode(self.encoder, pairs.inputs, self._ndims), pairs.actions]
        scores: Tensor = self.layers(torch.cat([*parts, pairs.codes] if with_codes else parts, dim=1))
        return scores
