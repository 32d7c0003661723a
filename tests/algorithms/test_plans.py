import numpy as np
import pytest
import torch
from gymnasium import spaces

import manyways
from manyways.demonstrations.spaces import box
from manyways.demonstrations.windows import around, window_and_chunk
from manyways.evaluation import purity
from manyways.networks.actions import make_actions
from manyways.networks.in_numpy import in_numpy
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import PolicyNetwork
from manyways.search.factored import trajectory_losses

PLANS = {"history": 3, "horizon": 4, "execute": 2, "iterations": 30, "hidden": 16, "optimizer": "adamw"}


@pytest.fixture
def demonstrations():
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(24):
        steps = 12 + number % 5
        observations = rng.standard_normal((steps, 3)).cumsum(axis=0)
        actions = (-1) ** number * np.tanh(observations[:, :2]) + 0.1 * rng.standard_normal((steps, 2))
        pairs.append((observations, actions))
    return manyways.Demonstrations.from_arrays(pairs)


def network(demonstrations, **changes):
    spaces = demonstrations.observation_space, demonstrations.action_space
    made = PolicyNetwork(*spaces, 2, 16, window=3, chunk=4, executed=2, **changes)
    made.initialize(torch.Generator().manual_seed(0))
    made.fit(demonstrations, 0)
    return made.eval()


def test_rows_around_a_step_stay_in_its_trajectory(demonstrations):
    first, last = demonstrations.starts[1], demonstrations.starts[2] - 1
    rows = around(demonstrations, np.array([[first, last]]), 2, 1)
    np.testing.assert_array_equal(rows[0, 0], [first, first, first, first + 1])
    np.testing.assert_array_equal(rows[0, 1], [last - 2, last - 1, last, last])
    observed, planned = window_and_chunk(demonstrations, np.array([first, last]), 1, 3)
    np.testing.assert_array_equal(observed, [first, last])
    np.testing.assert_array_equal(planned, [[first, first + 1, first + 2], [last, last, last]])


@pytest.mark.parametrize("changes", [{}, {"details": 3}, {"details": 3, "linear": True, "blocks": 2, "dropout": 0.5}])
def test_the_factored_search_finds_what_trying_all_codes_and_details_finds(demonstrations, changes):
    net = network(demonstrations, **changes)
    losses = trajectory_losses(net, demonstrations, torch.eye(2))
    rows = np.arange(demonstrations.steps)
    observed, planned = window_and_chunk(demonstrations, rows, 3, 4)
    with torch.no_grad():
        features, targets = net.features_and_targets(
            to_tensors(demonstrations.observations[observed]), torch.from_numpy(demonstrations.actions[planned])
        )
        details = net.detail.weight.T if net.details > 1 else torch.zeros(1, 16)
        for code in range(2):
            sums = (features + net.code(torch.eye(2)[code]))[:, None] + details
            errors = (net.decode(sums) - targets[:, None]).square().sum(dim=2).min(dim=1).values / 4
            means = np.add.reduceat(errors.double().numpy(), demonstrations.starts) / demonstrations.lengths
            np.testing.assert_allclose(losses[:, code], means, rtol=1e-4)


@pytest.mark.parametrize("choices", [False, True])
def test_actions_that_are_not_known_have_no_error(choices):
    rng = np.random.default_rng(0)
    space = spaces.MultiDiscrete([3, 2]) if choices else box(2)
    actions = make_actions(space, 4)
    targets = torch.from_numpy(rng.integers(2, size=(5, 8)) if choices else rng.standard_normal((5, 8)))
    products = torch.from_numpy(rng.standard_normal((actions.outputs, 5, 3)))
    bias = torch.from_numpy(rng.standard_normal(actions.outputs))
    known = torch.arange(4) < torch.tensor([4, 3, 2, 1, 1])[:, None]
    outputs = products[:, :, 1].T + bias
    singles = [
        make_actions(space, 1).errors(outputs.view(5, 4, -1)[:, number], targets.view(5, 4, 2)[:, number])
        for number in range(4)
    ]
    expected = (torch.stack(singles, dim=1) * known).sum(dim=1) / 4
    torch.testing.assert_close(actions.errors(outputs, targets, known), expected)
    torch.testing.assert_close(actions.pair_errors(products, bias, targets, known)[:, 1], expected)


def test_training_learns_nothing_of_what_comes_after_the_end():
    """Every trajectory has two steps, so nobody knows the last two actions of its plans, nor of some the last three."""
    rng = np.random.default_rng(0)
    pairs = [(rng.standard_normal((2, 3)), rng.standard_normal((2, 2))) for _ in range(12)]
    settings = manyways.SOGBC(prior=manyways.Categorical(1), details=2, **PLANS)
    training = settings.start(manyways.Demonstrations.from_arrays(pairs))
    for _ in range(3):
        training.step()
    gradient = training.network.output.weight.grad.view(4, 2, -1).abs().sum(dim=(1, 2))
    assert (gradient[:2] > 0).all()
    assert (gradient[2:] == 0).all()


@pytest.mark.parametrize("changes", [{}, {"details": 3}, {"linear": True, "blocks": 2}])
def test_numpy_gives_what_pytorch_gives(demonstrations, changes):
    net = network(demonstrations, **changes)
    windows = demonstrations.observations[around(demonstrations, np.arange(20), 2, 0)]
    codes = np.eye(2, dtype=np.float32)[np.arange(20) % 2]
    with torch.no_grad():
        expected = net.act(torch.from_numpy(windows), torch.from_numpy(codes), None).numpy()
    assert expected.shape == (20, 2, 2)
    np.testing.assert_allclose(in_numpy(net)(windows, codes), expected, rtol=1e-4, atol=1e-5)


def test_the_linear_answer_is_taken_out_and_put_back(demonstrations):
    net = network(demonstrations, linear=True)
    inputs, targets = torch.randn(50, 9), torch.randn(50, 8)
    torch.testing.assert_close(net.linear.plus(net.linear.less(targets, inputs), inputs), targets)
    observed, planned = window_and_chunk(demonstrations, np.arange(demonstrations.steps), 3, 4)
    _, left = net.features_and_targets(
        to_tensors(demonstrations.observations[observed]), torch.from_numpy(demonstrations.actions[planned])
    )
    torch.testing.assert_close(left.std(dim=0, correction=0), torch.ones(8), rtol=1e-3, atol=0)


def test_a_policy_does_its_plan_and_then_looks_again(demonstrations):
    policy = manyways.SOGBC(prior=manyways.Categorical(2), details=3, **PLANS).fit(demonstrations)
    first, second = demonstrations.observations[:2]
    code = torch.from_numpy(policy.code(1)[None])
    with torch.no_grad():
        plan = policy.network.act(torch.from_numpy(np.tile(first, (1, 3, 1))), code, None).numpy()[0]
    action, state = policy.predict(first, policy.code(1), deterministic=True)
    np.testing.assert_allclose(action, plan[0], rtol=1e-4, atol=1e-5)
    action, state = policy.predict(second, state, deterministic=True)
    np.testing.assert_allclose(action, plan[1], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        again = policy.network.act(torch.from_numpy(np.stack([first, second, first])[None]), code, None).numpy()[0]
    action, _ = policy.predict(first, state, deterministic=True)
    np.testing.assert_allclose(action, again[0], rtol=1e-4, atol=1e-5)


def test_modes_are_found_and_details_learned_and_both_saved(demonstrations, tmp_path):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), details=3, **(PLANS | {"iterations": 300}))
    training = settings.start(demonstrations)
    gate = []
    while not training.finished:
        training.step()
        gate.append(training.scalars()["gate"])
    policy = training.policy()
    codes = policy.losses(demonstrations).argmin(axis=1)
    assert purity(codes, np.arange(24) % 2) > 0.9
    assert np.mean(gate[-20:]) < np.log(3)  # better than a guess
    policy.save(tmp_path)
    loaded = manyways.load_policy(tmp_path)
    assert loaded.network.settings() == policy.network.settings()
    np.testing.assert_array_equal(loaded.losses(demonstrations), policy.losses(demonstrations))
    noisy = {float(policy.predict(demonstrations.observations[0], policy.code(0))[0][0]) for _ in range(20)}
    assert len(noisy) > 1


def test_details_need_discrete_codes():
    with pytest.raises(manyways.InputError, match="details is 4, but the codes are continuous"):
        manyways.SOGBC(prior=manyways.Gaussian(1), details=4)


@pytest.mark.parametrize("algorithm", [manyways.BC, manyways.MDN, manyways.BeT, manyways.VQBeT, manyways.Diffusion])
def test_every_algorithm_that_clones_sees_and_plans_as_much(algorithm, demonstrations):
    more = {"heads": 2, "layers": 1} if issubclass(algorithm, manyways.BeT) else {}
    policy = algorithm(**(PLANS | {"iterations": 3} | more), network="residual").fit(demonstrations)
    assert (policy.network.window, policy.network.chunk, policy.network.executed) == (3, 4, 2)
    state = None
    for observation in demonstrations.observations[:5]:
        action, state = policy.predict(observation, state)
        assert np.isfinite(action).all()


def test_choices_are_planned_too():
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(24):
        observations = np.tile(rng.choice([-1.0, 1.0], size=(1, 2)), (10, 1)) + 0.1 * rng.standard_normal((10, 2))
        pairs.append((observations, ((observations[:, 0] > 0) ^ bool(number % 2)).astype(int)))
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    settings = manyways.SOGBC(
        prior=manyways.Categorical(2), **(PLANS | {"iterations": 200, "history": 1, "optimizer": "muon"})
    )
    policy = settings.fit(demonstrations)
    codes = policy.losses(demonstrations).argmin(axis=1)
    for index in (0, 1):
        observations, actions = demonstrations[index]
        states = np.tile(policy.code(int(codes[index])), (10, 1))
        chosen, _ = policy.predict(observations, states, deterministic=True)
        assert chosen.shape == (10,)
        assert (chosen == actions).mean() > 0.8


def test_a_column_of_two_values_is_a_switch():
    rng = np.random.default_rng(0)
    observations = rng.standard_normal((30, 10, 2))
    grips = np.where(observations[:, :, :1] + 0.5 * rng.standard_normal((30, 10, 1)) > 0, 1.0, -1.0)
    actions = np.concatenate([grips, observations[:, :, 1:]], axis=2)
    demonstrations = manyways.Demonstrations.from_arrays(list(zip(observations, actions, strict=True)))
    policy = manyways.BC(iterations=50, hidden=16, history=1, horizon=1).fit(demonstrations)
    assert policy.network.actions.switches.tolist() == [True, False]
    for deterministic in (True, False):
        done, _ = policy.predict(observations[0].astype(np.float32), deterministic=deterministic)
        assert set(np.unique(done[:, 0])) == {-1.0, 1.0}
        assert len(np.unique(done[:, 1])) == 10


def test_a_single_observation_takes_a_short_way_to_the_same_action():
    rng = np.random.default_rng(0)
    net = PolicyNetwork(box(3), box(2), 2, 16)
    net.initialize(torch.Generator().manual_seed(0))
    policy = manyways.Policy(net, manyways.Categorical(2))
    observations = rng.standard_normal((30, 3)).astype(np.float32)
    expected, _ = policy.predict(observations, policy.code(1), deterministic=True)
    for observation, action in zip(observations, expected, strict=True):
        alone, state = policy.predict(observation, policy.code(1), deterministic=True)
        np.testing.assert_allclose(alone, action, rtol=1e-5)
        np.testing.assert_array_equal(state, policy.code(1))
    with pytest.raises(manyways.InputError, match="observation has nan"):
        policy.predict(np.full(3, np.nan, np.float32), policy.code(1), deterministic=True)
    fixed = policy.with_code(0)
    np.testing.assert_allclose(
        fixed.predict(observations[0], policy.code(1), deterministic=True)[0],
        policy.predict(observations[0], policy.code(0), deterministic=True)[0],
    )


@pytest.mark.parametrize("more", [{}, {"details": 3}, {"history": 1}, {"horizon": 1, "execute": 1}])
def test_a_single_environment_and_several_do_the_same(demonstrations, more):
    policy = manyways.SOGBC(prior=manyways.Categorical(2), **(PLANS | {"iterations": 3} | more)).fit(demonstrations)
    observations = demonstrations.observations[:9]
    policy.predict(observations[0], policy.code(0), deterministic=True)  # looks closer once
    one, both = policy.code(1), np.stack([policy.code(1)] * 2)
    for observation in observations:
        alone, one = policy.predict(observation, one, deterministic=True)
        together, both = policy.predict(np.stack([observation] * 2), both, deterministic=True)
        np.testing.assert_allclose(alone, together[1], rtol=1e-4, atol=1e-5)
        assert one.shape == both[1].shape
        np.testing.assert_allclose(one, both[1], rtol=1e-4, atol=1e-5)
