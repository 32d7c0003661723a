"""Gates: how likely each detail is at an observation, and each mode at the start of an episode."""

from torch import Tensor, nn
from torch.nn import functional


class DetailGate(nn.Module):
    """p(detail | observations, code): the state's part and the code → SiLU → logits of the details.

    Args:
        hidden: width of the state's part.
        code_size: dimensions of a code.
        details: how many there are.
    """

    def __init__(self, hidden: int, code_size: int, details: int) -> None:
        super().__init__()
        width = max(1, hidden // 2)
        self.state = nn.Linear(hidden, width)
        self.code = nn.Linear(code_size, width)
        self.output = nn.Linear(width, details)

    def forward(self, features: Tensor, codes: Tensor) -> Tensor:
        """Return unnormalised log probabilities (..., details).

        Args:
            features: (..., hidden), the state's part of the sum.
            codes: (..., code size).
        """
        logits: Tensor = self.output(functional.silu(self.state(features) + self.code(codes)))
        return logits
