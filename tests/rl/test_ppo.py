import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from manyways import InputError
from manyways.demonstrations.spaces import box
from manyways.files import read_tensors, write_tensors
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.advantages import RunningMoments, generalized_advantages
from manyways.rl.ppo import Minibatch, PPOTraining
from manyways.rl.settings import PPO
from manyways.tasks import get_task


@pytest.fixture(autouse=True)
def one_thread():
    """Keep PyTorch to one thread: matrices this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Following(VectorEnv):
    """Show a number in [-1, 1]; the reward is greatest where the action is minus half of it.

    Environment i ends after 3 + i steps, by itself where i is even and by a time limit where it is odd. `poisoned`
    replaces what must not matter: the reward of the step that resets, and what a terminated episode ends with.
    """

    def __init__(self, num_envs=4, poisoned=False):
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-1, 1, (2,))
        self.single_action_space = gym.spaces.Box(np.float32([-2.0]), np.float32([4.0]))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.poisoned = poisoned
        self.actions = []

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.steps = np.zeros(self.num_envs, dtype=int)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        return self._show(), {}

    def _show(self):
        self.observations = np.stack([self.rng.uniform(-1, 1, self.num_envs), self.steps / 10], axis=1)
        return self.observations.copy()

    def step(self, actions):
        self.actions.append(actions)
        rewards = np.where(self.ended, 0.0, -((actions[:, 0] + self.observations[:, 0] / 2) ** 2))
        if self.poisoned:
            rewards[self.ended] = np.nan
        self.steps = np.where(self.ended, 0, self.steps + 1)
        observation = self._show()
        indices = np.arange(self.num_envs)
        self.ended = self.steps == 3 + indices
        terminated, truncated = self.ended & (indices % 2 == 0), self.ended & (indices % 2 == 1)
        if self.poisoned:
            observation[terminated] = np.nan
        return observation, rewards, terminated, truncated, {}


def settings(**changes):
    return PPO(**({"total_steps": 600, "steps_per_update": 10, "minibatch": 16, "epochs": 2, "hidden": 8} | changes))


def start(environment=None, draw_codes=None, code_size=0, **changes):
    return PPOTraining(settings(**changes), environment or Following(), draw_codes, code_size)


def random_codes(starting, rng):
    return rng.standard_normal((len(starting), 3))


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def advantages(rewards, values, gamma, gae_lambda, terminated=None, truncated=None):
    """Return the advantages of one environment."""
    flags = [torch.zeros(len(rewards), 1, dtype=torch.bool) for _ in range(2)]
    for flag, at in zip(flags, (terminated, truncated), strict=True):
        if at is not None:
            flag[at] = True
    rewards, values = (torch.tensor(values, dtype=torch.float64)[:, None] for values in (rewards, values))
    return generalized_advantages(rewards, values, *flags, gamma, gae_lambda).squeeze(1).numpy()


# --- advantages ---


def test_with_lambda_0_an_advantage_is_the_error_of_one_step():
    result = advantages([1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0], gamma=0.5, gae_lambda=0.0)
    np.testing.assert_allclose(result, [1 + 10 - 10, 2 + 15 - 20, 3 + 20 - 30])


def test_with_lambda_1_an_advantage_is_the_discounted_return_beyond_the_value():
    result = advantages([1.0, 2.0, 3.0], [10.0, 20.0, 30.0, 40.0], gamma=0.5, gae_lambda=1.0)
    returns = [1 + 0.5 * 2 + 0.25 * 3 + 0.125 * 40, 2 + 0.5 * 3 + 0.25 * 40, 3 + 0.5 * 40]
    np.testing.assert_allclose(result, np.array(returns) - [10, 20, 30])


def test_between_them_it_is_the_sum_by_hand():
    # errors 1 + 0.9 · 2 - 1 = 1.8 and 1 + 0.9 · 3 - 2 = 1.7; 1.8 + 0.9 · 0.5 · 1.7 = 2.565
    np.testing.assert_allclose(advantages([1.0, 1.0], [1.0, 2.0, 3.0], 0.9, 0.5), [2.565, 1.7])


def test_a_terminated_episode_is_worth_nothing_and_a_truncated_one_its_last_value():
    rewards, values = [1.0, 1.0, 0.0, 5.0], [2.0, 3.0, 7.0, 4.0, 6.0]
    terminated = advantages(rewards, values, 0.5, 1.0, terminated=1)
    np.testing.assert_allclose(terminated, [1 + 0.5 * 1 - 2, 1 - 3, 0 + 0.5 * 5 + 0.25 * 6 - 7, 5 + 0.5 * 6 - 4])
    truncated = advantages(rewards, values, 0.5, 1.0, truncated=1)
    np.testing.assert_allclose(truncated[:2], [1 + 0.5 * 1 + 0.25 * 7 - 2, 1 + 0.5 * 7 - 3])
    np.testing.assert_array_equal(truncated[2:], terminated[2:])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.7, 1.0])
def test_values_that_are_right_leave_no_advantage(gae_lambda):
    # Reward 1 at every step for ever is worth 1 / (1 - γ).
    np.testing.assert_allclose(advantages([1.0] * 50, [10.0] * 51, 0.9, gae_lambda), 0.0, atol=1e-12)


def test_a_constant_reward_gives_a_geometric_series():
    steps, gamma, gae_lambda = 20, 0.9, 0.8
    result = advantages([1.0] * steps, [0.0] * (steps + 1), gamma, gae_lambda)
    remaining = steps - np.arange(steps)
    np.testing.assert_allclose(result, (1 - (gamma * gae_lambda) ** remaining) / (1 - gamma * gae_lambda))


def test_values_between_two_episodes_have_no_effect():
    rewards, values = [1.0, 1.0, np.nan, 5.0], [2.0, 3.0, np.nan, 4.0, 6.0]
    result = advantages(rewards, values, 0.5, 1.0, terminated=1)
    np.testing.assert_allclose(result[[0, 1, 3]], [1 + 0.5 - 2, 1 - 3, 5 + 3 - 4])


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


def test_a_policy_learns_the_rewarded_actions():
    training = start(
        Following(16), total_steps=16_000, steps_per_update=32, minibatch=64, epochs=6, hidden=32, learning_rate=3e-3
    )
    while not training.finished:
        training.step()
    network = training.network.actor
    observations = torch.stack([torch.linspace(-0.9, 0.9, 9), torch.full((9,), 0.1)], dim=1)
    with torch.no_grad():
        actions = network.actions.restore(network(observations, torch.zeros(9, 0)))[:, 0]
    torch.testing.assert_close(actions, -observations[:, 0] / 2, rtol=0, atol=0.1)


def test_a_policy_learns_a_mode_for_each_code_from_the_callers_rewards():
    def one_of_two(starting, rng):
        return np.eye(2)[rng.integers(2, size=len(starting))]

    training = start(
        Following(16),
        one_of_two,
        2,
        total_steps=12_000,
        steps_per_update=32,
        minibatch=64,
        hidden=32,
        learning_rate=3e-3,
    )
    while not training.finished:
        rollout = training.collect()
        targets = rollout.codes[:-1, :, 0] - 0.5  # 0.5 or -0.5
        rollout.rewards = -(rollout.actions[..., 0] - targets).square()
        training.learn(rollout)
    with torch.no_grad():
        means = training.network.means(torch.zeros(2, 2), torch.eye(2))[:, 0]
    torch.testing.assert_close(means, torch.tensor([0.5, -0.5]), rtol=0, atol=0.1)


# --- going on ---


@pytest.mark.parametrize("code_size", [0, 3])
def test_training_goes_on_bit_for_bit(code_size, tmp_path):
    def begin():
        return start(None, random_codes if code_size else None, code_size, updates_per_restart=3)

    whole = begin()
    states = {}
    for update in range(8):
        if whole.at_restart:
            states[update] = whole.state_dict()
        whole.step()
    assert list(states) == [0, 3, 6]
    for update, state in states.items():
        write_tensors(tmp_path / "checkpoint.safetensors", state)
        resumed = begin()
        resumed.load_state_dict(read_tensors(tmp_path / "checkpoint.safetensors"))
        assert (resumed.update, resumed.steps) == (update, int(state["steps"]))
        while resumed.update < whole.update:
            resumed.step()
        assert_identical(resumed.state_dict(), whole.state_dict())


def test_environments_start_anew_and_otherwise_at_each_restart():
    training = start(updates_per_restart=2)
    firsts = []
    for _ in range(4):
        rollout = training.collect()
        firsts.append(rollout.observations[0])
        training.learn(rollout)
    # The second number is a tenth of the steps taken in the episode.
    assert [bool((first[:, 1] == 0).all()) for first in firsts] == [True, False, True, False]
    assert not torch.equal(firsts[0], firsts[2])


def test_training_does_not_change_a_state_dict():
    training = start()
    training.step()
    state = training.state_dict()
    before = copy.deepcopy(state)
    resumed = start()
    resumed.load_state_dict(state)
    training.step()
    resumed.step()
    assert_identical(state, before)
    assert not torch.equal(training.state_dict()["network.log_std"], before["network.log_std"])


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    first, again, other = (start(seed=seed) for seed in (3, 3, 4))
    for training in (first, again, other):
        training.step()
    assert_identical(first.state_dict(), again.state_dict())
    assert not torch.equal(first.network.actor.output.weight, other.network.actor.output.weight)


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(InputError, match="the checkpoint does not fit the settings"):
        start(hidden=16).load_state_dict(start(hidden=8).state_dict())
    state = start().state_dict()
    del state["moments.returns.mean"]
    with pytest.raises(InputError, match="the checkpoint does not fit the settings"):
        start().load_state_dict(state)


# --- environments and settings ---


def test_it_trains_on_a_tasks_environment():
    environment = get_task("circles").make_vec(4)
    training = PPOTraining(settings(), environment)
    scalars = [training.step() for _ in range(3)]
    assert all(np.isfinite(list(values.values())).all() for values in scalars)


def test_an_environment_that_resets_within_a_step_is_refused():
    environment = SyncVectorEnv([lambda: gym.make("Pendulum-v1")], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(InputError, match="autoreset_mode is NEXT_STEP"):
        PPOTraining(settings(), environment)


def test_actions_that_are_choices_are_refused():
    environment = SyncVectorEnv([lambda: gym.make("CartPole-v1")], autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(InputError, match=r"actions that are vectors, not Discrete\(2\)"):
        PPOTraining(settings(), environment)


def test_actions_without_a_range_are_not_scaled():
    environment = Following()
    environment.single_action_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    rollout = start(environment).collect()
    np.testing.assert_array_equal(np.stack(environment.actions), rollout.actions.numpy())


def test_first_actions_are_noise():
    network = ActorCritic(box(5), box(2), 3)
    network.initialize(torch.Generator().manual_seed(0))
    means = network.means(torch.randn(100, 5), torch.randn(100, 3))
    assert means.abs().max() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"total_steps": 0}, "total_steps is 0; give 1 or more"),
        ({"steps_per_update": 1}, "steps_per_update is 1; give 2 or more"),
        ({"minibatch": 1}, "minibatch is 1; give 2 or more"),
        ({"epochs": 0}, "epochs is 0"),
        ({"hidden": -1}, "hidden is -1"),
        ({"updates_per_restart": 0}, "updates_per_restart is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm is -1.0"),
        ({"target_kl": 0.0}, "target_kl is 0.0"),
        ({"gamma": 1.1}, "gamma is 1.1; give a share from 0 to 1"),
        ({"gae_lambda": -0.1}, "gae_lambda is -0.1"),
        ({"value_weight": -1.0}, "value_weight is -1.0; give 0 or more"),
        ({"entropy_weight": -1.0}, "entropy_weight is -1.0"),
        ({"frozen_after": -1}, "frozen_after is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_codes_change_inside_episodes_with_the_given_probability():
    shares = []
    for probability in (0.0, 0.3):
        changes = {"switch_codes": probability, "steps_per_update": 40, "total_steps": 6000}
        rollout = start(Following(40), random_codes, 3, **changes).collect()
        changed = (rollout.codes[1:-1] != rollout.codes[:-2]).any(dim=2)
        inside = rollout.valid[:-1] & ~(rollout.terminated | rollout.truncated)[:-1] & rollout.valid[1:]
        shares.append(changed[inside].double().mean().item())
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.3, abs=0.05)
