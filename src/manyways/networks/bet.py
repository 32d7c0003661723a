"""BeT, behaviour transformer (Shafiullah et al. 2022): a bin of actions, and an offset from its centre.

    bins: k-means of all demonstrated actions
    last observations → causal transformer → for each bin a weight and an offset

Each step draws a bin by its weight and adds the bin's offset. The last observations tell the transformer which mode it
is in. It has two layers, the paper's four or six, and no dropout: 3,000 iterations take about two minutes on one core.
The paper's focal loss (γ = 2) flattens the weights of the bins, so cross-entropy is the default. In trials of 1,500
iterations on Circles, with layers over the window in the transformer's place, the return was 977 with cross-entropy and
946 with the focal loss (offsets weighed 10 and 100).
"""

import math
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.sampling import some_rows
from manyways.demonstrations.spaces import Space
from manyways.demonstrations.windows import around
from manyways.networks.actions import require_continuous
from manyways.networks.base import choose
from manyways.networks.chunks import ChunkNetwork
from manyways.networks.encoders import Encoder
from manyways.networks.registry import register_network

_ACTIONS_FOR_BINS = 20_000  # at most, drawn at random; more hardly change the centres


@register_network
class BeTNetwork(ChunkNetwork):
    """A causal transformer from a window of observations to bins and offsets, at every step of the window.

    Args:
        observation_space, action_space: of one step.
        window, chunk, executed: as in `ActionNetwork`; a bin is of whole chunks.
        bins: of the actions.
        layers, heads, hidden: of the transformer.
        encoder: from an observation to features.
        blocks: without effect; the layers are residual ones anyway.
        dropout: of the transformer.
        seed: of the encoder's weights, where it is made here.
    """

    kind = "bet"

    centres: Tensor  # (bins, action size), normalised; infinity where there are fewer different actions than bins

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        window: int,
        bins: int,
        layers: int,
        heads: int,
        hidden: int,
        encoder: Encoder = None,
        chunk: int = 1,
        executed: int = 1,
        blocks: int = 0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        require_continuous(action_space, "bet")
        super().__init__(
            observation_space, action_space, encoder, window=window, chunk=chunk, executed=executed, seed=seed
        )
        self.bins = bins
        self.heads = heads
        self.focal, self.offset_weight = 0.0, 1.0  # of the loss alone
        self.register_buffer("centres", torch.zeros(bins, chunk * self.actions.outputs))
        self.embedding = nn.Linear(self.feature_size, hidden)
        self.positions = nn.Parameter(torch.zeros(window, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 4 * hidden, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.output = nn.Linear(hidden, bins * (1 + chunk * self.actions.outputs))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments than spaces, encoder and seed."""
        return {
            "window": self.window,
            "chunk": self.chunk,
            "executed": self.executed,
            "bins": self.bins,
            "layers": self.transformer.num_layers,
            "heads": self.heads,
            "hidden": self.output.in_features,
        }

    def matrices(self) -> list[Tensor]:
        """Return the weights of the encoder, the embedding and the transformer's layers."""
        return [*super().matrices(), self.embedding.weight, *(p for p in self.transformer.parameters() if p.ndim == 2)]

    def initialize(self, generator: torch.Generator, small: bool = False) -> None:
        """Draw orthogonal weights with gain 1, and small positions; set the biases to 0; `small` is without effect."""
        nn.init.normal_(self.positions, std=0.1, generator=generator)
        if hasattr(self.encoder, "initialize"):
            self.encoder.initialize(generator)
        for name, parameter in self.named_parameters():
            if name.startswith("encoder."):
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2 and parameter is not self.positions:
                nn.init.orthogonal_(parameter, generator=generator)

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and find the bins by k-means."""
        super().fit(demonstrations, seed)
        rng = np.random.default_rng(seed)
        rows = some_rows(rng, demonstrations.steps, _ACTIONS_FOR_BINS)
        planned = around(demonstrations, rows, 0, self.chunk - 1)
        whole = planned[:, -1] - planned[:, 0] == self.chunk - 1  # nobody knows what would come after an end
        planned = planned[whole] if whole.any() else planned
        actions = self.actions.targets(torch.from_numpy(demonstrations.actions[planned])).flatten(1).numpy()
        clusters = min(self.bins, len(np.unique(actions, axis=0)))
        centres = KMeans(clusters, n_init=1, random_state=seed).fit(actions.astype(np.float64)).cluster_centers_
        self.centres.fill_(math.inf)
        self.centres[:clusters] = torch.from_numpy(centres)

    def forward(self, windows: Any) -> tuple[Tensor, Tensor]:
        """Return the bins' logits (n, window, bins) and offsets (n, window, bins, chunk * action size)."""
        features = self.embedding(self.features(windows)) + self.positions
        mask = nn.Transformer.generate_square_subsequent_mask(self.window, device=features.device)
        outputs = self.output(self.transformer(features, mask, is_causal=True))
        logits, offsets = outputs.split([self.bins, outputs.shape[2] - self.bins], dim=2)
        logits = logits.masked_fill(self.centres.isinf().any(dim=1), -math.inf)
        return logits, offsets.unflatten(2, (self.bins, -1))

    def losses(
        self, windows: Any, actions: Tensor, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the focal loss of the bins, in nats, and the weighted squared error of the true bins' offsets."""
        logits, offsets = (outputs.flatten(0, 1) for outputs in self(windows))
        if known is None:
            known = torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device)
        actions, counted = (  # (n * window, chunk * action size)
            values.unfold(1, self.chunk, 1).mT.flatten(2).flatten(0, 1)
            for values in (actions, known[:, :, None].expand_as(actions).float())
        )
        bins = self.nearest(actions, counted)
        log_likelihood = -functional.cross_entropy(logits, bins, reduction="none")
        focal = -((1 - log_likelihood.exp()) ** self.focal * log_likelihood).mean()
        offset = offsets[torch.arange(len(bins)), bins]
        error = (counted * (offset - actions + self.centres[bins]).square()).mean()
        return {"bins": focal, "offsets": self.offset_weight * error}

    def nearest(self, chunks: Tensor, counted: Tensor) -> Tensor:
        """Return the nearest bin of each chunk (n, chunk * action size), (n,); `counted` is 0 where none is known."""
        exist = self.centres.isfinite().all(dim=1)
        centres = self.centres.masked_fill(~exist[:, None], 0)
        distances = counted @ centres.square().T - 2 * (counted * chunks) @ centres.T  # less what all have in common
        return distances.masked_fill(~exist, math.inf).argmin(dim=1)

    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Return the centre plus the offset of a bin drawn by its weight; without `rng`, of the heaviest bin."""
        logits, offsets = (outputs[:, -1] for outputs in self(windows))
        bins = logits.argmax(dim=1) if rng is None else choose(logits, rng)
        chunks = self.centres[bins] + offsets[torch.arange(len(bins)), bins]
        return chunks.view(len(bins), self.chunk, -1)[:, : self.executed]
