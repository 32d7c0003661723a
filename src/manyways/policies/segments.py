"""Codes that change within a trajectory, for policies that were trained so."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.search.factored import step_losses
from manyways.search.segments import best_paths

if TYPE_CHECKING:
    from manyways.networks.policy_network import PolicyNetwork

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]

_FREEDOM = 4.0  # degrees of, of Student's t


@dataclass(frozen=True, eq=False)
class Switches:
    """How the code of a trajectory changes: a hidden Markov model whose emissions are the policy's.

    Attributes:
        price: of a change of code, in nats.
        weight: of a step's negative log-likelihood, 0 to 1: where errors persist, a step says less.
        variance: of one dimension of the normalised action.
        transitions: (codes, codes), how likely each code follows each, from one step to the next.
    """

    price: float
    weight: float
    variance: float
    transitions: Floats

    def path(
        self, network: "PolicyNetwork", demonstrations: Demonstrations, excluded: NDArray[np.bool_] | None = None
    ) -> tuple[Integers, Floats]:
        """Return the code of each step (steps,), by the Viterbi algorithm, and the policy's error under it (steps,).

        Args:
            network: of the policy.
            demonstrations: of any lengths.
            excluded: (trajectories, codes), what labels rule out.
        """
        codes = torch.eye(len(self.transitions), device=network.code.weight.device)
        errors = step_losses(network, demonstrations, codes)
        losses = self.weight * surprise(errors, self.variance, network.actions.size)
        if excluded is not None:
            losses[excluded[demonstrations.trajectory_of(np.arange(len(losses)))]] = np.inf
        path = best_paths(losses, demonstrations.lengths, self.price)
        return path, errors[np.arange(len(path)), path]

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return these numbers as tensors for `from_tensors`."""
        numbers = np.array([self.price, self.weight, self.variance], np.float32)
        return {
            "numbers": torch.from_numpy(numbers),
            "transitions": torch.from_numpy(np.array(self.transitions, np.float32)),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, torch.Tensor]) -> "Switches":
        """Return what `tensors` wrote.

        Raises:
            KeyError: a tensor is missing.
        """
        price, weight, variance = tensors["numbers"].tolist()
        return cls(price, weight, variance, tensors["transitions"].numpy())


def price_of_change(demonstrations: Demonstrations, codes: int) -> float:
    """Return what it takes to say at which step a change is, and to which code, in nats (Rissanen 1978)."""
    return math.log(demonstrations.steps * max(1, codes - 1))


def surprise(errors: Floats, variance: float, size: int) -> Floats:
    """Return negative log-likelihoods of squared errors, in nats, under Student's t: a single odd step says little.

    Args:
        errors: of an action, summed over its dimensions.
        variance: of one dimension.
        size: dimensions of an action.
    """
    nll: Floats = (_FREEDOM + size) / 2 * np.log1p(errors / (_FREEDOM * variance))
    return nll


def transitions_of(path: Integers, demonstrations: Demonstrations, codes: int) -> Floats:
    """Return how often each code follows each, from one step to the next, (codes, codes)."""
    inside = np.ones(len(path), bool)
    inside[demonstrations.starts] = False
    counts = 0.5 * np.eye(codes)
    np.add.at(counts, (path[:-1][inside[1:]], path[1:][inside[1:]]), 1)
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares
