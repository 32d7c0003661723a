import copy

import numpy as np
import pytest
import torch
from following import Following, assert_identical, random_codes, start

from manyways.rl.advantages import RunningMoments
from manyways.rl.ppo import Minibatch


def test_a_time_limit_is_bootstrapped_and_an_end_is_not_when_learning():
    training = start(normalize=False, gae_lambda=0.0, gamma=0.9)
    with torch.no_grad():
        training.network.critic[-1].weight.zero_()
        training.network.critic[-1].bias.fill_(7.0)
    rollout = training.collect()
    rollout.rewards = torch.ones_like(rollout.rewards)
    batch = training._batch(rollout)
    advantage, returns = batch.advantages, batch.returns
    expected = torch.where(rollout.terminated, 1.0 - 7.0, 1.0 + 0.9 * 7.0 - 7.0)[rollout.valid]
    torch.testing.assert_close(advantage, expected)
    torch.testing.assert_close(returns, expected + 7.0)
    assert rollout.terminated.any()
    assert rollout.truncated.any()


# --- what is collected ---


def test_the_step_that_resets_and_how_a_terminated_episode_ends_do_not_matter():
    clean, poisoned = start(Following()), start(Following(poisoned=True))
    for _ in range(4):
        rollouts = clean.collect(), poisoned.collect()
        assert not rollouts[1].valid.all()
        assert rollouts[1].rewards.isnan().any()
        assert rollouts[0].finished == rollouts[1].finished
        assert clean.learn(rollouts[0]) == poisoned.learn(rollouts[1])
    assert_identical(clean.state_dict(), poisoned.state_dict())
    assert all(tensor.isfinite().all() for name, tensor in clean.state_dict().items() if "actions." not in name)


def test_a_rollout_says_where_episodes_ended_and_how():
    rollout = start(Following(2)).collect()
    # Environment 0 takes 3 steps and a reset, environment 1 takes 4 and a reset.
    expected = np.array([[step % 4 == 3, step % 5 == 4] for step in range(10)])
    np.testing.assert_array_equal(~rollout.valid.numpy(), expected)
    np.testing.assert_array_equal(rollout.terminated[:-1, 0].numpy(), expected[1:, 0])
    np.testing.assert_array_equal(rollout.truncated[:-1, 1].numpy(), expected[1:, 1])
    assert [(environment, length) for environment, _, length in rollout.finished] == [(0, 3), (1, 4), (0, 3), (1, 4)]
    assert rollout.finished[0][1] == pytest.approx(rollout.rewards[:3, 0].sum().item())
    assert rollout.finished[2][1] == pytest.approx(rollout.rewards[4:7, 0].sum().item())


def test_actions_are_in_the_units_and_range_of_the_environment():
    environment = Following()
    rollout = start(environment, log_std=1.0).collect()
    expected = (1.0 + 3.0 * rollout.actions.numpy()).clip(-2, 4)
    np.testing.assert_allclose(np.stack(environment.actions), expected, rtol=1e-6)
    assert (expected == 4).any()
    assert (rollout.actions > 1).any()


def test_steps_are_counted_without_resets():
    training = start(Following(2))
    training.step()
    assert training.steps == 20 - 4
    assert training.update == 1


@pytest.mark.parametrize("code_size", [0, 3])
def test_old_log_probabilities_are_those_of_the_policy_that_acted(code_size):
    training = start(None, random_codes if code_size else None, code_size)
    for _ in range(3):  # the moments change in between
        rollout = training.collect()
        network = training.network
        with torch.no_grad():
            means = network.means(network.actor.observations(rollout.observations[:-1]), rollout.codes[:-1])
            now = torch.distributions.Normal(means, network.log_std.exp()).log_prob(rollout.actions).sum(dim=-1)
        torch.testing.assert_close(rollout.log_probabilities, now, rtol=0, atol=1e-4)
        training.learn(rollout)


def test_the_first_gradient_step_starts_from_the_policy_that_acted():
    training = start(minibatch=1000, epochs=1)
    for _ in range(3):
        scalars = training.step()
        assert scalars["kl"] == pytest.approx(0, abs=1e-6)
        assert scalars["clip_fraction"] == 0


def test_codes_stay_for_an_episode_and_are_the_policys_inputs():
    training = start(None, random_codes, 3, log_std=-20.0)
    earlier = training.collect()
    training.learn(earlier)
    rollout = training.collect()
    codes = torch.cat([earlier.codes[:-1], rollout.codes])
    valid = torch.cat([earlier.valid, rollout.valid])
    changed = (codes[1:] != codes[:-1]).any(dim=-1)
    # A new code is there after the step that resets: not before, so that an episode's end is valued under its own.
    assert torch.equal(changed, ~valid)
    network = training.network
    with torch.no_grad():
        inputs = network.actor.observations(rollout.observations[:-1])
        means, other = (network.means(inputs, code) for code in (rollout.codes[:-1], -rollout.codes[:-1]))
    torch.testing.assert_close(rollout.actions, means, rtol=0, atol=1e-5)
    assert not torch.allclose(means, other, atol=1e-4)


# --- normalisation ---


def test_running_moments_equal_those_of_all_rows_at_once():
    rows = 1e6 + np.random.default_rng(0).normal(size=(1000, 3)) * [1.0, 1e-2, 0.0]
    moments = RunningMoments((3,))
    assert moments.std.tolist() == [1, 1, 1]
    for part in np.split(rows, [1, 10, 500]):
        moments.update(torch.from_numpy(part))
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.std, rows.std(axis=0), rtol=1e-6, atol=1e-9)


def test_observations_are_normalised_by_all_earlier_ones():
    training = start(frozen_after=3)
    parts = []
    for update in range(5):
        rollout = training.collect()
        if update < 3:
            parts.append(rollout.observations[:-1][rollout.valid].double().numpy())
        training.learn(rollout)
        rows = np.concatenate(parts)
        np.testing.assert_allclose(training.network.actor.observations.part().mean, rows.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(training.network.actor.observations.part().std, rows.std(axis=0), rtol=1e-5)
    far = training.network.actor.observations(torch.tensor([[1e3, -1e3]]))
    assert far.tolist() == [[10, -10]]


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    training = start(gamma=0.8, gae_lambda=0.0)
    sums, rows = np.zeros(4), []
    for _ in range(3):
        rollout = training.collect()
        for reward, ended, valid in zip(
            rollout.rewards.numpy(),
            (rollout.terminated | rollout.truncated).numpy(),
            rollout.valid.numpy(),
            strict=True,
        ):
            sums = np.where(valid, 0.8 * sums + reward, 0)
            rows += list(sums[valid])
            sums = np.where(ended, 0, sums)
        values = training.network.values(
            training.network.actor.observations(rollout.observations), rollout.codes
        ).detach()
        following = values[1:].where(~rollout.terminated, 0.0)
        copied = copy.deepcopy(training)
        advantage = copied._batch(rollout).advantages
        rewards = advantage + (values[:-1] - 0.8 * following)[rollout.valid]
        expected = rollout.rewards[rollout.valid] / np.std(rows)
        torch.testing.assert_close(rewards, expected, rtol=1e-4, atol=1e-5)
        training.learn(rollout)


def test_without_normalisation_nothing_is_rescaled():
    training = start(normalize=False)
    for _ in range(2):
        training.step()
    assert training.network.actor.observations.part().mean.tolist() == [0, 0]
    assert training.network.actor.observations.part().std.tolist() == [1, 1]


# --- gradient steps ---


def plain_loss(network, settings, batch):
    """Return PPO's loss, written with PyTorch's distributions."""
    distribution = torch.distributions.Normal(network.means(batch.inputs, batch.codes), network.log_std.exp())
    ratio = (distribution.log_prob(batch.actions).sum(dim=1) - batch.log_probabilities).exp()
    advantages = (batch.advantages - batch.advantages.mean()) / batch.advantages.std(correction=0)
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    values = network.values(batch.inputs, batch.codes)
    errors = (values - batch.returns) ** 2
    if settings.clip_values:
        near = batch.values + (values - batch.values).clamp(-settings.clip, settings.clip)
        errors = torch.maximum(errors, (near - batch.returns) ** 2)
    entropy = distribution.entropy().sum(dim=1).mean()
    policy_loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
    return policy_loss + settings.value_weight * errors.mean() - settings.entropy_weight * entropy


@pytest.mark.parametrize("clip_values", [False, True])
@pytest.mark.parametrize("code_size", [0, 3])
def test_the_loss_is_that_of_the_distributions(code_size, clip_values):
    changes = {"entropy_weight": 0.03, "value_weight": 0.7, "clip_values": clip_values, "log_std": -0.5}
    training = start(None, None, code_size, **changes)
    network, draw = training.network, torch.Generator().manual_seed(0)
    torch.nn.init.orthogonal_(network.actor.output.weight, 1.0, generator=draw)
    n = 400
    inputs, codes, actions, old_values, advantage, returns = (
        torch.randn(shape, generator=draw) for shape in ((n, 2), (n, code_size), (n, 1), (n,), (n,), (n,))
    )
    with torch.no_grad():
        old = network.log_probabilities(actions, network.means(inputs, codes))
        old = old + 0.3 * torch.randn(n, generator=draw)  # some beyond the clipping
    advantage = (advantage - advantage.mean()) / advantage.std(correction=0)
    minibatch = Minibatch(inputs, codes, actions, old, old_values, advantage, returns)
    loss, _ = training._loss(minibatch)
    assert loss.item() == pytest.approx(plain_loss(network, training.settings, minibatch).item(), rel=1e-5)


def test_the_statistics_are_those_of_the_loss():
    training = start(minibatch=1000, epochs=1, clip_values=True)
    training.step()
    rollout = training.collect()
    copied = copy.deepcopy(training)
    batch = copied._batch(rollout)
    measured = training.learn(rollout)
    loss = plain_loss(copied.network, copied.settings, batch).item()
    assert measured["policy_loss"] + 0.5 * measured["value_loss"] == pytest.approx(loss, rel=1e-4, abs=1e-6)


def test_long_gradients_are_scaled_down():
    """With a tiny bound, steps are Adam's on tiny gradients: the same direction, so the weights differ little."""
    free, bound = (start(max_gradient_norm=norm, epochs=1, minibatch=1000) for norm in (1e9, 1e-12))
    before = free.network.critic[0].weight.clone()
    for training in (free, bound):
        training.step()
    changes = [(training.network.critic[0].weight - before).abs().max().item() for training in (free, bound)]
    assert changes[1] < 0.01 * changes[0]  # Adam's ε outweighs gradients that small


def test_the_callers_loss_is_added():
    training = start(epochs=50, learning_rate=0.02, total_steps=10**6)
    target = torch.linspace(-1, 1, 5)[:, None]
    inputs, codes = torch.eye(5)[:, :2], torch.zeros(5, 0)
    inputs[:, 0] = torch.linspace(-2, 2, 5)

    def distance():
        return 100 * (training.network.means(inputs, codes) - target).square().mean()

    before = distance().item()
    for _ in range(3):
        training.learn(training.collect(), distance)
    assert distance().item() < 0.05 * before


def test_minibatches_hold_every_valid_step_once_and_are_of_even_size():
    training = start(minibatch=16)
    batch = training._batch(training.collect())
    rows = len(batch.inputs)
    parts = list(training._minibatches(batch))
    assert {len(part.inputs) for part in parts} <= {rows // len(parts), rows // len(parts) + 1}
    assert max(len(part.inputs) for part in parts) <= 16
    together = torch.cat([part.inputs for part in parts])
    assert sorted(together.tolist()) == sorted(batch.inputs.tolist())
    assert together.tolist() != batch.inputs.tolist()
    for part in parts:
        assert part.advantages.mean().item() == pytest.approx(0, abs=1e-5)
        assert part.advantages.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def test_the_learning_rate_falls_from_its_start_to_zero_linearly():
    training = start(Following(2), total_steps=64, learning_rate=1e-3)
    steps, rates = [], []
    while not training.finished:
        steps.append(training.steps)
        rates.append(training.learning_rate)
        training.step()
    np.testing.assert_allclose(rates, 1e-3 * (1 - np.array(steps) / 64))
    assert rates[0] == 1e-3
    assert rates[-1] > 0
    assert training.learning_rate == 0


def test_passes_end_beyond_the_target_kl():
    far = [start(epochs=epochs, learning_rate=1e-2).step()["kl"] for epochs in range(1, 7)]
    target = 0.9 * far[3]
    scalars = start(epochs=6, learning_rate=1e-2, target_kl=target).step()
    assert scalars["passes"] == 1 + next(number for number, kl in enumerate(far) if kl > target)
    assert scalars["kl"] == far[int(scalars["passes"]) - 1]
    assert start(epochs=6, target_kl=100.0).step()["passes"] == 6
