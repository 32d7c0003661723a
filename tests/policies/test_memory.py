import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import manyways
from manyways import MDN, BeT, Diffusion, InputError, Policy, VQBeT
from manyways.demonstrations.spaces import box
from manyways.networks.chunks import ChunkNetwork

SETTINGS = {
    "mdn": MDN(iterations=5, hidden=16, steps_per_batch=64),
    "bet": BeT(iterations=5, hidden=16, heads=2, layers=1, history=4, bins=8, steps_per_batch=16),
    "vq-bet": VQBeT(iterations=5, hidden=16, heads=2, layers=1, history=4, bins=8, steps_per_batch=16),
    "diffusion": Diffusion(iterations=5, hidden=16, steps_per_batch=64),
}


@pytest.fixture(scope="module", params=list(SETTINGS))
def without_codes(request, demonstrations):
    """Return a policy of each kind, hardly trained."""
    return SETTINGS[request.param].fit(demonstrations)


class Counter(ChunkNetwork):
    """Does, as action k of a chunk, the last observation plus k plus a tenth of the first that it sees."""

    kind = "counter"

    def __init__(self, window=3, executed=2):
        super().__init__(box(1), box(1), window=window, chunk=executed, executed=executed)

    def draw(self, windows, rng):
        assert windows.shape[1:] == (self.window, 1)
        noise = 0 if rng is None else torch.from_numpy(rng.standard_normal((len(windows), 1, 1), dtype=np.float32))
        return windows[:, -1:] + torch.arange(self.executed)[:, None] + windows[:, :1] / 10 + noise


def rolled(policy, observations, starts, **settings):
    """Return the actions (steps, environments, 1) on observations (steps, environments, 1), and the last state."""
    actions, state = [], None
    for observation, start in zip(observations, starts, strict=True):
        action, state = policy.predict(observation, state, start, **settings)
        actions.append(action)
    return np.stack(actions), state


def test_the_window_has_the_last_observations_and_repeats_the_first_at_the_start():
    policy = Policy(Counter(window=3, executed=1))
    actions, state = [], None
    for value in (1.0, 2.0, 3.0, 4.0, 5.0):
        action, state = policy.predict([value], state, deterministic=True)
        actions.append(action.item())
    np.testing.assert_allclose(actions, [1.1, 2.1, 3.1, 4.2, 5.3], rtol=1e-6)


def test_a_chunk_is_executed_before_the_next_is_drawn():
    policy = Policy(Counter(window=1, executed=3))
    actions, state = [], None
    for value in (0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0):
        action, state = policy.predict([value], state, deterministic=True)
        actions.append(action.item())
    # A chunk continues from the observation at which it was drawn, and adds a tenth for each action.
    np.testing.assert_allclose(actions, [0, 1, 2, -3.3, -2.3, -1.3, -6.6], rtol=1e-5)


def test_environments_out_of_phase_act_as_each_would_alone():
    policy = Policy(Counter(window=3, executed=2))
    rng = np.random.default_rng(0)
    observations = rng.uniform(-5, 5, size=(30, 4, 1)).astype(np.float32)
    starts = rng.random((30, 4)) < 0.2
    starts[0] = True
    together, _ = rolled(policy, observations, starts, deterministic=True)
    for environment in range(4):
        state = None
        for step in range(30):
            before = None if starts[step, environment] else state
            action, state = policy.predict(observations[step, environment], before, deterministic=True)
            np.testing.assert_array_equal(action, together[step, environment])


def test_one_observation_and_many_agree(without_codes):
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(12, 3, 3)).astype(np.float32)
    state, states = None, None
    for step in range(12):
        many, states = without_codes.predict(observations[step], states, deterministic=True)
        one, state = without_codes.predict(observations[step, 1], state, deterministic=True)
        assert one.shape == (2,)
        assert state.shape == (without_codes.state_size,)
        assert many.shape == (3, 2)
        assert states.shape == (3, without_codes.state_size)
        np.testing.assert_allclose(many[1], one, atol=1e-4)
        np.testing.assert_allclose(states[1], state, atol=1e-4)


def test_the_same_seed_draws_the_same_actions(without_codes):
    observations = np.zeros((50, 3))
    without_codes.seed(5)
    first = without_codes.predict(observations)[0]
    assert len(np.unique(first[:, 0])) > 5
    assert (without_codes.predict(observations)[0] != first).any()
    without_codes.seed(5)
    np.testing.assert_array_equal(without_codes.predict(observations)[0], first)
    surest = without_codes.predict(observations, deterministic=True)[0]
    np.testing.assert_allclose(surest, np.tile(surest[:1], (50, 1)), atol=1e-5)


def test_the_callers_state_is_not_changed_in_place(without_codes):
    _, state = without_codes.predict(np.ones((2, 3)))
    before = state.copy()
    without_codes.predict(np.zeros((2, 3)), state, np.array([True, False]))
    np.testing.assert_array_equal(state, before)


def test_actions_stay_in_the_demonstrated_range(without_codes, demonstrations):
    actions, _ = without_codes.predict(np.random.default_rng(0).normal(scale=1e4, size=(300, 3)))
    assert (actions >= demonstrations.actions.min(axis=0)).all()
    assert (actions <= demonstrations.actions.max(axis=0)).all()


def test_observations_are_clipped_at_ten_standard_deviations(without_codes, demonstrations):
    far = demonstrations.observations.mean(axis=0) + 11 * demonstrations.observations.std(axis=0)
    near, farther = without_codes.predict([far, 100 * far], deterministic=True)[0]
    np.testing.assert_allclose(near, farther, atol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 2, 3), ()])
def test_an_observation_of_the_wrong_shape_is_refused(without_codes, shape):
    with pytest.raises(InputError, match=r"the observation has shape .* this policy acts on \(3,\) or"):
        without_codes.predict(np.zeros(shape))


def test_a_state_of_another_policy_is_refused(without_codes):
    if without_codes.state_size == 0:  # it remembers nothing
        return
    for state in (np.zeros((2, without_codes.state_size + 1)), np.zeros((1, without_codes.state_size)), 1):
        with pytest.raises(InputError, match=r"the state has shape .* numbers for each of the 2 observations"):
            without_codes.predict(np.zeros((2, 3)), state)
    for wrong in (-1, 0.5, 1000, np.nan):
        with pytest.raises(InputError, match=r"the state is not one that this policy's predict returned|not finite"):
            without_codes.predict(np.zeros((2, 3)), np.full((2, without_codes.state_size), wrong))
    # What an environment that starts anew remembers is not looked at.
    without_codes.predict(np.zeros((2, 3)), np.full((2, without_codes.state_size), np.nan), np.ones(2, bool))


def test_it_is_the_same_after_saving_and_loading(without_codes, tmp_path):
    without_codes.save(tmp_path / "saved")
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {"policy.json", "policy.safetensors"}
    again = Policy.load(tmp_path / "saved", seed=1)
    assert again.network.kind == without_codes.network.kind
    assert again.prior is None
    assert again.state_size == without_codes.state_size
    observations = np.random.default_rng(0).normal(size=(6, 5, 3))
    starts = np.zeros((6, 5), bool)
    for deterministic in (True, False):
        without_codes.seed(1)
        again.seed(1)
        np.testing.assert_array_equal(
            rolled(again, observations, starts, deterministic=deterministic)[0],
            rolled(without_codes, observations, starts, deterministic=deterministic)[0],
        )


def test_damaged_files_are_refused(without_codes, tmp_path):
    without_codes.save(tmp_path)
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
    network = text["network"]
    for broken in (
        "{",
        "[]",
        "7",
        json.dumps({"format": 1}),
        json.dumps(text | {"kind": "telepathy"}),
        json.dumps(text | {"kind": ["mdn"]}),
        json.dumps(text | {"observation_space": {"kind": "box", "shape": [-3], "dtype": "float32"}}),
        json.dumps(text | {"observation_space": {"kind": "box", "shape": [10**9, 10**9], "dtype": "float32"}}),
        json.dumps(text | {"action_space": {"kind": "discrete", "choices": [10**12]}}),
        json.dumps(text | {"network": network | {"hidden": 10**7}}),
        json.dumps(text | {"network": []}),
        json.dumps(text | {"network": network | {"hidden": "wide"}}),
        json.dumps(text | {"network": network | {"hidden": 32}}),
        json.dumps(text | {"network": network | {"colour": 3}}),
        json.dumps(text | {"network": network | {list(network)[-2]: 0}}),
        json.dumps(text | {"network": network | {"executed": 100}}),
        json.dumps(text | {"network": {}}),
        json.dumps(text | {"network": {"hidden": 16}}),
    ):
        description.write_text(broken)
        with pytest.raises(InputError, match=r"policy\.json is damaged|telepathy"):
            Policy.load(tmp_path)
    description.write_text(json.dumps(text | {"format": 99}))
    with pytest.raises(InputError, match="has format 99"):
        Policy.load(tmp_path)


def test_without_codes_none_can_be_chosen(without_codes, demonstrations):
    for ask in (lambda: without_codes.code(0), lambda: without_codes.losses(demonstrations)):
        with pytest.raises(InputError, match="this policy has no codes"):
            ask()


def test_stable_baselines3_evaluates_it(circles_folder):
    policy = BeT(iterations=2, hidden=16, history=3, bins=8, layers=1).fit(manyways.Demonstrations.load(circles_folder))
    environment = Monitor(gym.make("manyways/Circles-v0", max_episode_steps=50))
    returns, lengths = evaluate_policy(policy, environment, n_eval_episodes=2, return_episode_rewards=True)
    assert len(returns) == len(lengths) == 2
