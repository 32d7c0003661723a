import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import manyways
import manyways.runtime
from manyways import InputError, Policy


def test_modes_list_codes_and_their_demonstrations(policy):
    assert [(mode.code, mode.trajectories, mode.share) for mode in policy.modes] == [(0, 12, 0.5), (1, 12, 0.5)]


def test_one_observation_and_many(policy):
    one, code = policy.predict(np.ones(3), state=policy.code(1), deterministic=True)
    many, codes = policy.predict(np.ones((4, 3)), state=policy.code(1), deterministic=True)
    assert one.shape == (2,)
    assert code.shape == (2,)
    assert many.shape == (4, 2)
    assert codes.shape == (4, 2)
    np.testing.assert_allclose(many, np.tile(one, (4, 1)), rtol=1e-6)


def test_a_code_stays_until_an_episode_starts(policy):
    policy.seed(0)
    observations = np.zeros((200, 3))
    _, codes = policy.predict(observations, episode_start=np.ones(200, bool))
    assert 60 < codes[:, 0].sum() < 140  # drawn from the prior
    _, states = policy.predict(observations, state=codes, episode_start=np.zeros(200, bool))
    np.testing.assert_array_equal(states, codes)
    starts = np.arange(200) < 100
    _, some = policy.predict(observations, state=codes, episode_start=starts)
    np.testing.assert_array_equal(some[100:], codes[100:])
    assert (some[:100] != codes[:100]).any()


def test_the_callers_state_is_not_changed_in_place(policy):
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


def test_a_fixed_code_stays(policy):
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
    returns, _ = evaluate_policy(policy, environment, n_eval_episodes=2, return_episode_rewards=True)
    assert len(returns) == 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_observation_that_is_not_finite_is_refused(policy, value):
    observations = np.zeros((4, 3))
    observations[2, 1] = value
    with pytest.raises(InputError, match=r"the observation has (nan|inf) at \(2, 1\); mend the environment"):
        policy.predict(observations)


@pytest.mark.parametrize("wrong", [{"a": np.zeros(3)}, "north", None, [[1, 2], [3]]])
def test_an_observation_of_another_type_is_refused(policy, wrong):
    with pytest.raises(InputError, match="the observation is a"):
        policy.predict(wrong)


def test_a_fixed_code_is_saved_and_loaded(policy, tmp_path):
    policy.with_code(1).save(tmp_path)
    _, code = Policy.load(tmp_path).predict(np.zeros(3))
    np.testing.assert_array_equal(code, policy.code(1))


def test_callers_that_drop_the_state_are_warned_once(policy):
    observations = np.random.default_rng(0).normal(size=(40, 3))
    careful, careless = Policy(policy.network, policy.prior), Policy(policy.network, policy.prior)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = None
        for observation in observations:
            _, state = careful.predict(observation, state)
        for observation in observations:
            policy.with_code(0).predict(observation)
    with pytest.warns(UserWarning, match="a new code is drawn at every step") as caught:
        _ = [careless.predict(observation) for observation in observations]
    assert len(caught) == 1


def test_callers_that_normalise_observations_are_warned():
    rng = np.random.default_rng(0)
    raw = rng.normal([300, -7], [4.0, 1.0], (20, 30, 2))
    demonstrations = manyways.Demonstrations.from_arrays([(o, o[:, :1] / 100) for o in raw])
    policy = manyways.BC(iterations=2, hidden=8).fit(demonstrations)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(30):
            policy.predict(raw[:, step])
    twice = (raw - [300, -7]) / [4.0, 1.0]  # what VecNormalize gives
    fresh = Policy(policy.network, policy.prior)
    with pytest.warns(UserWarning, match="not through VecNormalize") as caught:
        _ = [fresh.predict(twice[:, step]) for step in range(30)]
    assert len(caught) == 1


def test_positions_far_from_the_origin_and_small_units_are_learned_equally_well():
    rng = np.random.default_rng(0)
    near = rng.normal(size=(12, 40, 2))
    actions = np.stack([near[..., 0], near[..., 1]], axis=2)
    settings = manyways.BC(iterations=120, hidden=32)
    fits = []
    for offset, unit in ((0.0, 1.0), (4.5e6, 1.0), (0.0, 1e-7)):
        pairs = [(o + offset, a * [unit, 1]) for o, a in zip(near, actions, strict=True)]
        demonstrations = manyways.Demonstrations.from_arrays(pairs)
        assert demonstrations.ignored_columns == ()
        policy = settings.fit(demonstrations)
        results = policy.predict(near[0] + offset, deterministic=True)[0] / [unit, 1]
        fits.append(np.abs(results - actions[0]).mean(axis=0))
    assert np.max(fits) < 0.2
    np.testing.assert_allclose(fits[1], fits[0], atol=0.02)
    np.testing.assert_allclose(fits[2], fits[0], atol=0.02)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        (manyways.BC, {}),
        (manyways.SOGBC, {"prior": manyways.Categorical(1), "linear": True, "network": "residual"}),
        (manyways.BC, {"history": 2, "horizon": 4, "execute": 2}),
        (manyways.BC, {"horizon": 4, "ensemble": 0.1}),
        (manyways.MDN, {}),
        (manyways.BeT, {}),
        (manyways.Diffusion, {}),
    ],
)
def test_actions_far_from_the_origin_are_answered_in_their_own_precision(tmp_path, algorithm, settings):
    rng = np.random.default_rng(0)
    pairs = [(seen, np.sin(seen[:, :2])) for seen in rng.normal(size=(12, 30, 3)).astype(np.float32)]
    far = [(seen, done + np.array([4.5e6, 0])) for seen, done in pairs]
    answers = []
    for data, offset in ((pairs, 0), (far, [4.5e6, 0])):
        policy = algorithm(iterations=3, hidden=16, **settings).fit(manyways.Demonstrations.from_arrays(data))
        policy.save(tmp_path)
        loaders = [manyways.load_policy] + [manyways.runtime.load_policy] * (algorithm in (manyways.BC, manyways.SOGBC))
        for one in [policy, *(load(tmp_path) for load in loaders)]:
            for seen, state in ((pairs[0][0], None), (pairs[0][0][0], None), (np.tile(pairs[0][0][0], (99, 1)), None)):
                for _ in range(3):
                    done, state = one.predict(seen, state, deterministic=True)
                    assert done.dtype == one.action_space.dtype
                    answers.append((done - offset).ravel())
            assert one.predict(seen)[0].dtype == one.action_space.dtype
    near, shifted = (np.concatenate(half) for half in (answers[: len(answers) // 2], answers[len(answers) // 2 :]))
    np.testing.assert_allclose(shifted, near, atol=2e-3)


def test_columns_that_are_ignored_are_named():
    observations = np.stack([np.arange(9.0), np.full(9, 2.5)], axis=1)
    demonstrations = manyways.Demonstrations.from_arrays([(observations, observations[:, :1])])
    with pytest.warns(UserWarning, match="columns that do not vary are ignored: observations 1"):
        manyways.BC(iterations=1, hidden=8).fit(demonstrations)


def test_it_is_printed_in_a_line(policy):
    assert repr(policy) == "Policy(2 codes; from numbers of shape (3,) to numbers of shape (2,))"
    assert repr(policy.with_code(1)).startswith("Policy(2 codes, always 1; from")
    assert str(manyways.Categorical(1)) == "1 code"


def test_a_callback_may_end_training(demonstrations):
    iterations = []
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=50, hidden=8)
    settings.fit(demonstrations, callback=lambda training: iterations.append(training.iteration) or len(iterations) < 3)
    assert iterations == [1, 2, 3]


@pytest.mark.parametrize("history", [1, 2])
def test_a_state_that_is_no_code_or_not_finite_is_refused(demonstrations, history, tmp_path):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=1, hidden=8, history=history, horizon=1)
    policy = settings.fit(demonstrations)
    one = np.zeros(3, np.float32)
    _, state = policy.predict(one, policy.code(0), deterministic=True)
    wrong = [(0, np.nan, "not finite"), (slice(2), 0, "is none"), (0, 0.5, "is none"), (slice(2), [1, 1], "is none")]
    if history > 1:
        wrong.append((3, np.inf, "not finite"))
    for place, value, message in wrong:
        changed = state.copy()
        changed[place] = value
        for observation in (one, np.tile(one, (3, 1))):
            with pytest.raises(InputError, match=f"the state has .*{message}"):
                policy.predict(observation, changed, deterministic=True)
    new = policy.predict(np.tile(one, (3, 1)), np.zeros((3, 2)), np.ones(3, bool))[1]  # drawn anew
    assert (new[:, :2].sum(axis=1) == 1).all()


@pytest.mark.parametrize("load", [manyways.load_policy, manyways.runtime.load_policy])
@pytest.mark.parametrize("code", [[float("nan"), 0.0], [0.0, 0.0], [1.0, 1.0]])
def test_a_saved_code_that_is_none_is_refused(policy, tmp_path, load, code):
    policy.save(tmp_path)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chosen_code": code}))
    with pytest.raises(InputError, match=r"policy\.json is damaged"):
        load(tmp_path)


def test_pictures_in_another_range_are_refused_or_warned_of():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, 256, (9, 8, 8), dtype=np.uint8), rng.normal(size=(9, 2))) for _ in range(4)]
    policy = manyways.BC(iterations=1, hidden=8).fit(manyways.Demonstrations.from_arrays(pairs))
    picture = np.linspace(0, 255, 64).reshape(8, 8).astype(np.uint8)
    expected = policy.predict(picture, deterministic=True)[0]
    np.testing.assert_allclose(policy.predict(picture.astype(int), deterministic=True)[0], expected)
    for wrong in (picture.astype(int) + 200, picture.astype(float) - 1, picture.astype(int) * -1):
        with pytest.raises(InputError, match=r"the observation has values from .* give a picture of 0 to 255"):
            policy.predict(wrong)
    fresh = Policy(policy.network, policy.prior)
    with pytest.warns(UserWarning, match=r"has values from 0 to 1.* not divided by 255") as caught:
        _ = [fresh.predict(picture / picture.max()) for _ in range(3)]
    assert len(caught) == 1
