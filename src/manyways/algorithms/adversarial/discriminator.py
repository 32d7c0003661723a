"""Owns GAIL's discriminator (Equation 1; Figure 8b), and the one place where its sign is fixed.

    D(s, a) is the probability that a pair is the EXPERT'S; the network gives its logit, log D - log(1 - D).
    It learns to make the logit great on the demonstrations' pairs and small on the policy's.
    The policy is rewarded with the logit itself: pairs that look like the expert's are worth more.

Algorithm 3 writes D for the probability that a pair is the policy's: the paper's log D that the policy decreases is our
log(1 - D). The logit is neither always positive, which would reward any long life, nor always negative, which would
reward a quick death.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

_LEAK = 0.01  # slope of the leaky rectifier below 0


class Scorer(nn.Sequential):
    """Figure 8b: pairs, and maybe a code, → Linear → leaky ReLU → Linear → leaky ReLU → Linear → scores."""

    def __init__(self, inputs: int, outputs: int, hidden: int) -> None:
        super().__init__(
            nn.Linear(inputs, hidden),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(_LEAK),
            nn.Linear(hidden, outputs),
        )

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights with gain √2, and set the biases to 0."""
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, 2**0.5, generator=generator)
                nn.init.zeros_(layer.bias)


@dataclass(frozen=True)
class Judgement:
    """How a discriminator did on a batch.

    Attributes:
        loss: cross-entropy, in nats; 2 log 2 for one that knows nothing.
        penalty: mean squared deviation of the logit's gradient norm from 1.
        accuracy: share of the pairs that it got right.
    """

    loss: float
    penalty: float
    accuracy: float


class Discriminator:
    """GAIL's discriminator with a gradient penalty, differentiated by hand.

    The gradient penalty (Gulrajani et al. 2017) is 10 (‖∂logit/∂pair‖ - 1)² on points between the expert's pairs and
    the policy's. Between the kinks of the rectifiers ∂logit/∂pair is a product of matrices, so its own gradient needs
    no second differentiation: a step takes two thirds of one by automatic differentiation (benchmarks/adversarial.py).

    Args:
        inputs: numbers in a pair, and in a code where it sees that too.
        hidden: width of the layers.
        learning_rate: of Adam.
        gradient_penalty: its weight.
        generator: of the first weights.
    """

    def __init__(
        self, inputs: int, hidden: int, learning_rate: float, gradient_penalty: float, generator: torch.Generator
    ) -> None:
        self.network = Scorer(inputs, 1, hidden)
        self.network.initialize(generator)
        self._gradient_penalty = gradient_penalty
        # As in PPO: all parameters are views of one vector, their gradients of another.
        self._parameters = list(self.network.parameters())
        vector = parameters_to_vector(self._parameters).detach()
        vector_to_parameters(vector, self._parameters)
        vector.grad = torch.zeros_like(vector)
        parts = torch.split(vector.grad, [parameter.numel() for parameter in self._parameters])
        self.gradients = [part.view_as(p) for part, p in zip(parts, self._parameters, strict=True)]
        self.optimizer = torch.optim.Adam([vector], learning_rate, fused=True)

    @torch.no_grad()
    def logits(self, pairs: Tensor) -> Tensor:
        """Return log D - log(1 - D) of pairs (n, inputs), (n,): the policy's reward."""
        logits: Tensor = self.network(pairs).squeeze(1)
        return logits

    def step(self, expert: Tensor, policy: Tensor, shares: Tensor) -> Judgement:
        """Take a gradient step.

        Args:
            expert: the demonstrations' pairs, (n, inputs).
            policy: the policy's, (n, inputs).
            shares: where between them the gradient is looked at, (n, 1), from 0 to 1.
        """
        judgement = self.differentiate(expert, policy, shares)
        self.optimizer.step()
        return judgement

    @torch.no_grad()
    def differentiate(self, expert: Tensor, policy: Tensor, shares: Tensor) -> Judgement:
        """Write the loss's gradient to `gradients`; arguments as for `step`."""
        (w1, b1, w2, b2, w3, b3), count = self._parameters, len(expert)
        d_w1, d_b1, d_w2, d_b2, d_w3, d_b3 = self.gradients
        between = policy + shares * (expert - policy)
        inputs = torch.cat([expert, policy, between])
        hidden1 = functional.leaky_relu_(torch.addmm(b1, inputs, w1.T), _LEAK)
        hidden2 = functional.leaky_relu_(torch.addmm(b2, hidden1, w2.T), _LEAK)
        logits = (hidden2[: 2 * count] @ w3.T + b3).squeeze(1)
        # The slope of the loss -log D (expert), -log(1 - D) (policy) along the logit: D - 1 and D.
        slopes = torch.sigmoid(logits)
        slopes[:count] -= 1
        slopes /= count

        # ∂logit/∂pair = w3 · slope2 · w2 · slope1 · w1, row by row.
        slope1, slope2 = ((hidden < 0).float().mul_(_LEAK - 1).add_(1) for hidden in (hidden1, hidden2))
        own2 = w3 * slope2[2 * count :]
        through2 = own2 @ w2
        own1 = through2 * slope1[2 * count :]
        gradient = own1 @ w1
        norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        along = gradient * ((norm - 1) / norm.clamp_min(1e-12) * (2 * self._gradient_penalty / count))
        back1 = (along @ w1.T).mul_(slope1[2 * count :])
        back2 = (back1 @ w2.T).mul_(slope2[2 * count :])

        outer2 = (slopes[:, None] * w3).mul_(slope2[: 2 * count])
        outer1 = (outer2 @ w2).mul_(slope1[: 2 * count])
        torch.addmm(slopes[None] @ hidden2[: 2 * count], back2.new_ones(1, count), back2, out=d_w3)
        d_b3.copy_(slopes.sum())
        torch.addmm(outer2.T @ hidden1[: 2 * count], own2.T, back1, out=d_w2)
        torch.sum(outer2, dim=0, out=d_b2)
        torch.addmm(outer1.T @ inputs[: 2 * count], own1.T, along, out=d_w1)
        torch.sum(outer1, dim=0, out=d_b1)
        right = (logits[:count] > 0).sum() + (logits[count:] < 0).sum()
        losses = functional.softplus(-logits[:count]).mean() + functional.softplus(logits[count:]).mean()
        return Judgement(losses.item(), (norm - 1).square().mean().item(), right.item() / (2 * count))
