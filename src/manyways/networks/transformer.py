"""A causal transformer over a window of observations: what BeT and VQ-BeT have in common."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from manyways.demonstrations.spaces import Space
from manyways.networks.chunks import ChunkNetwork
from manyways.networks.encoders import Encoder


class TransformerNetwork(ChunkNetwork):
    """observations → encoder → Linear, plus a learned position → causal transformer → Linear, at every step.

    Args:
        observation_space, action_space: of one step.
        window, chunk, executed: as in `ActionNetwork`; what is predicted is a whole chunk.
        bins: kinds of chunks.
        layers, heads, hidden: of the transformer.
        encoder: from an observation to features.
        blocks: without effect; the layers are residual ones anyway.
        dropout: of the transformer.
        seed: of the encoder's weights, where it is made here.
    """

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
        super().__init__(
            observation_space, action_space, encoder, window=window, chunk=chunk, executed=executed, seed=seed
        )
        self.bins, self.heads = bins, heads
        self.size = chunk * self.actions.outputs  # of a chunk's actions
        self.embedding = nn.Linear(self.feature_size, hidden)
        self.positions = nn.Parameter(torch.zeros(window, hidden))
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 4 * hidden, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.output = nn.Linear(hidden, self.outputs_for(bins))

    @abstractmethod
    def outputs_for(self, bins: int) -> int:
        """Return how many numbers the last layer gives at a step."""

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

    def outputs(self, windows: Any) -> Tensor:
        """Return the last layer's numbers at every step of normalised windows, (n, window, outputs)."""
        features = self.embedding(self.features(windows)) + self.positions
        mask = nn.Transformer.generate_square_subsequent_mask(self.window, device=features.device)
        outputs: Tensor = self.output(self.transformer(features, mask, is_causal=True))
        return outputs

    def chunks(self, actions: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the chunk at every step of a window, (n * window, size), and 1 where its actions were done, else 0.

        The arguments are those of `losses`.
        """
        if known is None:
            known = torch.ones(actions.shape[:2], dtype=torch.bool, device=actions.device)
        chunks, done = (
            values.unfold(1, self.chunk, 1).mT.flatten(2).flatten(0, 1)
            for values in (actions, known[:, :, None].expand_as(actions).float())
        )
        return chunks, done
