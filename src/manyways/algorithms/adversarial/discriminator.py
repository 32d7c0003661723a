"""Owns GAIL's discriminator (Equation 1; Figure 8b) and its sign convention.

    D(s, a) is the probability that a pair is the EXPERT'S; the network gives its logit, log D - log(1 - D).
    Training makes the logit large on the demonstrations' pairs and small on the policy's.
    The policy's reward is the logit: pairs that look like the expert's have a higher reward.

In Algorithm 3, D is the probability that a pair is the policy's: the paper's log D, which the policy decreases, is
log(1 - D) here. An always positive reward would favour long episodes, an always negative one short episodes; the logit
is neither.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from manyways.algorithms.adversarial.pairs import Pairs, Scorer


@dataclass(frozen=True)
class DiscriminatorStep:
    """The result of a gradient step of the discriminator.

    Attributes:
        loss: cross-entropy, in nats; 2 log 2 without knowledge.
        penalty: mean squared deviation of the logit's gradient norm from 1.
        accuracy: share of the pairs with the right sign.
    """

    loss: float
    penalty: float
    accuracy: float


class Discriminator:
    """GAIL's discriminator with a gradient penalty (Gulrajani et al. 2017).

    The penalty is 10 (‖∂logit/∂pair‖ - 1)² on points between the expert's pairs and the policy's.

    Args:
        network: gives the logit of a pair.
        learning_rate: of Adam.
        gradient_penalty: its weight.
        with_codes: whether its inputs include the code.
    """

    def __init__(self, network: Scorer, learning_rate: float, gradient_penalty: float, with_codes: bool) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), learning_rate, fused=True)
        self._gradient_penalty = gradient_penalty
        self._with_codes = with_codes

    def _logits(self, pairs: Pairs) -> Tensor:
        return self.network(pairs, self._with_codes).squeeze(1)

    @torch.no_grad()
    def logits(self, pairs: Pairs) -> Tensor:
        """Return log D - log(1 - D) of pairs, (n,): the policy's reward."""
        return self._logits(pairs)

    def step(self, expert: Pairs, policy: Pairs, shares: Tensor) -> DiscriminatorStep:
        """Take a gradient step.

        Args:
            expert: the demonstrations' pairs.
            policy: as many pairs of the policy.
            shares: of the points between them, for the gradient penalty, (n, 1), from 0 to 1.
        """
        loss, result = self.loss(expert, policy, shares)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return result

    def loss(self, expert: Pairs, policy: Pairs, shares: Tensor) -> tuple[Tensor, DiscriminatorStep]:
        """Return the loss and its parts; arguments as for `step`."""
        of_expert, of_policy = self._logits(expert), self._logits(policy)
        entropy = functional.softplus(-of_expert).mean() + functional.softplus(of_policy).mean()
        between = policy.between(expert, shares)
        gradients = torch.autograd.grad(
            self._logits(between).sum(), between.tensors(), create_graph=True, allow_unused=True
        )
        squares = sum(gradient.flatten(1).square().sum(dim=1) for gradient in gradients if gradient is not None)
        # The root's slope is infinite at 0.
        norm = (squares + 1e-12).sqrt()  # type: ignore[union-attr]
        penalty = (norm - 1).square().mean()
        right = (of_expert > 0).sum() + (of_policy < 0).sum()
        result = DiscriminatorStep(entropy.item(), penalty.item(), right.item() / (2 * len(expert)))
        return entropy + self._gradient_penalty * penalty, result
