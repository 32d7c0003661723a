"""MDN, behaviour cloning with a mixture density network (Bishop 1994): at every step a mixture of Gaussians.

    observation → encoder → Linear → tanh → Linear → tanh → Linear → weight, mean and σ of every component

Each step draws a component, and from it the action, so modes are not averaged. The next step does not know the mode of
the last one, except from the observation. If actions are choices, a component is a distribution over them.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manyways.demonstrations.spaces import Space
from manyways.networks.base import choose, linear_weights
from manyways.networks.chunks import ChunkNetwork
from manyways.networks.encoders import Encoder
from manyways.networks.registry import register_network
from manyways.networks.residual import state_layers

_LEAST_STD = 0.01  # of a component, in standard deviations of the action, since demonstrations may have no noise
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@register_network
class MDNNetwork(ChunkNetwork):
    """A mixture over the normalised action, given the observation: of diagonal Gaussians, or of choices.

    Args:
        observation_space, action_space: of one step.
        components: of the mixture.
        hidden: width of the layers.
        encoder: from an observation to features.
        window, chunk, executed: as in `ActionNetwork`; a component is a distribution of the whole chunk.
        blocks, dropout: as in `PolicyNetwork`.
        seed: of the encoder's weights, where it is made here.
    """

    kind = "mdn"

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        components: int,
        hidden: int,
        encoder: Encoder = None,
        window: int = 1,
        chunk: int = 1,
        executed: int = 1,
        blocks: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            observation_space, action_space, encoder, window=window, chunk=chunk, executed=executed, seed=seed
        )
        self.components, self.blocks = components, blocks
        self.trunk = state_layers(window * self.feature_size, hidden, blocks, dropout).append(nn.Tanh())
        self.parts = 1 if self.actions.discrete else 2  # logits, or means and scales
        self.head = nn.Linear(hidden, components * (1 + self.parts * chunk * self.actions.outputs))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments than spaces, encoder and seed."""
        return {"components": self.components, "hidden": self.head.in_features} | self.window_settings()

    def matrices(self) -> list[Tensor]:
        """Return the weights of the encoder and the trunk."""
        return [*super().matrices(), *linear_weights(self.trunk)]

    def initialize(self, generator: torch.Generator, small: bool = False) -> None:
        """Draw the weights, and biases that make the components' means differ."""
        super().initialize(generator, small)
        with torch.no_grad():
            means = self.head.bias[self.components :].view(self.components, self.parts, -1)[:, 0]
            means.normal_(generator=generator)

    def mixture(self, windows: Any) -> tuple[Tensor, Tensor]:
        """Return log weights (n, components), and the components' parameters (n, components, parts, chunk, outputs)."""
        outputs = self.head(self.trunk(self.features(windows).flatten(1)))
        logits, rest = outputs.split([self.components, outputs.shape[1] - self.components], dim=1)
        return logits.log_softmax(dim=1), rest.unflatten(1, (self.components, self.parts, self.chunk, -1))

    def losses(
        self, windows: Any, actions: Tensor, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the mean negative log likelihood of the normalised actions, in nats."""
        weights, components = self.mixture(windows)
        targets = actions[:, None, -self.chunk :]  # (n, 1, chunk, ...)
        if self.actions.discrete:
            targets = targets.expand(-1, self.components, -1, -1)
            likelihoods = -self.actions.errors(components[:, :, 0], targets)  # (n, components, chunk)
        else:
            means, stds = components[:, :, 0], functional.softplus(components[:, :, 1]) + _LEAST_STD
            densities = -0.5 * ((targets - means) / stds).square() - stds.log() - _LOG_SQRT_2PI
            likelihoods = densities.sum(dim=3)
        if known is not None:
            likelihoods = likelihoods * known[:, None, -self.chunk :]
        return {"likelihood": -torch.logsumexp(weights + likelihoods.sum(dim=2), dim=1).mean()}

    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Draw outputs from a component drawn by its weight; without `rng`, return the heaviest component's mode."""
        weights, components = self.mixture(windows)
        rows = torch.arange(len(weights))
        component = weights.argmax(dim=1) if rng is None else choose(weights, rng)
        parameters = components[rows, component][:, :, : self.executed]  # (n, parts, executed, outputs)
        outputs = parameters[:, 0]
        if rng is not None and self.actions.discrete:
            outputs = outputs + torch.from_numpy(rng.gumbel(size=tuple(outputs.shape)).astype(np.float32))
        elif rng is not None:
            noise = torch.from_numpy(rng.standard_normal(tuple(outputs.shape), dtype=np.float32))
            outputs = outputs + (functional.softplus(parameters[:, 1]) + _LEAST_STD) * noise
        return outputs
