"""Temporal ensembling: the action is the weighted mean of all plans that reach the step."""

import json

import numpy as np
import pytest
import torch

import manyways
from manyways import InputError, Policy
from manyways.demonstrations.spaces import box
from manyways.networks.chunks import ChunkNetwork
from manyways.runtime import load_policy

SETTINGS = {"prior": manyways.Categorical(2), "iterations": 30, "hidden": 16, "history": 2, "horizon": 4}


class Echo(ChunkNetwork):
    """Plans, as action k, ten times the last observation plus k."""

    kind = "echo"

    def __init__(self, horizon):
        super().__init__(box(1), box(1), chunk=horizon, executed=horizon)

    def draw(self, windows, rng):
        return 10 * windows[:, -1:] + torch.arange(self.chunk)[:, None]


def expected(seen, horizon, decay):
    """Return the actions of one episode, from what it has seen."""
    done = []
    for step in range(len(seen)):
        ages = np.arange(min(step + 1, horizon))
        plans = np.array([10 * seen[step - age] + age for age in ages])
        done.append(np.average(plans, weights=np.exp(-decay * ages)))
    return np.array(done)


@pytest.mark.parametrize("decay", [0.0, 0.5, -0.3])
@pytest.mark.parametrize("horizon", [2, 5])
def test_the_action_is_the_weighted_mean_of_the_plans_for_this_step(decay, horizon):
    policy = Policy(Echo(horizon), ensemble=decay)
    seen = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    starts = np.zeros((12, 3), bool)
    starts[0] = True
    starts[7, 1] = True  # one environment starts anew on the way
    state, done = None, []
    for observation, start in zip(seen, starts, strict=True):
        action, state = policy.predict(observation[:, None], state, start, deterministic=True)
        done.append(action[:, 0])
    done = np.array(done)
    for place in (0, 2):
        np.testing.assert_allclose(done[:, place], expected(seen[:, place], horizon, decay), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(done[:7, 1], expected(seen[:7, 1], horizon, decay), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(done[7:, 1], expected(seen[7:, 1], horizon, decay), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("algorithm", [manyways.SOGBC, manyways.MDN, manyways.Diffusion])
def test_it_is_a_setting_which_policies_keep_in_their_files(tmp_path, demonstrations, algorithm):
    settings = {name: value for name, value in SETTINGS.items() if algorithm.has_codes or name != "prior"}
    policy = algorithm(ensemble=0.1, **settings).fit(demonstrations)
    assert (policy.ensemble, policy.network.executed) == (0.1, 4)
    policy.save(tmp_path)
    others = [manyways.load_policy(tmp_path)] + ([load_policy(tmp_path)] if algorithm.has_codes else [])
    assert {each.ensemble for each in others} == {0.1}
    seen = demonstrations[0][0][:8]
    if not algorithm.has_codes:
        return  # they draw, each for itself
    for each in others:
        states = [policy.code(1), each.code(1)]
        for observation in seen:
            (action, states[0]), (other, states[1]) = (
                one.predict(observation, state, deterministic=True)
                for one, state in zip((policy, each), states, strict=True)
            )
            np.testing.assert_allclose(other, action, atol=1e-3)


def test_a_switch_stays_one_of_its_two_values(demonstrations):
    pairs = [(seen, np.column_stack([done, np.where(seen[:, 0] > 0, 1.0, -1.0)])) for seen, done in demonstrations]
    policy = manyways.SOGBC(ensemble=0.0, **SETTINGS).fit(manyways.Demonstrations.from_arrays(pairs))
    state, done = policy.code(0), []
    for observation in pairs[0][0]:
        action, state = policy.predict(observation, state, deterministic=True)
        done.append(action[-1])
    assert set(done) == {-1.0, 1.0}


def test_angles_are_averaged_across_their_jump():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(20):
        x = rng.normal(size=(20, 1))
        pairs.append((x, (np.where(x > 0, 0.2, -0.2)) % (2 * np.pi) - np.pi))
    told = manyways.Demonstrations.from_arrays(pairs).with_rotations(["actions.0"])
    policy = manyways.SOGBC(ensemble=0.0, **SETTINGS).fit(told)
    state = policy.code(0)
    for observation in pairs[0][0].astype(np.float32):
        action, state = policy.predict(observation, state, deterministic=True)
        assert abs(action[0]) > np.pi - 0.5


def test_what_cannot_be_averaged_is_refused_in_a_sentence(tmp_path, demonstrations):
    for settings, words in (
        ({"ensemble": 0.1, "execute": 2}, "leave one out"),
        ({"ensemble": float("nan")}, "give a number"),
        ({"ensemble": "on"}, "give a number"),
    ):
        with pytest.raises(InputError, match=words):
            manyways.SOGBC(**settings)
    with pytest.raises(InputError, match="plans have one action"):
        manyways.SOGBC(**SETTINGS | {"ensemble": 0.1, "horizon": 1}).start(demonstrations)
    choices = manyways.Demonstrations.from_arrays([(np.zeros((9, 1)), np.arange(9) % 3)] * 4)
    with pytest.raises(InputError, match="choices have no mean"):
        manyways.SOGBC(ensemble=0.1, **SETTINGS).start(choices)
    manyways.SOGBC(ensemble=0.1, **SETTINGS).fit(demonstrations).save(tmp_path)
    description = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(description | {"ensemble": "often"}))
    for load in (manyways.load_policy, load_policy):
        with pytest.raises(InputError, match="is damaged"):
            load(tmp_path)


def test_training_from_a_policy_keeps_its_ensemble(demonstrations):
    policy = manyways.SOGBC(ensemble=0.1, **SETTINGS).fit(demonstrations)
    again = manyways.SOGBC(iterations=3).fit(demonstrations, init=policy)
    assert again.ensemble == 0.1
    assert "ensemble" not in manyways.SOGBC().to_json()
