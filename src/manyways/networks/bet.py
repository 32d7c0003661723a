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
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor
from torch.nn import functional

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.sampling import some_rows
from manyways.demonstrations.windows import around
from manyways.networks.base import choose
from manyways.networks.chunks import ChunkNetwork
from manyways.networks.registry import register_network
from manyways.networks.transformer import TransformerNetwork

_CHUNKS = 20_000  # at most, drawn at random; more hardly change the centres


@register_network
class BeTNetwork(TransformerNetwork):
    """The weights of bins and an offset for each, at every step of the window; arguments as for the base class."""

    kind = "bet"

    centres: Tensor  # (bins, action size), normalised; infinity where there are fewer different actions than bins

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.focal, self.offset_weight = 0.0, 1.0  # of the loss alone
        self.register_buffer("centres", torch.zeros(self.bins, self.size))

    def outputs_for(self, bins: int) -> int:
        """Return how many numbers the last layer gives: a weight and an offset for each bin."""
        return bins * (1 + self.size)

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and find the bins by k-means."""
        super().fit(demonstrations, seed)
        chunks = demonstrated_chunks(self, demonstrations, np.random.default_rng(seed))
        clusters = min(self.bins, len(np.unique(chunks, axis=0)))
        centres = KMeans(clusters, n_init=1, random_state=seed).fit(chunks.astype(np.float64)).cluster_centers_
        self.centres.fill_(math.inf)
        self.centres[:clusters] = torch.from_numpy(centres)

    def forward(self, windows: Any) -> tuple[Tensor, Tensor]:
        """Return the bins' logits (n, window, bins) and offsets (n, window, bins, chunk * action size)."""
        outputs: Any = self.outputs(windows)  # whose `split` has no types
        logits, offsets = outputs.split([self.bins, outputs.shape[2] - self.bins], dim=2)
        logits = logits.masked_fill(self.centres.isinf().any(dim=1), -math.inf)
        return logits, offsets.unflatten(2, (self.bins, -1))

    def losses(
        self, windows: Any, actions: Tensor, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the focal loss of the bins, in nats, and the weighted squared error of the true bins' offsets."""
        logits, offsets = (outputs.flatten(0, 1) for outputs in self(windows))
        chunks, done = self.chunks(actions, known)
        bins = nearest(self.centres, chunks, done)
        offset = offsets[torch.arange(len(bins)), bins]
        error = (done * (offset - chunks + self.centres[bins]).square()).mean()
        return {"bins": focal_losses(logits, bins, self.focal).mean(), "offsets": self.offset_weight * error}

    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Return the centre plus the offset of a bin drawn by its weight; without `rng`, of the heaviest bin."""
        logits, offsets = (outputs[:, -1] for outputs in self(windows))
        bins = logits.argmax(dim=1) if rng is None else choose(logits, rng)
        chunks = self.centres[bins] + offsets[torch.arange(len(bins)), bins]
        return chunks.view(len(bins), self.chunk, -1)[:, : self.executed]


def demonstrated_chunks(
    network: ChunkNetwork, demonstrations: Demonstrations, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return normalised chunks that were demonstrated whole, (chunks, chunk * action size), 20,000 at most.

    Nobody knows what would come after an end. Where no trajectory is as long as a chunk, its last action is repeated.
    """
    rows = some_rows(rng, demonstrations.steps, _CHUNKS)
    planned = around(demonstrations, rows, 0, network.chunk - 1)
    whole = planned[:, -1] - planned[:, 0] == network.chunk - 1
    planned = planned[whole] if whole.any() else planned
    chunks: NDArray[np.float32] = (
        network.actions.targets(torch.from_numpy(demonstrations.actions[planned])).flatten(1).numpy()
    )
    return chunks


def nearest(centres: Tensor, chunks: Tensor, done: Tensor) -> Tensor:
    """Return the nearest centre of each chunk, (n,).

    Args:
        centres: (centres, chunk * action size); those at infinity are never the nearest.
        chunks: (n, chunk * action size).
        done: the same, 1 for actions that count, else 0.
    """
    exist = centres.isfinite().all(dim=1)
    centres = centres.masked_fill(~exist[:, None], 0)
    distances = done @ centres.square().T - 2 * (done * chunks) @ centres.T  # less what all have in common
    return distances.masked_fill(~exist, math.inf).argmin(dim=1)


def focal_losses(logits: Tensor, wanted: Tensor, focal: float) -> Tensor:
    """Return the focal losses (Lin et al. 2017) of these choices (n,), in nats; cross-entropy where `focal` is 0."""
    log_likelihood = -functional.cross_entropy(logits, wanted, reduction="none")
    return -((1 - log_likelihood.exp()) ** focal * log_likelihood)
