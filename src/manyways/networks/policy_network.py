"""The networks of Figure 8, with the normalisation that the demonstrations give them."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LARGEST_INPUT = math.sqrt(3)  # of the code's layer, for continuous codes
FARTHEST = 10.0  # standard deviations at which normalised observations are cut


class Normalizer(nn.Module):
    """Shifts and scales each column to mean 0 and standard deviation 1, as measured on the demonstrations.

    A column that never varies there tells nothing: it is normalised to 0 whatever comes later, and restored to the
    value it had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, values: NDArray[np.float32]) -> None:
        """Measure the columns of `values` (rows, size)."""
        mean = values.mean(axis=0, dtype=np.float64)
        std = values.std(axis=0, dtype=np.float64)
        # float32 keeps seven digits: what varies less beside its own size is rounding, not information.
        std[std < 1e-6 * np.maximum(1.0, np.abs(mean))] = 0.0
        self.mean.copy_(torch.from_numpy(mean))
        self.std.copy_(torch.from_numpy(std))

    def normalize(self, values: Tensor) -> Tensor:
        """Return (values - mean) / std, (..., size)."""
        return (values - self.mean) * torch.where(self.std > 0, 1 / self.std, 0.0)

    def restore(self, values: Tensor) -> Tensor:
        """Return values * std + mean, (..., size)."""
        return values * self.std + self.mean


class PolicyNetwork(nn.Module):
    """Figure 8a: the state and the code go through layers of their own, are added, and give the mean action.

    state → Linear → tanh → Linear ─┐
                                    + → tanh → Linear → mean action
    code  → Linear ─────────────────┘

    The sum is what lets a search compute the state's part once for all codes. Everything inside is in normalised
    observations and actions; `forward` takes and returns real units.

    Args:
        observation_size, action_size, code_size: numbers in each.
        hidden: width of the layers.
        continuous: whether codes are standard normal numbers rather than one-hot.
    """

    action_std: Tensor
    action_low: Tensor
    action_high: Tensor

    def __init__(
        self, observation_size: int, action_size: int, code_size: int, hidden: int = 128, continuous: bool = False
    ) -> None:
        super().__init__()
        self.continuous = continuous
        self.observations = Normalizer(observation_size)
        self.actions = Normalizer(action_size)
        self.state = nn.Sequential(nn.Linear(observation_size, hidden), nn.Tanh(), nn.Linear(hidden, hidden))
        self.code = nn.Linear(code_size, hidden)
        self.output = nn.Linear(hidden, action_size)
        # σ of Equation 2 for each action in real units, and the range of the demonstrated actions.
        self.register_buffer("action_std", torch.zeros(action_size))
        self.register_buffer("action_low", torch.full((action_size,), -math.inf))
        self.register_buffer("action_high", torch.full((action_size,), math.inf))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights with gain √2 and set the biases to 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, math.sqrt(2), generator=generator)
                nn.init.zeros_(layer.bias)

    def code_inputs(self, codes: Tensor) -> Tensor:
        """Return what the code's layer sees, (..., code size): discrete codes as they are, continuous ones by the CDF.

        The prior's CDF of each number, shifted and scaled to ±√3, is uniform with variance 1. So equal steps are equal
        shares of the prior, no code is beyond what was trained, and a range of ways has ends.
        """
        return LARGEST_INPUT * (2 * torch.special.ndtr(codes) - 1) if self.continuous else codes

    def codes_of(self, inputs: Tensor) -> Tensor:
        """Return the codes of which `code_inputs` makes these inputs, (..., code size)."""
        if not self.continuous:
            return inputs
        shares = (inputs.double() / LARGEST_INPUT + 1) / 2
        return torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6)).to(inputs.dtype)

    def normalized(self, observations: Tensor) -> Tensor:
        """Return the observations in standard deviations from their mean, cut at 10 of them."""
        return self.observations.normalize(observations).clamp(-FARTHEST, FARTHEST)

    def state_features(self, observations: Tensor) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from observations (..., observation size)."""
        features: Tensor = self.state(self.normalized(observations))
        return features

    def decode(self, features: Tensor) -> Tensor:
        """Return normalised mean actions (..., action size) from the sum of both parts (..., hidden)."""
        actions: Tensor = self.output(torch.tanh(features))
        return actions

    def forward(self, observations: Tensor, codes: Tensor) -> Tensor:
        """Return mean actions in real units, (..., action size)."""
        return self.actions.restore(self.decode(self.state_features(observations) + self.code(self.code_inputs(codes))))
