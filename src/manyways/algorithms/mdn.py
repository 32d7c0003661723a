"""MDN, behaviour cloning with a mixture density network (Bishop 1994): at every step a mixture of Gaussians.

    observation → Linear → tanh → Linear → tanh → Linear → weight, mean and σ of every component

Each step draws a component and from it the action, so that different ways need not be averaged; nothing but the
observation tells the next step which way was taken.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manyways.algorithms.codeless import Codeless
from manyways.policies.codeless import CodelessNetwork

_LEAST_STD = 0.01  # of a component, in standard deviations of the action: demonstrations may have no noise at all
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class MDN(Codeless):
    """Settings of MDN; `fit` runs it.

    Args:
        components: Gaussians in the mixture.
        others: as in `Codeless`.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str] = "mdn"

    steps_per_batch: int = 4096
    learning_rate: float = 1e-2
    components: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("components")

    def network(self, observation_size: int, action_size: int) -> "MDNNetwork":
        """Return the network before training."""
        return MDNNetwork(observation_size, action_size, self.components, self.hidden)


class MDNNetwork(CodelessNetwork):
    """A mixture of diagonal Gaussians over the normalised action, given the observation.

    Args:
        observation_size, action_size: numbers in each.
        components: Gaussians in the mixture.
        hidden: width of the layers.
    """

    kind = MDN.name

    def __init__(self, observation_size: int, action_size: int, components: int, hidden: int) -> None:
        super().__init__(observation_size, action_size)
        self.components = components
        self.trunk = nn.Sequential(nn.Linear(observation_size, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, components * (1 + 2 * action_size))

    def settings(self) -> dict[str, int]:
        """Return what the network is built from."""
        return {"components": self.components, "hidden": self.head.in_features}

    def matrices(self) -> list[Tensor]:
        """Return the weights of the trunk."""
        return [layer.weight for layer in self.trunk if isinstance(layer, nn.Linear)]

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights, and means that differ even where the observation tells nothing."""
        super().initialize(generator)
        with torch.no_grad():
            means = self.head.bias[self.components :].view(self.components, 2, -1)[:, 0]
            means.normal_(generator=generator)

    def mixture(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log weights (n, components), and means and σ (n, components, action size)."""
        numbers = self.head(self.trunk(windows[:, -1]))
        logits, rest = numbers.split([self.components, numbers.shape[1] - self.components], dim=1)
        means, scales = rest.unflatten(1, (self.components, 2, -1)).unbind(dim=2)
        return logits.log_softmax(dim=1), means, functional.softplus(scales) + _LEAST_STD

    def losses(self, windows: Tensor, actions: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean negative log likelihood of the normalised actions, in nats."""
        weights, means, stds = self.mixture(windows)
        densities = -0.5 * ((actions - means) / stds).square() - stds.log() - _LOG_SQRT_2PI
        return {"likelihood": -torch.logsumexp(weights + densities.sum(dim=2), dim=1).mean()}

    def draw(self, windows: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return an action of a component drawn by its weight; without `rng`, the mean of the heaviest."""
        weights, means, stds = self.mixture(windows)
        if rng is None:
            return means[torch.arange(len(means)), weights.argmax(dim=1)][:, None]
        component = choose(weights, rng)
        noise = torch.from_numpy(rng.standard_normal((len(means), means.shape[2]), dtype=np.float32))
        rows = torch.arange(len(means))
        return (means[rows, component] + stds[rows, component] * noise)[:, None]


def choose(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Return for each row of unnormalised log probabilities (n, choices) an index drawn by them, (n,)."""
    # Whatever is greatest after Gumbel noise is drawn by the softmax.
    return (logits + torch.from_numpy(rng.gumbel(size=tuple(logits.shape)))).argmax(dim=1)
