"""The families of simulated tasks: what is shown is right, what is judged is right, and all of it follows its seed."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import manyways
from families import FAMILIES, NONE, Arm, Family, Planar, Push, Script
from yardstick import yardstick

SIZES = {"arm": (19, 7), "planar": (11, 2), "push": (11, 2)}  # of an observation, of an action


@pytest.fixture(params=sorted(FAMILIES))
def family(request) -> Family:
    return FAMILIES[request.param](variant=1)


class Still:
    """A policy that does nothing, and counts its calls in its state."""

    def __init__(self, actions):
        self.actions = actions

    def with_code(self, which):
        return self

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        count = len(observation)
        assert (state is None) == bool(np.all(episode_start))
        assert state is None or state == self.calls
        self.calls = 1 if state is None else state + 1
        return np.tile(self.actions, (count, 1)), self.calls


@pytest.mark.parametrize("name", sorted(FAMILIES))
@pytest.mark.parametrize("variant", range(6))
def test_the_script_does_every_mode_of_every_variant(name, variant):
    family = FAMILIES[name](variant)
    np.testing.assert_array_equal(family.success(family.script(), range(family.modes), 100, seed=0), 1)


def test_a_mode_is_not_taken_for_another(family):
    wrong = np.roll(np.arange(family.modes), 1)
    np.testing.assert_array_equal(family.success(family.script(), wrong, 20, seed=0), 0)


def test_a_policy_that_does_nothing_fails_and_keeps_its_state(family):
    still = Still(np.zeros(SIZES[family.name][1]))
    np.testing.assert_array_equal(family.success(still, range(family.modes), 5, seed=0), 0)
    assert still.calls == family.horizon


def test_demonstrations_show_their_labels_and_have_human_lengths(family):
    demonstrations, labels = family.demonstrations(60, seed=0)
    assert len(demonstrations) == len(labels) == 60
    assert demonstrations.observation_space.shape == (SIZES[family.name][0],)
    assert demonstrations.action_space.shape == (SIZES[family.name][1],)
    np.testing.assert_array_equal(family.modes_shown(demonstrations), labels)
    np.testing.assert_array_equal(np.bincount(labels), 60 // family.modes)
    assert len(set(demonstrations.lengths)) > 10
    assert 30 <= demonstrations.lengths.min() < demonstrations.lengths.max() <= 160
    assert demonstrations.ignored_columns == ()


def test_demonstrations_are_what_the_simulation_does_on_their_actions(family):
    for observations, actions in family.demonstrations(4, seed=3)[0]:
        cores = observations[:, : family.columns].astype(np.float64)
        np.testing.assert_allclose(family.advance(cores[:-1], actions[:-1]), cores[1:], atol=1e-5)


def test_all_follows_from_the_seed(family):
    first, again, other = (family.demonstrations(12, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0].observations, again[0].observations)
    np.testing.assert_array_equal(first[0].actions, again[0].actions)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0].lengths, other[0].lengths)
    elsewhere = type(family)(variant=2).demonstrations(12, 0)[0]
    assert not np.array_equal(first[0].lengths, elsewhere.lengths)


def test_shares_may_be_unequal(family):
    shares = np.arange(1, family.modes + 1)
    labels = family.demonstrations(10 * int(shares.sum()), 0, shares)[1]
    np.testing.assert_array_equal(np.bincount(labels), 10 * shares)


def test_errors_of_the_operator_are_autocorrelated():
    family = Arm(variant=0)
    demonstrations, labels = family.demonstrations(30, seed=0)
    correlations = []
    for (observations, actions), label in zip(demonstrations, labels, strict=True):
        script = Script(family, int(label)).predict(observations)[0]
        off = (actions - script)[:30, 1]
        correlations.append(np.corrcoef(off[:-1], off[1:])[0, 1])
    assert np.mean(correlations) > 0.5


def test_the_arm_has_a_gripper_of_two_commands_and_a_nearly_constant_joint():
    demonstrations, _ = Arm(variant=0).demonstrations(12, seed=0)
    np.testing.assert_array_equal(np.unique(demonstrations.actions[:, 6]), [-1, 1])
    assert 1e-4 < demonstrations.actions[:, 5].std() < 0.02 * demonstrations.actions[:, :5].std()
    last = [observations[-1, 15] for observations, _ in demonstrations]
    np.testing.assert_array_equal(last, -1)


def test_the_hand_goes_where_the_arm_was_told():
    family = Arm(variant=0)
    core = family.reset(50, np.random.default_rng(0))
    velocity = 0.1 * np.random.default_rng(1).normal(size=(50, 3))
    actions = np.concatenate([family._follow(core[:, :6], velocity, np.ones(50)), np.ones((50, 1))], axis=1)
    moved = (family.advance(core, 1e-3 * actions) - core)[:, 6:9] / 1e-4
    np.testing.assert_allclose(moved, velocity, atol=0.02)


def test_an_arm_that_touches_the_post_or_stays_open_fails():
    family = Arm(variant=0)
    core = family.reset(1, np.random.default_rng(0))
    track = np.repeat(core[None], 4, axis=0)  # start, far left of the post, target, target with the gripper closed
    post, target = core[0, 12:15], core[0, 9:12]
    ahead = (target - post)[:2] / np.linalg.norm((target - post)[:2])
    track[1, 0, 6:9] = post + 0.15 * np.array([-ahead[1], ahead[0], 0])
    track[2:, 0, 6:9] = target
    assert family._judge(track) == [NONE]
    track[3, 0, 15] = -1
    assert family._judge(track) == [0]
    track[1, 0, 6:9] = post
    assert family._judge(track) == [NONE]


def test_the_pusher_acts_on_what_was_two_steps_ago():
    family = Push(variant=0)
    demonstrations, labels = family.demonstrations(20, seed=0)
    errors = np.zeros(5)
    for (observations, actions), label in zip(demonstrations, labels, strict=True):
        script = Script(family, int(label)).predict(observations)[0]
        errors += [np.square(actions[4:40] - script[4 - delay : 40 - delay]).mean() for delay in range(5)]
    assert errors.argmin() == 2


def test_a_planar_mode_is_a_side_and_a_speed():
    family = Planar(variant=0)
    demonstrations, labels = family.demonstrations(40, seed=0)
    lengths = [demonstrations.lengths[labels // 2 == fast] for fast in (0, 1)]
    assert lengths[0].mean() > 1.5 * lengths[1].mean()


def test_a_policy_of_the_library_can_be_rolled_out():
    family = Push(variant=0)
    demonstrations, _ = family.demonstrations(8, seed=0)
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=3, hidden=8, init="random").fit(demonstrations)
    success = family.success(policy, [1, 0], 4, seed=0)
    assert success.shape == (2,)
    assert np.all((success >= 0) & (success <= 1))


def test_the_yardstick_learns_and_is_switched_by_the_mode():
    family = Arm(variant=0)
    demonstrations, labels = family.demonstrations(90, seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the network is small: a second thread beside other work costs much, and gains nothing
    learned = yardstick(family, demonstrations, labels, seed=0, iterations=600)
    torch.set_num_threads(threads)
    assert learned.loss < 4  # of seven action dimensions that vary
    assert family.success(learned, [0, 1, 2], 50, seed=0).min() > 0.3
    assert family.success(learned, [1, 2, 0], 50, seed=0).max() < 0.2
