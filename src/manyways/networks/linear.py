"""A linear answer to the observations, taken out before the network learns the rest.

Where an action names a place, most of it is the place where the agent is now; where it closes a small difference of
large values, the difference is linear. A network finds that last. Least squares finds it at once.
"""

import torch
from torch import Tensor, nn

_RIDGE = 1e-3  # the penalty, as a share of the steps; inputs have variance 1
_LEAST_SCALE = 0.01  # of what is left, in standard deviations of the action


class LinearAnswer(nn.Module):
    """targets ≈ inputs · weight + scale · outputs of the network.

    Args:
        inputs: how many features a window of observations has.
        outputs: of the network.
    """

    weight: Tensor  # (inputs, outputs)
    scale: Tensor  # (outputs,), the standard deviation of what is left

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(inputs, outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def fit(self, inputs: Tensor, targets: Tensor, columns: Tensor) -> None:
        """Fit by ridge regression, and measure what is left.

        Args:
            inputs: (steps, columns), normalised.
            targets: (steps, outputs), normalised actions.
            columns: (columns,), which of all inputs these are: those that training leaves as they are.
        """
        x, y = inputs.double(), targets.double()
        penalty = _RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weight = torch.linalg.solve(x.T @ x + penalty, x.T @ y)
        self.weight.zero_()[columns] = weight.to(self.weight)
        self.scale.copy_((y - x @ weight).std(dim=0, correction=0).clamp_min(_LEAST_SCALE))

    def less(self, targets: Tensor, inputs: Tensor) -> Tensor:
        """Return the network's targets (..., outputs): what the linear answer leaves, with variance 1."""
        return (targets - inputs @ self.weight) / self.scale

    def plus(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Return normalised actions (..., outputs) from the network's outputs: the inverse of `less`."""
        return inputs @ self.weight + self.scale * outputs
