"""The network of Figure 8a: what SOG searches, and what every policy with a code is."""

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
    """Figure 8a: the state and the code go through layers of their own, are added, and give the mean action.

    observation → encoder → Linear → tanh → Linear ─┐
                                                    + → tanh → Linear → mean action, or logits of choices
    code        → Linear ───────────────────────────┘

    The sum is what lets a search compute the state's part once for all codes. The paper has no encoder.

    Args:
        observation_space, action_space: of one step.
        code_size: numbers in a code; 0 for none.
        hidden: width of the layers.
        continuous: whether codes are standard normal numbers rather than one-hot.
        encoder: what makes features of an observation.
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
        """Return what the network is built from beside spaces, encoder and prior."""
        return {"hidden": self.output.in_features}

    def matrices(self) -> list[Tensor]:
        """Return the weights of the encoder's and the state's linear layers."""
        return [*super().matrices(), *linear_weights(self.state)]

    def code_inputs(self, codes: Tensor) -> Tensor:
        """Return what the code's layer takes, (..., code size): discrete codes as they are, continuous ones by the CDF.

        The prior's CDF of each number, shifted and scaled to ±√3, is uniform with variance 1. So equal steps are equal
        shares of the prior, no code is beyond what was trained, and a range of modes has ends.
        """
        return LARGEST_INPUT * (2 * torch.special.ndtr(codes) - 1) if self.continuous else codes

    def codes_of(self, inputs: Tensor) -> Tensor:
        """Return the codes of which `code_inputs` makes these inputs, (..., code size)."""
        if not self.continuous:
            return inputs
        shares = (inputs.double() / LARGEST_INPUT + 1) / 2
        return torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6)).to(inputs.dtype)

    def state_features(self, observations: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from raw observations (..., *shape)."""
        return self.state_part(self.observations(observations))

    def state_part(self, inputs: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from normalised observations."""
        features: Tensor = self.state(self.encoded(inputs))
        return features

    def decode(self, sums: Tensor) -> Tensor:
        """Return outputs (..., outputs) from the sum of both parts (..., hidden): see `actions` for what they mean."""
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
        """Return what gives mean actions of a few flat observations (n, size) and codes (n, code size) in NumPy.

        A call of NumPy costs a fifth of one of PyTorch. None where actions are choices, or there is an encoder.
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
