"""The network of Figure 8a, that of every policy with codes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.demonstrations.spaces import Space
from manyways.networks.actions import ContinuousActions
from manyways.networks.base import ActionNetwork, linear_weights
from manyways.networks.encoders import Encoder, Flat
from manyways.networks.normalization import FARTHEST

LARGEST_INPUT = math.sqrt(3)  # of the code's layer, for continuous codes

Floats = NDArray[np.floating[Any]]


class PolicyNetwork(ActionNetwork):
    """Figure 8a: the state and the code each pass their own layers; their sum gives the mean action.

    observation → encoder → Linear → tanh → Linear ─┐
                                                    + → tanh → Linear → mean action, or logits of choices
    code        → Linear ───────────────────────────┘

    Because of the sum, a search computes the state's part once for all codes. The paper has no encoder.

    Args:
        observation_space, action_space: of one step.
        code_size: dimensions of a code; 0 for none.
        hidden: width of the layers.
        continuous: whether codes are standard normal rather than one-hot.
        encoder: from an observation to features.
        seed: of the encoder's weights, where it is made here.
    """

    kind = "coded"

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        code_size: int,
        hidden: int = 128,
        continuous: bool = False,
        encoder: Encoder = None,
        seed: int = 0,
    ) -> None:
        super().__init__(observation_space, action_space, encoder, seed=seed)
        self.continuous = continuous
        self.state = nn.Sequential(nn.Linear(self.feature_size, hidden), nn.Tanh(), nn.Linear(hidden, hidden))
        self.code = nn.Linear(code_size, hidden)
        self.output = nn.Linear(hidden, self.actions.outputs)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments than spaces, encoder, seed and those of the prior."""
        return {"hidden": self.output.in_features}

    def matrices(self) -> list[Tensor]:
        """Return the weights of the encoder's and the state's linear layers."""
        return [*super().matrices(), *linear_weights(self.state)]

    def code_inputs(self, codes: Tensor) -> Tensor:
        """Return the inputs of the code's layer, (..., code size): discrete codes themselves, or by the CDF.

        The prior's CDF of each dimension, shifted and scaled to ±√3, is uniform with variance 1. So equal steps are
        equal shares of the prior, no code lies outside the trained range, and a range of modes has ends.
        """
        return LARGEST_INPUT * (2 * torch.special.ndtr(codes) - 1) if self.continuous else codes

    def codes_of(self, inputs: Tensor) -> Tensor:
        """Return the codes of these inputs, (..., code size): the inverse of `code_inputs`."""
        if not self.continuous:
            return inputs
        shares = (inputs.double() / LARGEST_INPUT + 1) / 2
        return torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6)).to(inputs.dtype)

    def state_features(self, observations: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from raw observations (..., *shape)."""
        return self.state_part(self.observations(observations))

    def state_part(self, inputs: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from normalised observations."""
        features: Tensor = self.state(self.features(inputs))
        return features

    def decode(self, sums: Tensor) -> Tensor:
        """Return outputs (..., outputs) for `self.actions`, from the sum of both parts (..., hidden)."""
        outputs: Tensor = self.output(torch.tanh(sums))
        return outputs

    def forward(self, observations: Any, codes: Tensor) -> Tensor:
        """Return outputs (..., outputs) for raw observations and codes (..., code size)."""
        return self.decode(self.state_features(observations) + self.code(self.code_inputs(codes)))

    def act(self, windows: Any, codes: Tensor | None, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, 1, ...)."""
        assert codes is not None
        return self.actions.actions(self(windows, codes[:, None]), rng)

    def in_numpy(self) -> "Callable[[Floats, Floats], Floats] | None":
        """Return a function from flat observations (n, size) and codes (n, code size) to mean actions, in NumPy.

        For a few rows NumPy takes a fifth of PyTorch's time. None if actions are choices, or there is an encoder.
        """
        actions = self.actions
        if not (isinstance(self.encoder, Flat) and self.encoder.alone and isinstance(actions, ContinuousActions)):
            return None
        layers: Any = (self.state[0], self.state[2], self.code, self.output)
        (w1, b1), (w2, b2), (w_code, b_code), (w3, b3) = (
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy()) for layer in layers
        )
        moments = self.observations.part()
        mean, scale = moments.mean.numpy(), moments.scale.numpy()
        single = mean.astype(np.float32)
        low, high, bias = actions.low.numpy(), actions.high.numpy(), b2 + b_code
        w3, b3 = w3 * actions.std.numpy(), b3 * actions.std.numpy() + actions.mean.float().numpy()
        code_inputs = self.code_inputs

        def act(observations: Floats, codes: Floats) -> Floats:
            centred = observations - (single if observations.dtype == np.float32 else mean)
            inputs = (centred.astype(np.float32) * scale).clip(-FARTHEST, FARTHEST)
            if self.continuous:
                codes = code_inputs(torch.from_numpy(codes)).numpy()
            sums = np.tanh(inputs @ w1 + b1) @ w2 + codes @ w_code + bias
            result: Floats = (np.tanh(sums) @ w3 + b3).clip(low, high)
            return result

        return act
