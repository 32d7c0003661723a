"""From a network's outputs to actions: real numbers with a squared error, or choices with a cross-entropy."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.demonstrations.columns import limits
from manyways.demonstrations.spaces import Space, choices_of
from manyways.demonstrations.stored import blocks
from manyways.errors import InputError
from manyways.networks.normalization import Normalizer


class ContinuousActions(Normalizer):
    """Actions of real numbers: the output is the normalised action, the error is squared (Equation 2).

    A dimension with two values in the demonstrations, such as a gripper's, is a switch: an action has the nearer value.

    Args:
        size: dimensions of an action.
        chunk: actions that are predicted together, (..., chunk, size); for 1 just (..., size).
        dtype: of actions in real units: double precision where single is too coarse for them.
    """

    noise: Tensor  # σ of Equation 2 for each dimension, in real units
    low: Tensor  # the range of the demonstrated actions
    high: Tensor
    switches: Tensor  # which dimensions have two values
    discrete = False

    def __init__(self, size: int, chunk: int = 1, dtype: torch.dtype = torch.float32) -> None:
        super().__init__((size,))
        self.size, self.chunk, self.dtype = size, chunk, dtype
        self.outputs = chunk * size
        self.register_buffer("switches", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("noise", torch.zeros(size))
        self.register_buffer("low", torch.full((size,), -math.inf, dtype=dtype))
        self.register_buffer("high", torch.full((size,), math.inf, dtype=dtype))

    def fit(self, values: NDArray[Any]) -> None:
        """Measure the moments and the range of actions (steps, size)."""
        super().fit(values)
        low, high = limits(values)
        self.low.copy_(torch.from_numpy(low))
        self.high.copy_(torch.from_numpy(high))
        two = [((block == low) | (block == high)).all(axis=0) for _, block in blocks(values)]
        self.switches.copy_(torch.from_numpy(np.logical_and.reduce(two)) & (self.std > 0))

    def restore(self, values: Tensor) -> Tensor:
        """Return actions in real units, (..., size)."""
        return super().restore(values.to(self.dtype))

    def targets(self, actions: Tensor) -> Tensor:
        """Return the loss's targets: the normalised actions, (..., outputs)."""
        normalized = self.normalize(actions)
        return normalized if self.chunk == 1 else normalized.flatten(-2)

    def errors(self, outputs: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the squared error, summed over the dimensions of the normalised action, the mean of a chunk, (...).

        Of a chunk's actions, (..., chunk), those that are not known have no error.
        """
        squares = (outputs - targets).square()
        if known is not None:
            squares = squares * known.repeat_interleave(self.size, dim=-1)
        return squares.sum(dim=-1) / self.chunk

    def pair_errors(self, products: Tensor, bias: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the errors of steps under codes, (..., codes), in place of `products`.

        Args:
            products: (outputs, ..., codes), the outputs less the last layer's bias.
            bias: (outputs,).
            targets: (..., outputs).
            known: (..., chunk), as for `errors`.
        """
        shifted = (targets - bias).movedim(-1, 0)[..., None]
        squares = products.sub_(shifted).square_()
        if known is not None:
            squares.mul_(known.repeat_interleave(self.size, dim=-1).movedim(-1, 0)[..., None])
        return squares.sum(dim=0) / self.chunk

    def variance(self, loss: Any) -> Any:
        """Return σ² of one dimension of the normalised action, if the mean error is `loss`."""
        return loss / self.size

    def actions(self, outputs: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Return actions in real units within the demonstrated range, (..., [chunk,] size).

        With `rng`, noise of size σ is added.
        """
        values = self.restore(
            outputs if self.chunk == 1 else outputs.reshape(*outputs.shape[:-1], self.chunk, self.size)
        )
        if rng is not None:
            values = values + self.noise * torch.from_numpy(rng.standard_normal(values.shape, dtype=np.float32))
        values = values.clamp(self.low, self.high)
        nearer = torch.where(values < (self.low + self.high) / 2, self.low, self.high)
        return torch.where(self.switches, nearer, values)

    @property
    def uninformed_error(self) -> float:
        """The mean error of predicting the mean: the number of action dimensions that vary."""
        return float((self.std > 0).sum())


class DiscreteActions(nn.Module):
    """Choices: an output is the logit of a choice, part after part; the error is the cross-entropy in nats.

    Args:
        choices: (parts,), how many each part of an action has.
        single: whether an action is one whole number rather than an array of parts.
        chunk: actions that are predicted together, (..., chunk[, parts]); for 1 just (...[, parts]).
    """

    frequencies: Tensor  # of the demonstrated choices, in the order of the outputs
    discrete = True

    def __init__(self, choices: NDArray[np.int64], single: bool, chunk: int = 1) -> None:
        super().__init__()
        self.size, self.chunk = int(sum(choices)), chunk
        self.choices = [int(count) for count in choices] * chunk
        self.single = single
        self.outputs = sum(self.choices)
        self.register_buffer("frequencies", torch.zeros(self.size))

    def fit(self, values: NDArray[Any]) -> None:
        """Count the choices (steps[, parts])."""
        total = np.zeros(self.size, np.int64)
        for _, block in blocks(values):
            parts = block.reshape(len(block), -1).T
            counts = [np.bincount(part, minlength=n) for part, n in zip(parts, self.choices[: len(parts)], strict=True)]
            total += np.concatenate(counts)
        self.frequencies.copy_(torch.from_numpy(total / len(values)))

    def targets(self, actions: Tensor) -> Tensor:
        """Return the loss's targets, (..., chunk * parts)."""
        parts = actions[..., None] if self.single else actions
        return parts if self.chunk == 1 else parts.flatten(-2)

    def errors(self, outputs: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the cross-entropy, summed over the parts, the mean of a chunk, in nats, (...); as for real numbers."""
        parts = torch.split(outputs, self.choices, dim=-1)
        losses = [
            torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets[..., [part]])[..., 0]
            for part, logits in enumerate(parts)
        ]
        values = torch.stack(losses, dim=-1)
        if known is not None:
            values = values * known.repeat_interleave(len(self.choices) // self.chunk, dim=-1)
        return values.sum(dim=-1) / self.chunk

    def pair_errors(self, products: Tensor, bias: Tensor, targets: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the errors of steps under codes, (..., codes); arguments as for `ContinuousActions`."""
        outputs = products.movedim(0, -1) + bias  # (..., codes, outputs)
        every = targets[..., None, :].expand(*outputs.shape[:-1], len(self.choices))
        return self.errors(outputs, every, None if known is None else known[..., None, :])

    def variance(self, loss: Any) -> Any:
        """Return 1/2: a squared error is divided by 2 σ², so a loss in nats stays as it is."""
        return 0 * loss + 0.5

    def actions(self, outputs: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Return the likeliest choices, (...[, chunk][, parts]); with `rng`, choices drawn by their probabilities."""
        if rng is not None:  # the arg max after Gumbel noise is a draw from the softmax
            outputs = outputs + torch.from_numpy(rng.gumbel(size=tuple(outputs.shape)).astype(np.float32))
        parts = [logits.argmax(dim=-1) for logits in torch.split(outputs, self.choices, dim=-1)]
        if self.single and self.chunk == 1:
            return parts[0]
        choices = torch.stack(parts, dim=-1)
        return choices if self.single or self.chunk == 1 else choices.reshape(*choices.shape[:-1], self.chunk, -1)

    @property
    def uninformed_error(self) -> float:
        """The mean error of predicting the demonstrated frequencies: their entropy in nats."""
        return float(torch.special.entr(self.frequencies).sum())


Actions = ContinuousActions | DiscreteActions


def make_actions(space: Space, chunk: int = 1) -> Actions:
    """Return the interpretation of a network's outputs for `chunk` actions of this space.

    Raises:
        InputError: it is neither a vector nor choices.
    """
    choices = choices_of(space)
    if choices is not None:
        return DiscreteActions(choices, space.shape == (), chunk)
    if space.shape is None or len(space.shape) != 1:
        raise InputError(f"an action is {space}; only vectors and choices can be learned: convert it")
    return ContinuousActions(space.shape[0], chunk, torch.float64 if space.dtype == np.float64 else torch.float32)
