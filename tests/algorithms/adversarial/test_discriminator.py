import math

import pytest
import torch

from manyways.algorithms.adversarial.discriminator import Discriminator
from manyways.algorithms.adversarial.pairs import Pairs, Scorer
from manyways.demonstrations.spaces import box


def discriminator(inputs=3, penalty=10.0, rate=1e-2, hidden=16):
    """Return a discriminator of observations of `inputs` - 1 dimensions and actions of one."""
    return Discriminator(Scorer(box(max(1, inputs - 1)), 1, 1, hidden, None, seed=0), rate, penalty, with_codes=False)


def pairs(values):
    """Return pairs whose last number is the action; of a single number the observation is 0."""
    inputs = values[:, :-1] if values.shape[1] > 1 else torch.zeros_like(values)
    return Pairs(inputs, values[:, -1:], values[:, :0])


def batch(seed=0, inputs=3, apart=0.5, count=64):
    generator = torch.Generator().manual_seed(seed)
    expert, policy = (torch.randn(count, inputs, generator=generator) for _ in range(2))
    return pairs(expert + apart), pairs(policy), torch.rand(count, 1, generator=generator)


def test_the_penalty_is_that_of_the_slope_between_the_pairs():
    """Of a linear logit the slope is its weight everywhere."""
    judge = discriminator()
    weight = torch.tensor([[1.0, -2.0, 2.0]])
    judge.network.layers = torch.nn.Linear(3, 1)
    with torch.no_grad():
        judge.network.layers.weight.copy_(weight)
        judge.network.layers.bias.fill_(0.3)
    expert, policy, shares = batch()
    loss, measured = judge.loss(expert, policy, shares)
    assert measured.penalty == pytest.approx((3 - 1) ** 2, rel=1e-5)
    logits = [torch.cat([side.inputs, side.actions], dim=1) @ weight[0] + 0.3 for side in (expert, policy)]
    entropy = -(torch.sigmoid(logits[0]).log().mean() + torch.sigmoid(-logits[1]).log().mean()).item()
    assert measured.loss == pytest.approx(entropy, rel=1e-4)
    assert loss.item() == pytest.approx(entropy + 10 * 4, rel=1e-4)


def test_pairs_like_the_experts_have_a_higher_reward():
    # The sign, once and for all: D is the probability of being the expert's, and the reward its logit.
    judge = discriminator()
    for seed in range(200):
        judge.step(*batch(seed, apart=1.0))
    expert, policy, shares = batch(1000, apart=1.0)
    assert judge.logits(expert).mean() > 0 > judge.logits(policy).mean()
    assert judge.loss(expert, policy, shares)[1].accuracy > 0.7


def test_the_reward_is_the_logarithm_of_the_ratio_of_densities():
    # For N(1, 1) and N(0, 1) the best logit is log p_E / p_π = x - 1/2, whose slope the penalty wants too.
    judge = discriminator(inputs=1, hidden=32)
    for seed in range(600):
        judge.step(*batch(seed, inputs=1, apart=1.0, count=256))
    points = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]])
    torch.testing.assert_close(judge.logits(pairs(points)), points[:, 0] - 0.5, rtol=0, atol=0.25)


def test_the_penalty_keeps_the_slope_near_one():
    slopes = []
    for penalty in (0.0, 10.0):
        judge = discriminator(penalty=penalty)
        for seed in range(200):
            result = judge.step(*batch(seed, apart=4.0))
        slopes.append(result.penalty)
    assert slopes[1] < 0.2 < slopes[0]


def test_without_knowledge_the_loss_is_two_bits():
    judge = discriminator()
    torch.nn.init.zeros_(judge.network.layers[-1].weight)
    assert judge.loss(*batch())[1].loss == pytest.approx(2 * math.log(2))
