"""VQ-BeT, vector-quantised behaviour transformer (Lee et al. 2024): two codes of a plan, and an offset.

    plan → encoder → the nearest entry of a codebook → and of another, for what is left → their sum → decoder → plan
    last observations → causal transformer → weights of the first codes; of the second ones, given the first; offsets

The autoencoder learns the demonstrated plans before all else, and then stays as it is. Each plan draws a first code and
a second one by their weights, and adds an offset for each to the decoded plan. Unlike in the paper, the second code's
weights depend on the first code, so both losses count alike: their sum is the likelihood of the pair. The offsets are
learned for the true codes and not for drawn ones, errors are squared, and cross-entropy is the default, as for BeT.
"""

from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn import functional

from manyways.demonstrations import Demonstrations
from manyways.networks.base import choose
from manyways.networks.bet import demonstrated_chunks, focal_losses, nearest
from manyways.networks.registry import register_network
from manyways.networks.transformer import TransformerNetwork

_LEVELS = 2
_WIDTH, _LATENT = 128, 16  # of the autoencoder
_STEPS, _UNQUANTISED = 1500, 300  # gradient steps; of these, the first ones without codes
_BATCH, _RATE = 256, 1e-3
_COMMITMENT = 0.25  # weight of the encoder's distance to its codes (van den Oord et al. 2017)


class ResidualQuantizer(nn.Module):
    """An autoencoder of chunks by two codes, the second for what the first leaves.

    Args:
        size: of a chunk, its actions side by side.
        codes: in each codebook.
    """

    def __init__(self, size: int, codes: int) -> None:
        super().__init__()
        self.encoder = _layers(size, _LATENT)
        self.decoder = _layers(_LATENT, size)
        self.codebooks = nn.Parameter(torch.zeros(_LEVELS, codes, _LATENT))
        self.requires_grad_(False)  # but in `learn`

    def forward(self, chunks: Tensor, done: Tensor) -> Tensor:
        """Return the codes of chunks (n, size) whose decoded chunks are nearest, (n, levels).

        Only actions that were done count: `done` (n, size) is 1 there, else 0.
        """
        codes = self.codebooks.shape[1]
        every = torch.cartesian_prod(*[torch.arange(codes, device=chunks.device)] * _LEVELS)
        return every[nearest(self.decode(every), chunks, done)]

    def decode(self, codes: Tensor) -> Tensor:
        """Return the chunks of codes (n, levels), (n, size)."""
        chunks: Tensor = self.decoder(self._entries(codes).sum(dim=1))
        return chunks

    def _nearest(self, latents: Tensor) -> Tensor:
        found, left = [], latents
        for entries in self.codebooks:
            found.append(torch.cdist(left, entries).argmin(dim=1))
            left = left - entries[found[-1]]
        return torch.stack(found, dim=1)

    def _entries(self, codes: Tensor) -> Tensor:
        """Return the codebooks' entries, (n, levels, latent size)."""
        return torch.stack([entries[codes[:, level]] for level, entries in enumerate(self.codebooks)], dim=1)

    def learn(self, chunks: Tensor, seed: int) -> None:
        """Learn to reconstruct chunks (n, size); first without codes, which then start from k-means."""
        generator = torch.Generator().manual_seed(seed)
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), _RATE)
        for number in range(_STEPS):
            if number == _UNQUANTISED:
                self._start_codes(chunks, seed)
            batch = chunks[torch.randint(len(chunks), (_BATCH,), generator=generator)]
            latents = self.encoder(batch)
            loss = latents.new_zeros(())
            if number >= _UNQUANTISED:
                entries = self._entries(self._nearest(latents.detach()))
                quantised = entries.sum(dim=1)
                # Each entry moves toward what the entries before it leave.
                before = (entries.cumsum(dim=1) - entries).detach()
                loss = functional.mse_loss(entries + before, latents.detach()[:, None].expand_as(entries))
                loss = loss + _COMMITMENT * functional.mse_loss(latents, quantised.detach())
                latents = latents + (quantised - latents).detach()
            loss = loss + functional.mse_loss(self.decoder(latents), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.requires_grad_(False)

    @torch.no_grad()
    def _start_codes(self, chunks: Tensor, seed: int) -> None:
        left = self.encoder(chunks)
        for entries in self.codebooks:
            clusters = min(len(entries), len(left.unique(dim=0)))
            found = KMeans(clusters, n_init=1, random_state=seed).fit(left.double().numpy())
            centres = torch.from_numpy(found.cluster_centers_).float()
            entries.copy_(centres[torch.arange(len(entries)) % clusters])  # the first of equal ones is the nearest
            left = left - centres[torch.from_numpy(found.labels_).long()]


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    hidden = (nn.Linear(inputs, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, _WIDTH), nn.SiLU())
    return nn.Sequential(*hidden, nn.Linear(_WIDTH, outputs))


@register_network
class VQBeTNetwork(TransformerNetwork):
    """The weights of both codes and their offsets, at every step of the window.

    Arguments as for the base class; `bins` are the codes of each level.
    """

    kind = "vq-bet"

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.focal, self.offset_weight = 0.0, 1.0  # of the loss alone
        self.quantizer = ResidualQuantizer(self.size, self.bins)

    def outputs_for(self, bins: int) -> int:
        """Return how many numbers the last layer gives: weights of the codes, and an offset for each."""
        return bins + bins**2 + _LEVELS * bins * self.size

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and learn the autoencoder."""
        super().fit(demonstrations, seed)
        chunks = demonstrated_chunks(self, demonstrations, np.random.default_rng(seed))
        self.quantizer.learn(torch.from_numpy(chunks), seed)

    def forward(self, windows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the transformer says at every step of a window.

        Returns:
            Logits of the first code (n, window, bins), of the second given the first (n, window, bins, bins), and
            offsets (n, window, levels, bins, chunk * action size).
        """
        outputs: Any = self.outputs(windows)  # whose `split` has no types
        bins = self.bins
        first, second, offsets = outputs.split([bins, bins**2, _LEVELS * bins * self.size], dim=2)
        return first, second.unflatten(2, (bins, bins)), offsets.unflatten(2, (_LEVELS, bins, self.size))

    def losses(
        self, windows: Any, actions: Tensor, generator: torch.Generator, known: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the focal losses of both codes, in nats, and the weighted squared error of the plan."""
        first, second, offsets = (outputs.flatten(0, 1) for outputs in self(windows))
        chunks, done = self.chunks(actions, known)
        with torch.no_grad():
            codes = self.quantizer(chunks, done)
        given = second[torch.arange(len(codes)), codes[:, 0]]
        error = (done * (self._plans(codes, offsets) - chunks).square()).mean()
        return {
            "first": focal_losses(first, codes[:, 0], self.focal).mean(),
            "second": focal_losses(given, codes[:, 1], self.focal).mean(),
            "offsets": self.offset_weight * error,
        }

    def _plans(self, codes: Tensor, offsets: Tensor) -> Tensor:
        """Return the decoded plans of codes (n, levels), plus their offsets, (n, chunk * action size)."""
        own = offsets[torch.arange(len(codes))[:, None], torch.arange(_LEVELS), codes]
        return self.quantizer.decode(codes) + own.sum(dim=1)

    def draw(self, windows: Any, rng: np.random.Generator | None) -> Tensor:
        """Return the plan of codes drawn by their weights; without `rng`, of the heaviest ones."""
        first, second, offsets = (outputs[:, -1] for outputs in self(windows))
        codes = [first.argmax(dim=1) if rng is None else choose(first, rng)]
        given = second[torch.arange(len(first)), codes[0]]
        codes.append(given.argmax(dim=1) if rng is None else choose(given, rng))
        plans = self._plans(torch.stack(codes, dim=1), offsets)
        return plans.view(len(plans), self.chunk, -1)[:, : self.executed]
