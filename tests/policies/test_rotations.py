"""Policies that learned angles and quaternions take and give raw columns, wherever they run."""

import json

import numpy as np
import pytest
import torch

import manyways
from manyways import InputError
from manyways.runtime import load_policy

WEST = {"history": 1, "horizon": 1, "optimizer": "muon", "validation": 0.0}


def around(heading):
    return (heading + np.pi) % (2 * np.pi) - np.pi


def heading_west(trajectories=20, steps=30, seed=0):
    """Return demonstrations that see x and a heading near ±π, and answer (heading ± 0.3 by mode, quaternion, y)."""
    rng, pairs = np.random.default_rng(seed), []
    for number in range(trajectories):
        x, heading = rng.standard_normal(steps), np.pi + rng.uniform(-0.6, 0.6, steps)
        done = around(heading + (0.3 if number % 2 else -0.3))
        spin = np.stack([np.cos(x / 2), np.sin(x / 2), 0 * x, 0 * x], axis=1) * rng.choice([-1, 1], (steps, 1))
        pairs.append((np.stack([x, around(heading)], axis=1), np.column_stack([done, spin, x])))
    return manyways.Demonstrations.from_arrays(pairs)


ANGLES, QUATERNIONS = ["observations.1", "actions.0"], ["actions.1"]


@pytest.fixture(scope="module")
def told():
    return heading_west().with_rotations(ANGLES, QUATERNIONS)


def trained(told, **changes):
    settings = {"prior": manyways.Categorical(2), "iterations": 300, "hidden": 32} | WEST | changes
    return manyways.SOGBC(**settings).fit(told)


@pytest.fixture(scope="module")
def west(told):
    return trained(told)


def wrong(policy, told, sign):
    """Return the errors of the heading (radians) and of the rotation (1 - |q·p|) at all steps, for the mode `sign`."""
    seen = told.observations
    code = policy.losses(told).argmin(axis=1)[1 if sign > 0 else 0]
    actions, _ = policy.with_code(int(code)).predict(seen, deterministic=True)
    heading = np.abs(around(actions[:, 0] - seen[:, 1] - 0.3 * sign))
    spin = np.stack([np.cos(seen[:, 0] / 2), np.sin(seen[:, 0] / 2), 0 * seen[:, 0], 0 * seen[:, 0]], axis=1)
    assert np.linalg.norm(actions[:, 1:5], axis=1) == pytest.approx(1, abs=1e-5)
    return heading, 1 - np.abs((actions[:, 1:5] * spin).sum(axis=1))


def test_a_policy_steers_across_the_jump_and_gives_rotations_of_length_1(west, told):
    assert west.observation_space.shape == (2,)
    assert west.action_space.shape == (6,)
    for sign in (1, -1):
        heading, rotation = wrong(west, told, sign)
        assert heading.max() < 0.2
        assert np.median(rotation) < 0.01
    plain = heading_west().with_rotations(["none"])
    raw = trained(plain)
    seen = told.observations
    code = int(raw.losses(plain).argmin(axis=1)[1])
    done, _ = raw.with_code(code).predict(seen, deterministic=True)
    assert np.abs(around(done[:, 0] - seen[:, 1] - 0.3)).max() > 1  # somewhere it steers east


def test_the_codes_need_no_declaration_any_more(west, told):
    undeclared = west.losses(heading_west())
    np.testing.assert_array_equal(undeclared, west.losses(told))
    assert (undeclared.argmin(axis=1) % 2 == undeclared.argmin(axis=1)[np.arange(20) % 2]).all()


@pytest.mark.parametrize(
    "changes", [{}, {"history": 3, "horizon": 4, "execute": 2}, {"history": 2, "horizon": 4, "linear": True}]
)
def test_it_is_the_same_from_its_file_without_pytorch_and_one_at_a_time(tmp_path, told, changes):
    policy = trained(told, **({"iterations": 30} | changes))
    policy.save(tmp_path)
    others = manyways.load_policy(tmp_path), load_policy(tmp_path)
    assert policy.rotations == others[0].rotations == others[1].rotations
    steps = np.stack([told[0][0][:12], told[1][0][:12]], axis=1)
    codes = np.stack([policy.code(0), policy.code(1)])
    states, alone = [codes] * 3, policy.code(1)
    for step in steps:
        answers = [each.predict(step, s, deterministic=True) for each, s in zip((policy, *others), states, strict=True)]
        for action, _ in answers:
            np.testing.assert_allclose(action[:, 1:], answers[0][0][:, 1:], atol=1e-3)
            np.testing.assert_allclose(around(action[:, 0] - answers[0][0][:, 0]), 0, atol=1e-3)
        states = [state for _, state in answers]
        single, alone = policy.predict(step[1], alone, deterministic=True)
        np.testing.assert_allclose(single[1:], answers[0][0][1, 1:], atol=1e-3)


def test_noise_novelty_and_the_start_see_what_is_learned(west, told):
    west.seed(0)
    draws = np.array([west.predict(told[0][0][0], west.code(0))[0] for _ in range(40)])
    assert (np.abs(draws[:, 0]) <= np.pi).all()
    assert np.ptp(np.cos(draws[:, 0])) < 0.5  # all about west
    both = west.novelty(np.array([[0.0, np.pi - 1e-3], [0.0, -np.pi + 1e-3]], np.float32))
    assert both[0] == pytest.approx(both[1], abs=0.1)
    np.testing.assert_allclose(west.start_probabilities(told.observations[:2]).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("algorithm", [manyways.MDN, manyways.BC])
def test_algorithms_without_codes_learn_them_too(algorithm, told):
    policy = algorithm(iterations=5, hidden=16, **WEST).fit(told)
    action, _ = policy.predict(told[0][0][0], deterministic=True)
    assert action.shape == (6,)
    assert np.linalg.norm(action[1:5]) == pytest.approx(1, abs=1e-5)


def test_an_entry_of_a_dictionary_may_have_them(tmp_path, told):
    pairs = [({"place": seen[:, :1], "compass": seen}, done) for seen, done in told]
    demonstrations = manyways.Demonstrations.from_arrays(pairs).with_rotations(["observations/compass.1"])
    policy = trained(demonstrations, iterations=5)
    policy.save(tmp_path)
    seen = {name: array[:3] for name, array in demonstrations.observations.items()}
    for each in (manyways.load_policy(tmp_path), load_policy(tmp_path)):
        assert each.observation_space["compass"].shape == (2,)
        action, _ = each.predict(seen, each.code(0), deterministic=True)
        np.testing.assert_allclose(action, policy.predict(seen, policy.code(0), deterministic=True)[0], atol=1e-3)


def test_training_goes_on_from_a_policy_only_with_the_same_columns(west, told):
    again = manyways.SOGBC(iterations=2, validation=0.0).fit(told, init=west)
    assert again.rotations == west.rotations
    with pytest.raises(InputError, match="other angles or quaternions"):
        manyways.SOGBC(iterations=2, validation=0.0).fit(heading_west().with_rotations(ANGLES), init=west)


def test_onnx_refuses_them_in_a_sentence(tmp_path, west):
    with pytest.raises(InputError, match="angles or quaternions"):
        west.export(tmp_path / "policy.onnx")


def test_a_damaged_file_is_refused(tmp_path, west):
    west.save(tmp_path)
    path = tmp_path / "policy.json"
    description = json.loads(path.read_text())
    description["rotations"]["actions"]["size"] = 9
    path.write_text(json.dumps(description))
    for load in (manyways.load_policy, load_policy):
        with pytest.raises(InputError, match="is damaged"):
            load(tmp_path)


def test_what_comes_round_is_learned_so_unless_the_user_says_that_nothing_does(told):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=1, **WEST)
    training = settings.start(heading_west())
    assert training.rotations.columns() == told.rotations.columns()
    assert any("observations.1, actions.0, actions.1; --angles none" in each for each in training.warnings)
    assert not settings.start(told).warnings
    plain = settings.start(heading_west().with_rotations(["none"]))
    assert plain.rotations is None
    assert not any("angles" in each for each in plain.warnings)
    partly = settings.start(heading_west().with_rotations(ANGLES[:1]))
    assert any("--angles actions.0" in each for each in partly.warnings)


def test_recognised_columns_come_back_from_a_file_and_into_more_training(tmp_path):
    policy = trained(heading_west(), iterations=5)
    policy.save(tmp_path)
    again = manyways.load_policy(tmp_path)
    assert again.rotations.columns() == policy.rotations.columns()
    few = heading_west(trajectories=4, steps=3)  # too few to recognise anything
    more = manyways.SOGBC(prior=manyways.Categorical(2), iterations=1, hidden=32, **WEST).fit(few, init=again)
    assert more.rotations.columns() == policy.rotations.columns()


def test_a_checkpoint_continues_bit_for_bit(told):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=6, hidden=16, **WEST)
    whole, first, second = (settings.start(told) for _ in range(3))
    while not whole.finished:
        whole.step()
    for _ in range(3):
        first.step()
    second.load_state_dict(first.state_dict())
    while not second.finished:
        second.step()
    for one, other in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_sog_gail_refuses_them_in_a_sentence(told):
    with pytest.raises(InputError, match="sog-gail cannot learn angles"):
        manyways.SOGGAIL(prior=manyways.Categorical(2)).start(told, object())


def test_codes_that_change_within_trajectories_are_found_with_them(tmp_path, told):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=20, hidden=16, segments=True, **WEST)
    policy = settings.fit(told)
    policy.save(tmp_path)
    again = manyways.load_policy(tmp_path)
    assert again.segments(told) == policy.segments(heading_west())
    assert again.predict(told[0][0][0], again.code(0), deterministic=True)[0].shape == (6,)
