import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from following import Following, assert_identical, random_codes, settings, start
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from manyways import InputError
from manyways.demonstrations.spaces import box
from manyways.files import read_tensors, write_tensors
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.ppo import PPOTraining
from manyways.tasks import get_task


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
