"""The policy and the value network that PPO trains, with the encoder slot in both."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.networks.encoders import Encoder, encode, features_of, make_encoder
from manyways.networks.policy_network import PolicyNetwork

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class ActorCritic(nn.Module):
    """Figure 8's policy with free standard deviations, and a value network that takes the code too.

    Inner units of actions are half the action range, around its centre.

    Args:
        observation_space, action_space: of one step; the action is a vector.
        code_size: dimensions of a code; 0 for none.
        hidden: width of the layers.
        log_std: of the action noise at the start.
        encoder: from an observation to features; policy and value network have one each.
        seed: of the encoders' weights, where they are made here.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        code_size: int,
        hidden: int = 128,
        log_std: float = 0.0,
        encoder: Encoder = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with warnings.catch_warnings():  # without a code its layer has a bias alone, of which PyTorch warns
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            self.actor = PolicyNetwork(observation_space, action_space, code_size, hidden, False, encoder, seed)
        self.log_std = nn.Parameter(torch.full((self.actor.actions.outputs,), log_std))
        self.value_encoder: Any = make_encoder(encoder, observation_space, seed)
        self._ndims = {name: len(box.shape) for name, box in entry_spaces(observation_space).items()}
        self.critic = nn.Sequential(
            nn.Linear(features_of(self.value_encoder, observation_space) + code_size, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, 1),
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights; the policy's last layer gets small ones, so that first actions are noise."""
        self.actor.initialize(generator)
        if hasattr(self.value_encoder, "initialize"):
            self.value_encoder.initialize(generator)
        for layer in self.critic:
            if isinstance(layer, nn.Linear):
                gain = 1.0 if layer is self.critic[-1] else math.sqrt(2)
                nn.init.orthogonal_(layer.weight, gain, generator=generator)
                nn.init.zeros_(layer.bias)
        nn.init.orthogonal_(self.actor.output.weight, 0.01, generator=generator)

    def means(self, inputs: Any, codes: Tensor) -> Tensor:
        """Return mean actions in inner units from normalised observations."""
        return self.actor.decode(self.actor.state_part(inputs) + self.actor.code(codes))

    def values(self, inputs: Any, codes: Tensor) -> Tensor:
        """Return the value of each normalised observation, in units of the running scale of rewards."""
        features = encode(self.value_encoder, inputs, self._ndims)
        value: Tensor = self.critic(torch.cat([features, codes], dim=-1)).squeeze(-1)
        return value

    def log_probabilities(self, actions: Tensor, means: Tensor) -> Tensor:
        """Return the log-density of actions in inner units around their means, (...)."""
        deviations = (actions - means) * torch.exp(-self.log_std)
        return -0.5 * deviations.square().sum(-1) - self.log_std.sum() - _LOG_SQRT_2PI * actions.shape[-1]

    def entropy(self) -> Tensor:
        """Return the entropy of the action noise, in nats and inner units."""
        return self.log_std.sum() + (0.5 + _LOG_SQRT_2PI) * len(self.log_std)
