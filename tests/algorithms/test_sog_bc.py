from itertools import pairwise

import numpy as np
import pytest
import torch

import manyways
from manyways import InputError
from manyways.algorithms.constrained import ConstrainedCodes
from manyways.clustering.constraints import Constraints, best_codes
from manyways.evaluation.metrics import purity
from manyways.networks.devices import choose_device


def settings(**changes):
    return manyways.SOGBC(**({"prior": manyways.Categorical(2), "iterations": 60, "hidden": 16} | changes))


def weights(policy):
    return {name: tensor.clone() for name, tensor in policy.network.state_dict().items()}


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_each_mode_is_found_and_imitated(policy, demonstrations, labels):
    codes = policy.losses(demonstrations).argmin(axis=1)
    assert purity(codes, labels) == 1
    assert policy.counts == (12, 12)
    for code in (0, 1):
        sign = 1 if labels[codes == code][0] else -1
        observation = np.array([0.5, -0.4, 1.0], np.float32)
        action, _ = policy.predict(observation, state=policy.code(code), deterministic=True)
        np.testing.assert_allclose(action, [sign + 0.15, -0.2], atol=0.1)


def test_one_code_averages_the_modes(demonstrations):
    policy = settings(prior=manyways.Categorical(1), iterations=300).fit(demonstrations)
    action, _ = policy.predict(np.zeros(3), deterministic=True)
    assert abs(action[0]) < 0.4  # plain behaviour cloning does neither -1 nor 1


def test_the_noise_is_the_residual_of_the_demonstrations(policy):
    # Noise of 0.02 was added to the actions; the fit misses them by a little more.
    noise = policy.network.actions.noise
    assert ((noise > 0.017) & (noise < 0.045)).all()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(demonstrations):
    first, again = (weights(settings(seed=3).fit(demonstrations)) for _ in range(2))
    assert_identical(first, again)
    other = weights(settings(seed=4).fit(demonstrations))
    assert not torch.equal(first["output.weight"], other["output.weight"])


@pytest.mark.parametrize("init", ["clusters", "random"])
def test_training_goes_on_bit_for_bit(demonstrations, init):
    chosen = settings(init=init, warm_up=0.5)
    whole = chosen.start(demonstrations)
    while not whole.finished:
        whole.step()
    for stop in (0, 1, 29, 59):
        training = chosen.start(demonstrations)
        for _ in range(stop):
            training.step()
        state = {name: tensor.clone() for name, tensor in training.state_dict().items()}
        resumed = chosen.start(demonstrations)
        resumed.load_state_dict(state)
        assert resumed.iteration == stop
        while not resumed.finished:
            resumed.step()
        assert_identical(resumed.state_dict(), whole.state_dict())


def test_further_training_does_not_change_a_policy(demonstrations):
    training = settings().start(demonstrations)
    training.step()
    policy = training.policy()
    before = weights(policy)
    training.step()
    assert_identical(weights(policy), before)


def test_a_state_of_other_settings_is_refused(demonstrations):
    state = settings(hidden=8).start(demonstrations).state_dict()
    with pytest.raises(InputError, match="the checkpoint does not fit the settings"):
        settings(hidden=16).start(demonstrations).load_state_dict(state)


def test_the_loss_is_the_squared_error_under_the_codes(demonstrations):
    training = settings(learning_rate=1e-9, iterations=2, warm_up=0, init="random").start(demonstrations)
    training.step()
    losses = []
    for index in range(len(demonstrations)):
        observations, actions = (torch.from_numpy(array) for array in demonstrations[index])
        network = training.network
        with torch.no_grad():
            normal = network.actions.normalize(actions)
            errors = [network(observations, code.expand(len(actions), -1)) - normal for code in torch.eye(2)]
        losses.append(min(float(error.square().sum(dim=1).mean()) for error in errors))
    assert training.loss == pytest.approx(np.average(losses, weights=demonstrations.lengths), rel=0.15)


def test_more_codes_than_trajectories_are_refused(demonstrations):
    with pytest.raises(InputError, match="25 codes are more than the 24 trajectories"):
        settings(prior=manyways.Categorical(25)).fit(demonstrations)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations is 0; give 1 or more"),
        ({"steps_per_trajectory": -1}, "steps_per_trajectory is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; give more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"warm_up": 1.0}, "warm_up is 1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"init": "best"}, "init is 'best'"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        settings(**changes)


def test_a_device_that_is_not_there_is_refused(demonstrations):
    with pytest.raises(InputError, match="there is no device 'tricorder' here"):
        settings(device="tricorder").fit(demonstrations)
    assert choose_device("cpu") == torch.device("cpu")


def test_the_callers_arrays_do_not_change(demonstrations):
    before = demonstrations.observations.copy(), demonstrations.actions.copy()
    settings().fit(demonstrations)
    np.testing.assert_array_equal(demonstrations.observations, before[0])
    np.testing.assert_array_equal(demonstrations.actions, before[1])


def test_a_wide_state_gets_a_wide_network():
    rng = np.random.default_rng(0)
    for size, width in ((128, 128), (129, 256)):
        pairs = [(rng.normal(size=(8, size)), rng.normal(size=(8, 2))) for _ in range(4)]
        demonstrations = manyways.Demonstrations.from_arrays(pairs)
        for hidden, expected in ((None, width), (7, 7)):
            settings = manyways.SOGBC(prior=manyways.Categorical(2), hidden=hidden, device="cpu")
            assert settings.start(demonstrations).network.code.out_features == expected


@pytest.mark.parametrize("init", ["clusters", "random"])
@pytest.mark.parametrize("first", [0, 1])
def test_labels_say_which_mode_has_which_code(demonstrations, labels, init, first):
    signs = [first, 1 - first]
    few = np.full(len(demonstrations), -1)
    for mode in (0, 1):
        few[np.flatnonzero(labels == mode)[:2]] = signs[mode]
    policy = settings(init=init, iterations=200).fit(demonstrations.with_labels(few))
    codes = policy.losses(demonstrations).argmin(axis=1)
    np.testing.assert_array_equal(codes, np.array(signs)[labels])


def test_a_label_wins_over_what_the_trajectory_looks_like(demonstrations, labels):
    odd = np.flatnonzero(labels == 1)[0]
    known = np.where(labels == 1, 1, 0)
    known[odd] = 0
    policy = settings(iterations=120).fit(demonstrations.with_labels(known))
    assert policy.counts == (13, 11)


def test_labels_by_name_and_by_place(demonstrations):
    by_place = demonstrations.with_labels({3: 1}).labels
    assert by_place.tolist() == [1 if place == 3 else -1 for place in range(len(demonstrations))]
    assert demonstrations.with_labels({"3": 1}).select(np.array([3, 0])).labels.tolist() == [1, -1]


@pytest.mark.parametrize(
    ("labels", "prior", "words"),
    [
        ({99: 0}, manyways.Categorical(2), "no trajectory '99'"),
        ({0: 2}, manyways.Categorical(2), "the label 2 is no code of 2"),
        ({0: 0}, manyways.Gaussian(1), "the codes are continuous"),
        ([0.5] * 24, manyways.Categorical(2), "not whole numbers"),
        ([0, 1], manyways.Categorical(2), "labels has 2 values for 24"),
    ],
)
def test_labels_that_cannot_be_kept(demonstrations, labels, prior, words):
    with pytest.raises(InputError, match=words):
        settings(prior=prior).start(demonstrations.with_labels(labels))


@pytest.mark.parametrize("init", ["clusters", "random"])
def test_pairs_win_over_what_trajectories_look_like(demonstrations, labels, init):
    one, other = (np.flatnonzero(labels == mode)[:2] for mode in (0, 1))
    # Two of different modes are given as the same way, and two of one mode as different ways.
    paired = demonstrations.with_pairs(same=[(one[0], other[0])], different=[(one[1], 4)])
    training = settings(init=init, iterations=80).start(paired)
    while not training.finished:
        training.step()
    policy = training.policy()
    codes = best_codes(policy.losses(paired), paired, policy.prior)
    assert codes[one[0]] == codes[other[0]]
    assert codes[one[1]] != codes[4]
    assert policy.counts == tuple(np.bincount(codes, minlength=2))


def test_few_pairs_say_which_trajectories_are_one_mode(demonstrations, labels):
    modes = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    same = [pair for own in modes for pair in pairwise(own)]
    paired = demonstrations.with_pairs(same=same, different=[(modes[0][0], modes[1][0])])
    codes = best_codes(settings().fit(paired).losses(paired), paired, manyways.Categorical(2))
    assert purity(codes, labels) == 1


def test_an_interrupted_training_with_pairs_continues_bit_for_bit(demonstrations):
    paired = demonstrations.with_pairs(same=[(0, 1), (2, 5)], different=[(0, 7), (7, 9)])
    whole, first, second = (settings(iterations=30).start(paired) for _ in range(3))
    for _ in range(15):
        first.step()
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for training in (whole, second):
        while not training.finished:
            training.step()
    assert_identical(whole.state_dict(), second.state_dict())


def test_linked_trajectories_have_the_code_with_the_least_sum_and_none_has_a_say_before_its_search():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(4, 2)), rng.normal(size=(4, 1))) for _ in range(5)]
    linked = manyways.Demonstrations.from_arrays(pairs).with_pairs(same=[(0, 1)], different=[(2, 3)])
    asked = Constraints.of(linked, manyways.Categorical(2))
    search = ConstrainedCodes(asked, torch.device("cpu"))

    def codes(*losses):
        trajectories, values = zip(*losses, strict=True)
        return search(torch.tensor(values), torch.tensor(trajectories)).tolist()

    assert codes((0, (0.3, 0.2)), (4, (0.0, 1.0))) == [1, 0]
    assert codes((1, (0.1, 0.6))) == [0]  # the sum is 0.4 for code 0 and 0.8 for code 1
    assert codes((0, (0.3, 0.2))) == [0]
    assert codes((2, (0.1, 0.2)), (3, (0.1, 0.5))) == [1, 0]
    assert codes((2, (0.1, 0.9))) == [0]


def test_segments_keep_no_pairs(demonstrations):
    with pytest.raises(InputError, match="pairs are of trajectories with one mode each"):
        settings(segments=True).start(demonstrations.with_pairs(same=[(0, 1)]))
