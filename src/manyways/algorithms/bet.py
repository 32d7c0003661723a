"""BeT, behaviour transformer (Shafiullah et al. 2022): which bin of actions, and by how much to leave its centre.

    bins: k-means of all demonstrated actions
    last observations → causal transformer → for each bin a weight and an offset

Each step draws a bin by its weight and adds the bin's offset. Which way was taken is told by the observations that
the transformer sees. It is smaller than the paper's, two layers instead of four or six, and has no dropout, so that
3,000 iterations take about two minutes on one core. The paper's focal loss (γ = 2) flattens the weights by which bins
are drawn; cross-entropy is the default: in trials of 1,500 iterations on Circles, with layers over the window in the
transformer's place, it returned 977 instead of 946 (offsets weighed 10 instead of 100).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from manyways.algorithms.codeless import Codeless
from manyways.algorithms.mdn import choose
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.policies.codeless import CodelessNetwork

_ACTIONS_FOR_BINS = 20_000  # at most, drawn at random; more move the centres little


@dataclass(frozen=True, kw_only=True)
class BeT(Codeless):
    """Settings of BeT; `fit` runs it.

    Args:
        history: observations that are seen, the last included.
        bins: of the actions.
        layers, heads: of the transformer, whose width is `hidden`.
        focal: γ of the bins' focal loss, 2 in the paper; 0 is cross-entropy.
        offset_weight: of the offset's squared error, averaged over the normalised action's numbers.
        others: as in `Codeless`; `steps_per_batch` windows are drawn, and every step of a window is learned from.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str] = "bet"

    steps_per_batch: int = 48
    learning_rate: float = 2e-3
    history: int = 10
    bins: int = 64
    layers: int = 2
    heads: int = 4
    focal: float = 0.0
    offset_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("history", "bins", "layers", "heads")
        if self.hidden % self.heads:
            raise InputError(f"hidden is {self.hidden}; give a multiple of the {self.heads} heads")
        for setting in ("focal", "offset_weight"):
            if not 0 <= getattr(self, setting) < math.inf:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 0 or more")

    def network(self, observation_size: int, action_size: int) -> "BeTNetwork":
        """Return the network before training."""
        network = BeTNetwork(
            observation_size, action_size, self.history, self.bins, self.layers, self.heads, self.hidden
        )
        network.focal, network.offset_weight = self.focal, self.offset_weight
        return network


class BeTNetwork(CodelessNetwork):
    """A causal transformer from a window of observations to bins and offsets, at every step of the window.

    Args:
        observation_size, action_size: numbers in each.
        history: observations that are seen.
        bins: of the actions.
        layers, heads, hidden: of the transformer.
    """

    kind = BeT.name

    centres: Tensor  # (bins, action size), normalised; infinity where there are fewer different actions than bins

    def __init__(
        self, observation_size: int, action_size: int, history: int, bins: int, layers: int, heads: int, hidden: int
    ) -> None:
        super().__init__(observation_size, action_size, window=history)
        self.bins = bins
        self.heads = heads
        self.focal, self.offset_weight = BeT.focal, BeT.offset_weight  # of the loss alone
        self.register_buffer("centres", torch.zeros(bins, action_size))
        self.embedding = nn.Linear(observation_size, hidden)
        self.positions = nn.Parameter(torch.zeros(history, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 4 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.output = nn.Linear(hidden, bins * (1 + action_size))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(history), persistent=False)

    mask: Tensor  # (history, history), minus infinity where a step would see a later one

    def settings(self) -> dict[str, int]:
        """Return what the network is built from."""
        return {
            "history": self.window,
            "bins": self.bins,
            "layers": self.transformer.num_layers,
            "heads": self.heads,
            "hidden": self.output.in_features,
        }

    def matrices(self) -> list[Tensor]:
        """Return the weights of the embedding and of the transformer's layers."""
        return [self.embedding.weight, *(p for p in self.transformer.parameters() if p.ndim == 2)]

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights with gain 1, and small positions; set the biases to 0."""
        nn.init.normal_(self.positions, std=0.1, generator=generator)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2 and parameter is not self.positions:
                nn.init.orthogonal_(parameter, generator=generator)

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and find the bins by k-means."""
        super().fit(demonstrations, seed)
        rng = np.random.default_rng(seed)
        rows = rng.permutation(demonstrations.steps)[:_ACTIONS_FOR_BINS]
        actions = self.actions.normalize(torch.from_numpy(demonstrations.actions[rows])).numpy()
        clusters = min(self.bins, len(np.unique(actions, axis=0)))
        found = KMeans(clusters, n_init=1, random_state=seed).fit(actions.astype(np.float64)).cluster_centers_
        self.centres.fill_(math.inf)
        self.centres[:clusters] = torch.from_numpy(found)

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bins' logits (n, history, bins) and offsets (n, history, bins, action size)."""
        features = self.embedding(windows) + self.positions
        numbers = self.output(self.transformer(features, self.mask, is_causal=True))
        logits, offsets = numbers.split([self.bins, numbers.shape[2] - self.bins], dim=2)
        logits = logits.masked_fill(self.centres.isinf().any(dim=1), -math.inf)
        return logits, offsets.unflatten(2, (self.bins, -1))

    def losses(self, windows: Tensor, actions: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the focal loss of the bins, in nats, and the weighted squared error of the true bins' offsets."""
        logits, offsets = (numbers.flatten(0, 1) for numbers in self(windows))
        actions = actions.flatten(0, 1)
        # The other way of measuring, by products, subtracts infinities.
        distances = torch.cdist(actions, self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        bins = distances.argmin(dim=1)
        log_likelihood = -functional.cross_entropy(logits, bins, reduction="none")
        focal = -((1 - log_likelihood.exp()) ** self.focal * log_likelihood).mean()
        offset = offsets[torch.arange(len(bins)), bins]
        error = functional.mse_loss(offset, actions - self.centres[bins])
        return {"bins": focal, "offsets": self.offset_weight * error}

    def draw(self, windows: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return the centre and offset of a bin drawn by its weight; without `rng`, of the heaviest."""
        logits, offsets = (numbers[:, -1] for numbers in self(windows))
        bins = logits.argmax(dim=1) if rng is None else choose(logits, rng)
        return (self.centres[bins] + offsets[torch.arange(len(bins)), bins])[:, None]
