import copy

import numpy as np
import pytest
import torch

import manyways
from manyways import MDN, BeT, Diffusion, InputError, VQBeT
from manyways.algorithms.without_codes import WithoutCodesTraining
from manyways.demonstrations.spaces import box
from manyways.networks.base import choose
from manyways.networks.diffusion import cosine_schedule
from manyways.networks.mdn import MDNNetwork

torch.manual_seed(0)
SMALL = {
    MDN: {"steps_per_batch": 64, "hidden": 16, "iterations": 20},
    BeT: {"steps_per_batch": 16, "hidden": 16, "heads": 2, "layers": 1, "history": 4, "bins": 8, "iterations": 20},
    VQBeT: {"steps_per_batch": 16, "hidden": 16, "heads": 2, "layers": 1, "history": 4, "bins": 4, "iterations": 20},
    Diffusion: {"steps_per_batch": 64, "hidden": 16, "iterations": 20},
}
ALL = pytest.mark.parametrize("algorithm", list(SMALL))


def small(algorithm, **changes):
    return algorithm(**(SMALL[algorithm] | changes))


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def either_mode(steps=20, trajectories=40, noise=0.01):
    """Return demonstrations that do nearly -1 or +1 throughout, the same on seeing the same nothing."""
    signs = np.where(np.arange(trajectories) % 2, 1.0, -1.0)
    errors = noise * np.random.default_rng(0).standard_normal((trajectories, steps, 1))
    pairs = zip(np.zeros((trajectories, steps, 1)), signs[:, None, None] + errors, strict=True)
    return manyways.Demonstrations.from_arrays(pairs)


def walks(steps=20, trajectories=40):
    """Return demonstrations that walk either way from 0, seeing only where they are modulo 4: 0, ±1, 2, ∓1, 0 ..."""
    signs = np.where(np.arange(trajectories) % 2, 1.0, -1.0)
    angles = [sign * np.arange(steps) * np.pi / 2 for sign in signs]
    pairs = [
        (np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full((steps, 1), sign))
        for angle, sign in zip(angles, signs, strict=True)
    ]
    return manyways.Demonstrations.from_arrays(pairs)


@pytest.mark.parametrize(
    "settings",
    [
        MDN(iterations=150, steps_per_batch=64, hidden=32, learning_rate=0.02),
        BeT(iterations=100, steps_per_batch=16, hidden=32, layers=1, history=3, learning_rate=5e-3, validation=0),
        VQBeT(iterations=100, steps_per_batch=16, hidden=32, layers=1, history=3, learning_rate=5e-3, validation=0),
        Diffusion(iterations=300, steps_per_batch=128, hidden=64, history=2, horizon=8, optimizer="muon"),
    ],
    ids=lambda settings: settings.name,
)
def test_both_modes_are_drawn_and_nothing_between_them(settings):
    policy = settings.fit(either_mode())
    actions, _ = policy.predict(np.zeros((400, 1)))
    assert (np.abs(actions) > 0.8).mean() > 0.97
    assert 0.35 < (actions > 0).mean() < 0.65
    # Plain behaviour cloning, one Gaussian, does what nobody did.
    if isinstance(settings, MDN):
        average = MDN(components=1, iterations=150, steps_per_batch=64, hidden=32).fit(either_mode())
        assert abs(average.predict(np.zeros(1), deterministic=True)[0].item()) < 0.3


@pytest.mark.parametrize(
    "settings",
    [
        BeT(iterations=150, steps_per_batch=16, hidden=32, layers=1, history=3, learning_rate=5e-3, validation=0),
        VQBeT(iterations=400, steps_per_batch=16, hidden=32, layers=1, history=3, learning_rate=5e-3, validation=0),
        Diffusion(iterations=300, steps_per_batch=128, hidden=64, history=2, horizon=8, optimizer="muon"),
    ],
    ids=lambda settings: settings.name,
)
def test_a_mode_lasts_if_past_observations_show_it(settings):
    policy = settings.fit(walks())
    place, state = np.zeros(200), None
    signs = []
    for _ in range(12):
        observations = np.stack([np.cos(place * np.pi / 2), np.sin(place * np.pi / 2)], axis=1)
        actions, state = policy.predict(observations, state)
        signs.append(np.where(actions[:, 0] > 0, 1.0, -1.0))
        place += signs[-1]
    signs = np.stack(signs, axis=1)
    assert (signs == signs[:, :1]).all(axis=1).mean() > 0.9  # by chance less than one in a thousand
    assert 0.3 < (signs[:, 0] > 0).mean() < 0.7


def test_without_a_window_a_mode_does_not_last():
    policy = MDN(iterations=150, steps_per_batch=64, hidden=32).fit(walks())
    at_the_start, state = policy.predict(np.tile([1.0, 0.0], (100, 1)))
    again, _ = policy.predict(np.tile([1.0, 0.0], (100, 1)), state)
    assert 0.3 < (np.sign(at_the_start) == np.sign(again)).mean() < 0.7


def test_a_mixture_of_one_learns_the_mean_and_the_spread():
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(2000, 1))
    actions = 3 * observations + 5 + 0.6 * rng.normal(size=(2000, 1))
    data = manyways.Demonstrations.from_arrays([(observations, actions)])
    training, losses = MDN(components=1, iterations=300, hidden=32, steps_per_batch=512).start(data), []
    while not training.finished:
        training.step()
        losses.append(training.loss)
    # The likelihood of normal noise, in units of the action's standard deviation.
    expected = np.log(0.6 / actions.std() * np.sqrt(2 * np.pi * np.e))
    assert np.mean(losses[-50:]) == pytest.approx(expected, abs=0.05)
    actions, _ = training.policy().predict(np.ones((2000, 1)))
    assert actions.mean() == pytest.approx(8, abs=0.1)
    assert actions.std() == pytest.approx(0.6, abs=0.1)


def test_densities_far_from_all_components_are_finite():
    network = MDNNetwork(box(1), box(1), components=8, hidden=16)
    windows, actions = torch.zeros(3, 1, 1), torch.tensor([0.0, 1e6, -1e6]).view(3, 1, 1)
    loss = network.losses(windows, actions, torch.Generator())["likelihood"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_bins_are_the_kinds_of_actions():
    data = either_mode()
    network = BeT(bins=2).start(data).network
    np.testing.assert_allclose(sorted(network.actions.restore(network.centres)[:, 0]), [-1, 1], atol=0.01)


def test_bins_without_actions_are_never_drawn():
    policy = small(BeT, bins=64, iterations=1, horizon=1).fit(either_mode(noise=0))
    actions, _ = policy.predict(np.zeros((300, 1)))
    assert np.isfinite(actions).all()
    assert policy.network.centres.isfinite().sum() == 2


def either_plan(trajectories=40, steps=20):
    """Return demonstrations that turn from -1 to 1 or from 1 to -1 midway, a little more or less far."""
    rng = np.random.default_rng(0)
    turns = np.where(np.arange(steps) < steps // 2, -1.0, 1.0)[None, :, None]
    sizes = np.where(np.arange(trajectories) % 2, 1.0, -1.0) + 0.1 * np.sign(rng.normal(size=trajectories))
    actions = turns * sizes[:, None, None]
    return manyways.Demonstrations.from_arrays(zip(np.zeros(actions.shape), actions, strict=True))


def test_two_codes_tell_plans_apart_and_are_decoded_into_them():
    data = either_plan()
    network = VQBeT(bins=2, history=1, horizon=20, optimizer="adamw").start(data).network  # four different plans
    plans = torch.from_numpy(data.actions).view(len(data), -1)
    plans = network.actions.targets(plans[..., None]).flatten(1)
    codes = network.quantizer(plans, torch.ones_like(plans))
    assert len(codes.unique(dim=0)) == 4
    assert len(torch.cat([codes, plans.sign()], dim=1).unique(dim=0)) == 4  # a code of both has one sign
    np.testing.assert_allclose(network.quantizer.decode(codes), plans, atol=0.05)
    assert not any(parameter.requires_grad for parameter in network.quantizer.parameters())


def test_gradient_steps_leave_the_autoencoder_as_it_is():
    training = small(VQBeT).start(walks())
    before = copy.deepcopy(training.network.quantizer.state_dict())
    for _ in range(3):
        training.step()
    assert_identical(training.network.quantizer.state_dict(), before)
    assert_identical(training.policy().network.quantizer.state_dict(), before)


def test_a_step_of_the_transformer_does_not_see_later_ones():
    network = small(BeT).start(walks()).network.eval()
    windows = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    changed = windows.clone()
    changed[:, 2:] += 1
    with torch.no_grad():
        before, after = network(windows)[0], network(changed)[0]
    np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-5)
    assert (before[:, 2:, :2] - after[:, 2:, :2]).abs().max() > 1e-2  # of the two bins that there are


def test_without_focus_the_loss_of_the_bins_is_the_cross_entropy():
    data = either_mode()
    parts = []
    for focal in (0.0, 2.0):
        training = small(BeT, bins=2, focal=focal, offset_weight=0.0).start(data)
        torch.nn.init.zeros_(training.network.output.weight)
        training.step()
        parts.append(training.scalars())
    assert parts[0]["bins"] == pytest.approx(np.log(2), rel=1e-5)  # two bins, equally likely
    assert parts[1]["bins"] == pytest.approx(np.log(2) / 4, rel=1e-5)
    assert parts[0]["offsets"] == 0


def test_the_schedule_goes_from_signal_to_noise():
    signal = cosine_schedule(100)
    assert (signal.diff() < 0).all()
    assert signal[0] > 0.999
    assert signal[-1] < 1e-4
    half = np.cos((0.5 + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert signal[49] == pytest.approx(half, rel=1e-5)


def test_a_perfect_denoiser_draws_the_demonstrated_actions():
    network = small(Diffusion).start(either_mode()).network

    def denoise(windows, noisy, levels):
        # The posterior mean of -1 and 1, given a noisy one of them: tanh.
        signal = network.signal[levels][:, None, None]
        summed = (signal.sqrt() / (1 - signal) * noisy).sum(dim=1, keepdim=True)
        return torch.tanh(summed).expand_as(noisy)

    network.denoise = denoise
    actions = network.draw(torch.zeros(500, 2, 1), np.random.default_rng(0))
    np.testing.assert_allclose(actions.abs(), 1, atol=1e-3)
    assert (actions == actions[:, :1]).all()  # a chunk has one mode
    assert 0.4 < (actions[:, 0] > 0).float().mean() < 0.6


@ALL
def test_width_follows_from_the_observations(algorithm):
    rng = np.random.default_rng(0)
    for size, width in ((3, 128), (129, 256)):  # as SOG-BC's
        pairs = [(rng.normal(size=(30, size)), rng.normal(size=(30, 1))) for _ in range(4)]
        network = algorithm(steps_per_batch=4).start(manyways.Demonstrations.from_arrays(pairs)).network
        assert network.settings()["hidden"] == width
        other = small(algorithm, hidden=16).start(manyways.Demonstrations.from_arrays(pairs)).network
        assert other.settings()["hidden"] == 16


def test_choices_are_drawn_by_their_probabilities():
    logits = torch.log(torch.tensor([0.1, 0.6, 0.3])).expand(5000, 3) + 7
    shares = np.bincount(choose(logits, np.random.default_rng(0)), minlength=3) / 5000
    np.testing.assert_allclose(shares, [0.1, 0.6, 0.3], atol=0.03)


@ALL
def test_training_goes_on_bit_for_bit(algorithm, demonstrations):
    chosen = small(algorithm)
    whole = chosen.start(demonstrations)
    while not whole.finished:
        whole.step()
    for stop in (0, 1, 19):
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
        assert resumed.loss == whole.loss


@ALL
def test_the_same_seed_gives_the_same_weights_and_another_does_not(algorithm, demonstrations):
    first, again, other = (small(algorithm, seed=s, iterations=3).fit(demonstrations) for s in (3, 3, 4))
    assert_identical(first.network.state_dict(), again.network.state_dict())
    assert any((p != q).any() for p, q in zip(first.network.parameters(), other.network.parameters(), strict=True))


@ALL
def test_a_state_of_other_settings_is_refused(algorithm, demonstrations):
    state = small(algorithm, hidden=8).start(demonstrations).state_dict()
    with pytest.raises(InputError, match="the checkpoint does not fit the settings"):
        small(algorithm).start(demonstrations).load_state_dict(state)


@ALL
def test_training_has_what_a_run_needs(algorithm, demonstrations):
    settings = small(algorithm, iterations=2)
    training = settings.start(demonstrations)
    assert isinstance(training, WithoutCodesTraining)
    assert np.isnan(training.loss)
    assert training.learning_rate == training.settings.learning_rate == (2e-3 if issubclass(algorithm, BeT) else 1e-2)
    history = []
    policy = settings.fit(demonstrations, callback=lambda now: history.append((now.iteration, now.loss, now.scalars())))
    assert [iteration for iteration, _, _ in history] == [1, 2]
    for _, loss, scalars in history:
        assert scalars["loss"] == loss
        assert scalars.pop("validation_loss", 0) >= 0 or algorithm is MDN  # a log-likelihood may be negative
        assert loss == pytest.approx(sum(scalars.values()) - loss if len(scalars) > 1 else loss, rel=1e-5)
    assert training.code_usage.shape == (0,)
    assert training.code_usage.dtype == np.int64
    expected = {MDN: 64, BeT: 16 * 4, VQBeT: 16 * 4, Diffusion: 64 * 9}[algorithm]
    assert training.steps_per_iteration == expected
    assert policy.network.kind == settings.name
    assert settings.to_json()["iterations"] == 2


def test_rows_stay_within_their_trajectory(demonstrations):
    training = small(Diffusion, steps_per_batch=500).start(demonstrations)
    demonstrations = training.demonstrations
    observation_rows, action_rows, known = training._draw()
    assert observation_rows.shape == (500, 2)
    assert action_rows.shape == (500, 9)
    own = demonstrations.trajectory_of(observation_rows[:, -1].numpy())
    for steps in (observation_rows, action_rows):
        np.testing.assert_array_equal(demonstrations.trajectory_of(steps.numpy()), np.tile(own, (steps.shape[1], 1)).T)
    later = action_rows[:, 1:] - action_rows[:, :-1]
    assert set(later.unique().tolist()) == {0, 1}
    # The last action is repeated beyond the end, the first observation before the start.
    lasts = demonstrations.starts + demonstrations.lengths - 1
    assert np.isin(action_rows[:, 1:-1][later[:, 1:] == 0], lasts).all()
    assert known[:, :2].all()
    assert torch.equal(known[:, 2:], later[:, 1:] == 1)  # what is repeated was not done
    assert np.isin(
        observation_rows[:, 0][observation_rows[:, 0] == observation_rows[:, 1]], demonstrations.starts
    ).all()


@ALL
def test_actions_after_the_end_are_not_learned(algorithm):
    network = small(algorithm, history=2, horizon=4).start(walks()).network.eval()
    windows = torch.randn(6, 2, 2, generator=torch.Generator().manual_seed(0))
    actions = torch.randn(6, 5, 1, generator=torch.Generator().manual_seed(1))
    known = (torch.arange(5) < torch.arange(1, 7)[:, None]) | (torch.arange(5) < 2)
    repeated = torch.where(known, actions[..., 0], actions[:, 1]).unsqueeze(2)

    def loss(actions, known):
        parts = network.losses(windows, actions, torch.Generator().manual_seed(2), known)
        return sum(parts.values()).item()

    if algorithm is not Diffusion:  # whose noisy actions are inputs too
        assert loss(actions, known) == pytest.approx(loss(repeated, known), rel=1e-5)
    assert loss(repeated, known) != pytest.approx(loss(repeated, None), rel=1e-3)
    assert loss(actions, torch.ones_like(known)) == pytest.approx(loss(actions, None), rel=1e-5)
    if algorithm is Diffusion:
        assert loss(actions, torch.zeros_like(known)) == 0


@ALL
def test_further_training_does_not_change_a_policy(algorithm, demonstrations):
    training = small(algorithm).start(demonstrations)
    training.step()
    policy = training.policy()
    before = copy.deepcopy(policy.network.state_dict())
    training.step()
    assert_identical(policy.network.state_dict(), before)


@ALL
def test_constant_columns_are_allowed(algorithm):
    rng = np.random.default_rng(0)
    observations = np.concatenate([rng.normal(size=(50, 1)), np.full((50, 1), 3.0)], axis=1)
    actions = np.concatenate([observations[:, :1], np.full((50, 1), 7.0)], axis=1)
    policy = small(algorithm).fit(manyways.Demonstrations.from_arrays([(observations, actions)]))
    result, _ = policy.predict([[0.0, 1e9], [1e9, 3.0]])
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[:, 1], 7)


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        (MDN, {"iterations": 0}, "iterations is 0; give 1 or more"),
        (MDN, {"components": 0}, "components is 0; give 1 or more"),
        (BeT, {"learning_rate": float("nan")}, "learning_rate is nan; give more than 0"),
        (Diffusion, {"seed": -1}, "seed is -1; give 0 or more"),
        (BeT, {"heads": 3, "hidden": 128}, "hidden is 128; give a multiple of the 3 heads"),
        (BeT, {"focal": -1.0}, "focal is -1.0; give 0 or more"),
        (BeT, {"offset_weight": float("inf")}, "offset_weight is inf; give 0 or more"),
        (BeT, {"bins": 0}, "bins is 0"),
        (Diffusion, {"horizon": 8, "execute": 9}, "execute is 9; give 1 to the 8 actions of the horizon"),
        (Diffusion, {"denoising_steps": 101}, "denoising_steps is 101; give at most the 100 levels of noise"),
    ],
)
def test_settings_out_of_range_are_refused(algorithm, changes, message):
    with pytest.raises(InputError, match=message):
        algorithm(**changes)
