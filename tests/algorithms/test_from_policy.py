import numpy as np
import pytest
import torch
from torch import nn

import manyways
from manyways import InputError
from manyways.algorithms.from_policy import like

SMALL = {"hidden": 32, "iterations": 60}


def moved(demonstrations, observations=lambda x: x, actions=lambda x: x):
    return manyways.Demonstrations.from_arrays(
        [(observations(demonstrations[i][0]), actions(demonstrations[i][1])) for i in range(len(demonstrations))]
    )


def start(settings, policy, demonstrations):
    training = like(settings, policy).start(demonstrations)
    training.start_from(policy)
    return training


def actions_of(policy, observations, code=1):
    return policy.predict(observations, policy.code(code), deterministic=True)[0]


def test_training_begins_with_what_the_policy_does(policy, demonstrations):
    first = start(manyways.SOGBC(**SMALL), policy, demonstrations).policy()
    observations = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(actions_of(first, observations), actions_of(policy, observations), rtol=1e-5)
    np.testing.assert_allclose(first.losses(demonstrations), policy.losses(demonstrations), rtol=1e-4)


def test_codes_keep_their_modes_and_names_with_new_data_of_one_mode(policy, demonstrations):
    before = policy.losses(demonstrations).argmin(axis=1)
    ones = demonstrations.select(np.flatnonzero(before == 1))
    named = policy.with_code(0)  # a copy
    named.names, named.chosen_code = {0: "left", 1: "right"}, None
    later = manyways.SOGBC(iterations=120).fit(ones, init=named)
    assert later.names == {0: "left", 1: "right"}  # "left" has no demonstrations, and waits for some
    assert later.counts == (0, len(ones))
    observations = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(actions_of(later, observations), actions_of(policy, observations), atol=0.2)


def test_more_iterations_do_not_make_the_held_out_loss_worse(demonstrations):
    rough = manyways.SOGBC(prior=manyways.Categorical(2), hidden=32, iterations=15).fit(demonstrations)
    training = start(manyways.SOGBC(iterations=80), rough, demonstrations)
    assert training.held_out is not None
    first = training.validation_loss
    while not training.finished:
        training.step()
    held = training.held_out

    def loss(policy):
        return float(np.average(policy.losses(held).min(axis=1), weights=held.lengths))

    assert loss(training.policy()) < 0.7 * first
    hopeless = start(manyways.SOGBC(iterations=10, learning_rate=50.0), rough, demonstrations)
    while not hopeless.finished:
        hopeless.step()
    assert loss(hopeless.policy()) <= loss(rough) * 1.001


@pytest.mark.parametrize("linear", [False, True])
def test_the_policys_normalisation_is_kept_and_grows_by_what_is_new(linear):
    rng = np.random.default_rng(0)

    def data(fourth, second_action, scale=1.0):
        pairs = []
        for trajectory in range(24):
            x = rng.normal(size=(40, 4)).astype(np.float32)
            x[:, 3] = fourth * x[:, 3]
            sign = 1 if trajectory % 2 else -1
            second = second_action * x[:, 1] + 5
            pairs.append((x, np.stack([scale * (sign + 0.3 * x[:, 0]), second], axis=1).astype(np.float32)))
        return manyways.Demonstrations.from_arrays(pairs)

    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=200, hidden=32, history=2, linear=linear)
    old = settings.fit(data(0, 0))
    new = data(1, 1, scale=3.0)
    first = start(manyways.SOGBC(linear=linear, iterations=100), old, new).policy()
    observations = rng.normal(size=(50, 4)).astype(np.float32)
    # The new column has no say yet, and the new action is near its mean.
    expected, found = actions_of(old, observations), actions_of(first, observations)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(found[:, 1], 5, atol=0.3)
    later = manyways.SOGBC(linear=linear, iterations=400).fit(new, init=old)
    sure = np.clip(observations, -1, 1)
    expected = np.stack([3 * (1 + 0.3 * sure[:, 0]), sure[:, 1] + 5], axis=1)
    codes = later.losses(new).argmin(axis=1)
    found = actions_of(later, sure, code=codes[1])
    np.testing.assert_allclose(found, expected, atol=0.5)
    assert found[:, 0].max() > 3.3  # beyond the range of the first data
    np.testing.assert_array_equal(later.network.observations.part().mean[:3], old.network.observations.part().mean[:3])
    assert later.network.observations.part().std[3] > 0


def test_a_switch_with_new_values_is_one_no_more(demonstrations):
    two = moved(demonstrations, actions=lambda a: np.where(a > 0, 1.0, -1.0))
    policy = manyways.SOGBC(prior=manyways.Categorical(2), **SMALL).fit(two)
    assert policy.network.actions.switches.all()
    assert start(manyways.SOGBC(**SMALL), policy, two).policy().network.actions.switches.all()
    assert not start(manyways.SOGBC(**SMALL), policy, demonstrations).policy().network.actions.switches.any()


def test_data_far_from_the_policys_are_told(policy, demonstrations):
    far = moved(demonstrations, observations=lambda x: x + 100)
    warnings = start(manyways.SOGBC(**SMALL), policy, far).warnings
    assert any("100% of the observed values lie more than 10 standard deviations" in text for text in warnings)
    assert not start(manyways.SOGBC(**SMALL), policy, demonstrations).warnings


def test_continuous_codes_go_on(demonstrations):
    settings = manyways.SOGBC(prior=manyways.Gaussian(1), iterations=150, hidden=32)
    old = settings.fit(demonstrations)
    later = manyways.SOGBC(iterations=60).fit(demonstrations, init=old)
    old_codes, codes = (policy.encode(demonstrations).codes[:, 0] for policy in (old, later))
    assert np.corrcoef(old_codes, codes)[0, 1] > 0.8


def test_policies_without_codes_go_on(demonstrations):
    old = manyways.MDN(iterations=20, hidden=16).fit(demonstrations)
    training = start(manyways.MDN(iterations=20, hidden=16), old, demonstrations)
    for name, tensor in old.network.state_dict().items():
        torch.testing.assert_close(training.network.state_dict()[name], tensor)


def test_an_encoder_goes_on_with_its_weights(demonstrations):
    encoder = nn.Sequential(nn.Linear(3, 8), nn.ReLU())
    old = manyways.SOGBC(prior=manyways.Categorical(2), encoder=encoder, **SMALL).fit(demonstrations)
    training = start(manyways.SOGBC(**SMALL), old, demonstrations)
    torch.testing.assert_close(training.network.encoder[0].weight, old.network.encoder[0].weight)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (manyways.SOGBC(prior=manyways.Categorical(3)), "the policy has 2 codes, and not 3 codes"),
        (manyways.SOGBC(prior=manyways.Gaussian(1)), "the policy has 2 codes, and not a continuous code"),
        (manyways.SOGBC(hidden=64), "the policy has hidden 32, and not 64; take hidden=32"),
        (manyways.SOGBC(horizon=4), "the policy has chunk 1, and not 4; take horizon=1"),
        (manyways.SOGBC(network="residual"), "the policy has blocks 0, and not 3; take network='paper'"),
        (manyways.SOGBC(details=3), "the policy has details 1, and not 3; take details=1"),
        (manyways.SOGBC(encoder=nn.Linear(3, 5)), "the policy has another"),
        (manyways.MDN(), "a policy of the kind coded cannot start one of the kind mdn"),
    ],
)
def test_another_architecture_is_refused(policy, demonstrations, settings, message):
    with pytest.raises(InputError, match=message):
        settings.fit(demonstrations, init=policy)


def test_other_observations_and_algorithms_that_cannot_are_refused(policy, demonstrations):
    wider = moved(demonstrations, observations=lambda x: np.concatenate([x, x], axis=1))
    with pytest.raises(InputError, match=r"in the data set an observation is numbers of shape \(6,\)"):
        manyways.SOGBC(**SMALL).fit(wider, init=policy)
    with pytest.raises(InputError, match="cannot start from a policy"):
        manyways.algorithms.training.Training.start_from(object(), policy)
