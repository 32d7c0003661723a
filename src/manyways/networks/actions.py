"""From a network's outputs to actions: real numbers with a squared error, or choices with a cross-entropy."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.demonstrations.spaces import Space, choices_of
from manyways.errors import InputError
from manyways.networks.normalization import Normalizer


class ContinuousActions(Normalizer):
    """Actions of real numbers: the output is the normalised action, the error is squared (Equation 2).

    Args:
        size: dimensions of an action.
    """

    noise: Tensor  # σ of Equation 2 for each dimension, in real units
    low: Tensor  # the range of the demonstrated actions
    high: Tensor
    discrete = False

    def __init__(self, size: int) -> None:
        super().__init__((size,))
        self.outputs = size
        self.register_buffer("noise", torch.zeros(size))
        self.register_buffer("low", torch.full((size,), -math.inf))
        self.register_buffer("high", torch.full((size,), math.inf))

    def fit(self, values: NDArray[Any]) -> None:
        """Measure the moments and the range of actions (steps, size)."""
        super().fit(values)
        self.low.copy_(torch.from_numpy(values.min(axis=0)))
        self.high.copy_(torch.from_numpy(values.max(axis=0)))

    def targets(self, actions: Tensor) -> Tensor:
        """Return the loss's targets: the normalised actions, (..., size)."""
        return self.normalize(actions)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error, summed over the dimensions of the normalised action, (...)."""
        return (outputs - targets).square().sum(dim=-1)

    def pair_errors(self, products: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """Return the errors of steps under codes, (..., codes), in place of `products`.

        Args:
            products: (size, ..., codes), the outputs less the last layer's bias.
            bias: (size,).
            targets: (..., size).
        """
        shifted = (targets - bias).movedim(-1, 0)[..., None]
        return products.sub_(shifted).square_().sum(dim=0)

    def variance(self, loss: Any) -> Any:
        """Return σ² of one dimension of the normalised action, if the mean error is `loss`."""
        return loss / self.outputs

    def actions(self, outputs: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Return actions in real units within the demonstrated range; with `rng`, noise of size σ is added."""
        values = self.restore(outputs)
        if rng is not None:
            values = values + self.noise * torch.from_numpy(rng.standard_normal(values.shape, dtype=np.float32))
        return values.clamp(self.low, self.high)

    @property
    def uninformed_error(self) -> float:
        """The mean error of predicting the mean: the number of action dimensions that vary."""
        return float((self.std > 0).sum())


class DiscreteActions(nn.Module):
    """Choices: an output is the logit of a choice, part after part; the error is the cross-entropy in nats.

    Args:
        choices: (parts,), how many each part of an action has.
        single: whether an action is one whole number rather than an array of parts.
    """

    frequencies: Tensor  # of the demonstrated choices, in the order of the outputs
    discrete = True

    def __init__(self, choices: NDArray[np.int64], single: bool) -> None:
        super().__init__()
        self.choices = [int(count) for count in choices]
        self.single = single
        self.outputs = sum(self.choices)
        self.register_buffer("frequencies", torch.zeros(self.outputs))

    def fit(self, values: NDArray[Any]) -> None:
        """Count the choices (steps[, parts])."""
        parts = values.reshape(len(values), -1).T
        counts = [np.bincount(part, minlength=n) for part, n in zip(parts, self.choices, strict=True)]
        self.frequencies.copy_(torch.from_numpy(np.concatenate(counts) / len(values)))

    def targets(self, actions: Tensor) -> Tensor:
        """Return the loss's targets, (..., parts)."""
        return actions[..., None] if self.single else actions

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy, summed over the parts, in nats, (...)."""
        parts = torch.split(outputs, self.choices, dim=-1)
        losses = [
            torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets[..., [part]])[..., 0]
            for part, logits in enumerate(parts)
        ]
        return torch.stack(losses).sum(dim=0)

    def pair_errors(self, products: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
        """Return the errors of steps under codes, (..., codes); arguments as for `ContinuousActions`."""
        outputs = products.movedim(0, -1) + bias  # (..., codes, outputs)
        return self.errors(outputs, targets[..., None, :].expand(*outputs.shape[:-1], len(self.choices)))

    def variance(self, loss: Any) -> Any:
        """Return 1/2: a squared error is divided by 2 σ², so a loss in nats stays as it is."""
        return 0 * loss + 0.5

    def actions(self, outputs: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """Return the likeliest choices, (...[, parts]); with `rng`, choices drawn by their probabilities."""
        if rng is not None:  # the arg max after Gumbel noise is a draw from the softmax
            outputs = outputs + torch.from_numpy(rng.gumbel(size=tuple(outputs.shape)).astype(np.float32))
        parts = [logits.argmax(dim=-1) for logits in torch.split(outputs, self.choices, dim=-1)]
        return parts[0] if self.single else torch.stack(parts, dim=-1)

    @property
    def uninformed_error(self) -> float:
        """The mean error of predicting the demonstrated frequencies: their entropy in nats."""
        return float(torch.special.entr(self.frequencies).sum())


Actions = ContinuousActions | DiscreteActions


def make_actions(space: Space) -> Actions:
    """Return the interpretation of a network's outputs for actions of this space.

    Raises:
        InputError: it is neither a vector nor choices.
    """
    choices = choices_of(space)
    if choices is not None:
        return DiscreteActions(choices, single=space.shape == ())
    if space.shape is None or len(space.shape) != 1:
        raise InputError(f"an action is {space}; only vectors and choices can be learned: convert it")
    return ContinuousActions(space.shape[0])


def require_continuous(space: Space, algorithm: str) -> None:
    """Raise `InputError` where actions are choices, which `algorithm` cannot learn."""
    if choices_of(space) is not None:
        raise InputError(f"{algorithm} cannot learn discrete actions, but an action is {space}; take sog-bc, bc or mdn")
