import json

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import manyways
from manyways import InputError, Policy


def test_modes_tell_what_was_found(policy):
    assert [(mode.code, mode.trajectories, mode.share) for mode in policy.modes] == [(0, 12, 0.5), (1, 12, 0.5)]


def test_one_observation_and_many(policy):
    one, code = policy.predict(np.ones(3), state=policy.code(1), deterministic=True)
    many, codes = policy.predict(np.ones((4, 3)), state=policy.code(1), deterministic=True)
    assert one.shape == (2,)
    assert code.shape == (2,)
    assert many.shape == (4, 2)
    assert codes.shape == (4, 2)
    np.testing.assert_allclose(many, np.tile(one, (4, 1)), rtol=1e-6)


def test_a_code_is_kept_until_an_episode_starts(policy):
    policy.seed(0)
    observations = np.zeros((200, 3))
    _, codes = policy.predict(observations, episode_start=np.ones(200, bool))
    assert 60 < codes[:, 0].sum() < 140  # drawn from the prior
    _, kept = policy.predict(observations, state=codes, episode_start=np.zeros(200, bool))
    np.testing.assert_array_equal(kept, codes)
    starts = np.arange(200) < 100
    _, some = policy.predict(observations, state=codes, episode_start=starts)
    np.testing.assert_array_equal(some[100:], codes[100:])
    assert (some[:100] != codes[:100]).any()


def test_a_state_given_by_the_user_is_not_changed_in_place(policy):
    mine = policy.code(0)
    policy.predict(np.zeros((5, 3)), state=mine, episode_start=np.ones(5, bool))
    np.testing.assert_array_equal(mine, [1, 0])


def test_noise_is_added_unless_deterministic(policy):
    state = policy.code(0)
    actions = [policy.predict(np.zeros(3), state=state)[0] for _ in range(2)]
    assert (actions[0] != actions[1]).any()
    policy.seed(5)
    first = policy.predict(np.zeros(3), state=state)[0]
    policy.seed(5)
    np.testing.assert_array_equal(policy.predict(np.zeros(3), state=state)[0], first)


def test_actions_stay_in_the_demonstrated_range(policy, demonstrations):
    actions, _ = policy.predict(np.random.default_rng(0).normal(scale=50, size=(500, 3)))
    assert (actions >= demonstrations.actions.min(axis=0)).all()
    assert (actions <= demonstrations.actions.max(axis=0)).all()


def test_a_chosen_way_stays_chosen(policy):
    chosen = policy.with_code(1)
    for start in (None, np.ones(3, bool)):
        _, codes = chosen.predict(np.zeros((3, 3)), episode_start=start)
        np.testing.assert_array_equal(codes, np.tile(policy.code(1), (3, 1)))


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 2, 3), ()])
def test_an_observation_of_the_wrong_shape_is_refused(policy, shape):
    with pytest.raises(InputError, match=r"the observation has shape .* this policy acts on \(3,\) or"):
        policy.predict(np.zeros(shape))


@pytest.mark.parametrize("state", [np.zeros(3), np.zeros((2, 2)), 1, "one"])
def test_a_state_of_the_wrong_shape_is_refused(policy, state):
    with pytest.raises(InputError, match=r"the state has shape .* give a code \(2,\)"):
        policy.predict(np.zeros((3, 3)), state=state)


def test_it_is_the_same_after_saving_and_loading(policy, tmp_path, demonstrations):
    policy.save(tmp_path / "saved")
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {"policy.json", "policy.safetensors"}
    again = Policy.load(tmp_path / "saved")
    assert again.modes == policy.modes
    np.testing.assert_array_equal(again.losses(demonstrations), policy.losses(demonstrations))
    observation, state = np.ones((3, 3)), policy.code(0)
    for deterministic in (True, False):
        policy.seed(1)
        again.seed(1)
        np.testing.assert_array_equal(
            again.predict(observation, state, deterministic=deterministic)[0],
            policy.predict(observation, state, deterministic=deterministic)[0],
        )


def test_damaged_files_are_refused(policy, tmp_path):
    policy.save(tmp_path)
    weights, description = tmp_path / "policy.safetensors", tmp_path / "policy.json"
    data = weights.read_bytes()
    for damaged in (b"", data[:4], data[:-10], data[: len(data) // 2]):
        weights.write_bytes(damaged)
        with pytest.raises(InputError, match=r"policy\.safetensors is damaged or truncated"):
            Policy.load(tmp_path)
    flipped = bytearray(data)
    flipped[-5] ^= 0xFF
    weights.write_bytes(flipped)
    with pytest.raises(InputError, match=r"is not what .* describes"):
        Policy.load(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match=r"policy\.safetensors does not exist"):
        Policy.load(tmp_path)
    weights.write_bytes(data)
    text = json.loads(description.read_text())
    for broken in (
        "{",
        "[]",
        "7",
        json.dumps(text | {"network": {"hidden": "wide"}}),
        json.dumps(text | {"network": {"hidden": 10**7}}),
    ):
        description.write_text(broken)
        with pytest.raises(InputError, match=r"policy\.json is damaged"):
            Policy.load(tmp_path)
    description.write_text(json.dumps(text | {"format": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Policy.load(tmp_path)


def test_demonstrations_of_another_kind_are_refused(policy):
    other = manyways.Demonstrations.from_arrays([(np.zeros((5, 3)), np.zeros((5, 7)))])
    with pytest.raises(
        InputError, match=r"an action is numbers of shape \(7,\), but for the policy numbers of shape \(2,\)"
    ):
        policy.losses(other)


def test_stable_baselines3_evaluates_it(circles_folder):
    demonstrations = manyways.Demonstrations.load(circles_folder)
    policy = manyways.SOGBC(prior=manyways.Categorical(3), iterations=400).fit(demonstrations)
    # Under the code of the trajectories of mode 2, the reward of mode 2 is earned.
    code = int(policy.losses(demonstrations)[manyways.load_modes(circles_folder) == 2].sum(axis=0).argmin())
    environment = Monitor(gym.make("manyways/Circles-v0", mode=2))
    mean, _ = evaluate_policy(policy.with_code(code), environment, n_eval_episodes=2)
    assert mean > 700
    drawn, _ = evaluate_policy(policy, environment, n_eval_episodes=2, return_episode_rewards=True)
    assert len(drawn) == 2
