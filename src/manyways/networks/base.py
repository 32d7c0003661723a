"""The base of all policy networks: normalisation, the encoder of observations, and the actions."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.networks.actions import make_actions
from manyways.networks.encoders import Encoder, encode, encoder_name, features_of, make_encoder
from manyways.networks.normalization import ObservationNormalizer

_OBSERVED_AT_ONCE = 2**24  # values in memory, where no gradients are needed; an encoder's layers take as much again


class ActionNetwork(nn.Module):
    """Maps a window of observations, and a code if the network has codes, to a chunk of actions.

    Inside, observations and actions are normalised; `act` takes and returns real units.

    Args:
        observation_space, action_space: of one step.
        encoder: from a normalised observation to features; see `networks.encoders`.
        window: how many observations are used, the current one included.
        chunk: how many actions are predicted for one window, beginning with that for its last observation.
        executed: how many of them are executed before the next chunk.
        seed: of the encoder's weights, where it is made here.
    """

    kind: ClassVar[str]
    # Any: PyTorch types the attributes of a module as a tensor or a module.
    actions: Any
    encoder: Any

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        encoder: Encoder = None,
        *,
        window: int = 1,
        chunk: int = 1,
        executed: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if executed > chunk:
            raise ValueError(f"{executed} actions cannot be executed of {chunk}")
        self.observation_space, self.action_space = observation_space, action_space
        self.window, self.chunk, self.executed = window, chunk, executed
        self.observations = ObservationNormalizer(observation_space)
        self.encoder = make_encoder(encoder, observation_space, seed)
        self.encoder_name = encoder_name(encoder)
        self.actions = make_actions(action_space)
        self.feature_size = features_of(self.encoder, observation_space)
        self._ndims = {name: len(box.shape) for name, box in entry_spaces(observation_space).items()}

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments than spaces, encoder and seed, by name."""

    @abstractmethod
    def act(self, windows: Any, codes: Tensor | None, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, executed, ...) in real units, within the demonstrated range.

        Args:
            windows: observations (n, window, ...), or a dictionary of such tensors.
            codes: (n, code size); None where there is no code.
            rng: of random actions; None takes the likeliest.
        """

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure on the demonstrations the normalisation, and whatever else gradient steps do not learn."""
        self.observations.fit(demonstrations.observations)
        self.actions.fit(demonstrations.actions)

    def initialize(self, generator: torch.Generator, small: bool = False) -> None:
        """Draw the weights and set the biases to 0; a user's encoder keeps its weights.

        Args:
            generator: of the weights.
            small: whether they are small, see `initialize_layers`.
        """
        if hasattr(self.encoder, "initialize"):
            self.encoder.initialize(generator)
        initialize_layers(self, generator, self.encoder, small)

    def at_once(self, most: int) -> int:
        """Return how many windows of observations to look at together: at most `most`, fewer where they are large."""
        return max(1, min(most, _OBSERVED_AT_ONCE // (self.window * sum(self.observations.sizes.values()))))

    def features(self, inputs: Any) -> Tensor:
        """Return features (..., features) of normalised observations (..., *shape)."""
        return encode(self.encoder, inputs, self._ndims)

    def matrices(self) -> list[Tensor]:
        """Return the weights between the inputs and the last layer, which Muon trains."""
        return linear_weights(self.encoder)


def initialize_layers(
    module: nn.Module, generator: torch.Generator, skip: nn.Module | None = None, small: bool = False
) -> None:
    """Draw the weights of linear layers, and set their biases to 0, except within `skip`.

    Args:
        module: with the layers.
        generator: of the weights.
        skip: a part that stays as it is.
        small: False for orthogonal weights with gain √2; True for uniform ones within ±1 / √inputs, with which a
            network starts as a smoother function and overfits a few noisy demonstrations less.
    """
    exceptions = set() if skip is None else set(skip.modules())
    for layer in module.modules():
        if not isinstance(layer, nn.Linear) or layer in exceptions:
            continue
        if small:
            bound = 1 / math.sqrt(max(1, layer.in_features))
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        else:
            nn.init.orthogonal_(layer.weight, math.sqrt(2), generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def linear_weights(module: nn.Module) -> list[Tensor]:
    """Return the weights of the linear layers in a module."""
    return [layer.weight for layer in module.modules() if isinstance(layer, nn.Linear)]


def choose(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Draw an index by each row of unnormalised log probabilities (n, choices), (n,)."""
    # The arg max after Gumbel noise is a draw from the softmax.
    return (logits + torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))).argmax(dim=1)
