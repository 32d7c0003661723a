import math

import pytest
import torch
from torch.nn import functional

from manyways.algorithms.adversarial.discriminator import Discriminator


def discriminator(inputs=3, penalty=10.0, rate=1e-2, hidden=16):
    return Discriminator(inputs, hidden, rate, penalty, torch.Generator().manual_seed(0))


def batch(seed=0, inputs=3, apart=0.5, count=64):
    generator = torch.Generator().manual_seed(seed)
    expert, policy = (torch.randn(count, inputs, generator=generator) for _ in range(2))
    return expert + apart, policy, torch.rand(count, 1, generator=generator)


@pytest.mark.parametrize("penalty", [0.0, 10.0])
def test_the_gradient_is_that_of_automatic_differentiation(penalty):
    judge = discriminator(penalty=penalty)
    expert, policy, shares = batch()
    told = judge.differentiate(expert, policy, shares)
    between = (policy + shares * (expert - policy)).requires_grad_()
    loss = functional.softplus(-judge.network(expert)).mean() + functional.softplus(judge.network(policy)).mean()
    (slope,) = torch.autograd.grad(judge.network(between).sum(), between, create_graph=True)
    deviation = (slope.norm(dim=1) - 1).square().mean()
    parameters = list(judge.network.parameters())
    wanted = torch.autograd.grad(loss + penalty * deviation, parameters)
    for own, other in zip(judge.gradients, wanted, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
    assert told.loss == pytest.approx(loss.item(), rel=1e-5)
    assert told.penalty == pytest.approx(deviation.item(), rel=1e-4)


def test_what_looks_like_the_experts_is_rewarded_more():
    # The sign, once and for all: D is the probability of being the expert's, and the reward its logit.
    judge = discriminator()
    for seed in range(200):
        judge.step(*batch(seed, apart=1.0))
    expert, policy, shares = batch(1000, apart=1.0)
    assert judge.logits(expert).mean() > 0 > judge.logits(policy).mean()
    assert judge.differentiate(expert, policy, shares).accuracy > 0.7


def test_the_reward_is_the_logarithm_of_the_ratio_of_densities():
    # For N(1, 1) and N(0, 1) the best logit is log p_E / p_π = x - 1/2, whose slope the penalty wants too.
    judge = discriminator(inputs=1, hidden=32)
    for seed in range(600):
        judge.step(*batch(seed, inputs=1, apart=1.0, count=256))
    points = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]])
    torch.testing.assert_close(judge.logits(points), points[:, 0] - 0.5, rtol=0, atol=0.25)


def test_the_penalty_keeps_the_slope_near_one():
    slopes = []
    for penalty in (0.0, 10.0):
        judge = discriminator(penalty=penalty)
        for seed in range(200):
            told = judge.step(*batch(seed, apart=4.0))
        slopes.append(told.penalty)
    assert slopes[1] < 0.2 < slopes[0]


def test_one_that_knows_nothing_loses_two_bits():
    judge = discriminator()
    torch.nn.init.zeros_(judge.network[-1].weight)
    assert judge.differentiate(*batch()).loss == pytest.approx(2 * math.log(2))
