import dataclasses

import numpy as np
import pytest
import torch

import manyways
from manyways.algorithms import defaults
from manyways.algorithms.defaults import persistence
from manyways.algorithms.holding_out import held_out_of, hold_out


def noisy(trajectories=30, steps=20, persistent=0.0, seed=0):
    """Return demonstrations of two modes with errors of which each keeps this share of the last."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(trajectories):
        observations = rng.standard_normal((steps, 2))
        errors = np.zeros((steps, 2))
        for step in range(steps):
            last = errors[step - 1] if step else 0.0
            errors[step] = persistent * last + np.sqrt(1 - persistent**2) * rng.standard_normal(2)
        pairs.append((observations, (-1) ** number + np.tanh(observations) + 0.3 * errors))
    return manyways.Demonstrations.from_arrays(pairs)


def test_whole_trajectories_are_held_out():
    demonstrations = noisy(trajectories=30)
    learned, held_out = hold_out(demonstrations, 0.1, seed=3)
    assert (len(learned), len(held_out)) == (27, 3)
    which = held_out_of(demonstrations, 0.1, seed=3)
    for place, index in enumerate(which):
        np.testing.assert_array_equal(held_out[place][0], demonstrations[index][0])
    assert hold_out(noisy(trajectories=19), 0.1, 0)[1] is None
    assert hold_out(demonstrations, 0.0, 0)[1] is None


def test_those_that_the_data_declares_are_held_out():
    demonstrations = noisy(trajectories=8)
    declared = np.array([False, True, False, False, True, False, False, False])
    demonstrations = dataclasses.replace(demonstrations, attributes={"mask valid": declared})
    np.testing.assert_array_equal(held_out_of(demonstrations, 0.1, 0), [1, 4])
    assert len(held_out_of(demonstrations, 0.0, 0)) == 0


def test_the_same_share_of_every_known_mode_is_held_out():
    demonstrations = noisy(trajectories=100)
    labels = np.repeat([0, 1, 2, -1], [60, 20, 10, 10])
    labels = labels[np.random.default_rng(0).permutation(100)]
    labelled = demonstrations.with_labels(labels)
    draws = [held_out_of(labelled, 0.1, seed) for seed in range(20)]
    for drawn in draws:
        assert np.bincount(labels[drawn] + 1).tolist() == [1, 6, 2, 1]
    assert len({tuple(drawn) for drawn in draws}) == 20
    np.testing.assert_array_equal(draws[3], held_out_of(labelled, 0.1, 3))
    # A share of one in a hundred still has one of each with ten trajectories or more.
    assert sorted(labels[held_out_of(labelled, 0.01, 0)]) == [-1, 0, 1, 2]
    few = noisy(trajectories=30).with_labels(np.repeat([0, 1], [27, 3]))
    assert len(held_out_of(few, 0.1, 0)) == 3
    # Without a label nothing changes.
    np.testing.assert_array_equal(
        held_out_of(demonstrations, 0.1, 5), held_out_of(demonstrations.with_labels(np.full(100, -1)), 0.1, 5)
    )


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_training_keeps_the_weights_that_explain_held_out_ones_best(optimizer):
    demonstrations = noisy(trajectories=20, steps=5)
    settings = manyways.SOGBC(
        prior=manyways.Categorical(2), iterations=400, optimizer=optimizer, learning_rate=1e-2, patience=10.0
    )
    training = settings.start(demonstrations)
    losses = []
    while not training.finished:
        training.step()
        if "validation_loss" in training.scalars():
            losses.append(training.validation_loss)
    assert min(losses) < losses[-1]  # it was overfitted, else the test shows nothing
    kept = training._held_out_loss(training.best_network(), training.held_out)
    assert kept == pytest.approx(min(losses), rel=1e-5)


def test_training_stops_where_the_held_out_loss_no_longer_falls():
    demonstrations = noisy(trajectories=20, steps=5)
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=1000, learning_rate=1e-2, patience=0.1)
    training = settings.start(demonstrations)
    while not training.finished:
        training.step()
    assert training.iteration < 1000
    assert training.iteration - training._best_iteration > 100


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_checkpoint_continues_with_the_best_weights(optimizer):
    demonstrations = noisy()
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=60, optimizer=optimizer, hidden=16)
    whole, broken = settings.start(demonstrations), settings.start(demonstrations)
    for _ in range(25):
        whole.step()
        broken.step()
    again = settings.start(demonstrations)
    again.load_state_dict({name: tensor.clone() for name, tensor in broken.state_dict().items()})
    while not whole.finished:
        whole.step()
        again.step()
    assert again._best_loss == whole._best_loss
    expected = whole.policy().network.state_dict()
    for name, tensor in again.policy().network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_what_is_held_out_is_reported(tmp_path):
    demonstrations = noisy(trajectories=40)
    demonstrations.save(tmp_path / "data.npz")
    settings = manyways.SOGBC(iterations=100, hidden=16)
    run = manyways.train(settings, tmp_path / "run", data=tmp_path / "data.npz", modes=2)
    held = manyways.modes(run).held_out
    assert len(held.trajectories) == 4
    losses = run.policy().losses(demonstrations).min(axis=1)
    assert held.loss == pytest.approx(losses[list(held.trajectories)].mean())
    others = np.setdiff1d(np.arange(40), held.trajectories)
    assert held.training_loss == pytest.approx(losses[others].mean())
    assert sum(count for _, count in filter(None, held.by_code)) == 4
    assert held.uninformed_loss == 2.0
    page = manyways.report(run).read_text()
    assert "held-out" in page
    assert held.advice.split(":")[0].capitalize() in page
    assert any("validation_loss" in line for line in run.metrics())


def test_errors_of_people_persist_and_plans_follow():
    agent, person = (noisy(trajectories=40, steps=60, persistent=share) for share in (0.0, 0.9))
    assert persistence(agent) < 0.1
    assert persistence(person) > 0.4
    prior = manyways.Categorical(2)
    of_agent = manyways.SOGBC(prior=prior).start(agent).settings
    of_person = manyways.SOGBC(prior=prior).start(person).settings
    assert (of_agent.history, of_agent.horizon, of_agent.optimizer) == (1, 1, "muon")
    assert (of_person.history, of_person.horizon, of_person.optimizer) == (2, 16, "adamw")
    assert of_person.learning_rate == 1e-3
    mine = manyways.SOGBC(prior=prior, horizon=4, optimizer="muon").start(person).settings
    assert (mine.history, mine.horizon, mine.optimizer, mine.trajectories_per_batch) == (2, 4, "muon", 64)
    assert manyways.Diffusion().start(agent).settings.horizon == 8
    assert manyways.Diffusion().start(person).settings.horizon == 16


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"validation": 1.0}, "validation is 1.0"),
        ({"patience": 0.0}, "patience is 0.0"),
        ({"horizon": 4, "execute": 5}, "execute is 5; give 1 to the 4 actions of the horizon"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'"),
        ({"network": "big"}, "network is 'big'"),
        ({"details": 0}, "details is 0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, problem):
    with pytest.raises(manyways.InputError, match=problem):
        manyways.SOGBC(prior=manyways.Categorical(2), **changes)


def test_a_large_network_for_much_of_peoples_data_keeps_its_last_weights(monkeypatch):
    monkeypatch.setattr(defaults, "_MUCH", 2000)
    settings = manyways.SOGBC(prior=manyways.Categorical(2))
    much, little = (noisy(trajectories=count, steps=60, persistent=0.9) for count in (40, 20))
    found = defaults.resolve(settings, much)
    assert (found.network, found.hidden, found.keep, found.iterations) == ("residual", 256, "last", 3000)
    assert found.details == 16
    assert found.linear
    found = defaults.resolve(settings, little)
    assert (found.network, found.hidden, found.keep, found.iterations) == ("paper", None, "best", 3000)
    own = dataclasses.replace(settings, network="paper", hidden=64, iterations=5)
    found = defaults.resolve(own, much)
    assert (found.network, found.hidden, found.keep, found.iterations) == ("paper", 64, "best", 5)


@pytest.mark.parametrize(
    ("codes", "network", "batch"), [(1, "residual", (256, 1)), (2, "residual", (16, 16)), (1, "paper", (16, 16))]
)
def test_a_large_network_without_a_code_to_search_sees_each_trajectory_once_in_a_batch(codes, network, batch):
    settings = manyways.SOGBC(prior=manyways.Categorical(codes), network=network, optimizer="adamw")
    found = defaults.resolve(settings, noisy(trajectories=10, steps=5))
    assert (found.trajectories_per_batch, found.steps_per_trajectory) == batch


def test_the_length_of_a_large_networks_training_follows_from_the_data(monkeypatch):
    monkeypatch.setattr(defaults, "_BATCH", 1)
    settings = manyways.SOGBC(prior=manyways.Categorical(2), network="residual")
    assert defaults.resolve(settings, noisy(trajectories=30, steps=3)).iterations == 30 * 3 * 60
    assert defaults.resolve(settings, noisy(trajectories=30, steps=20)).iterations == 12_000


def test_last_weights_are_kept_where_they_are_asked_for():
    settings = manyways.SOGBC(
        prior=manyways.Categorical(2), iterations=300, learning_rate=1e-2, patience=0.01, keep="last"
    )
    training = settings.start(noisy(trajectories=20, steps=5))
    while not training.finished:
        training.step()
    assert training.iteration == 300  # it does not stop early
    kept = training._held_out_loss(training.best_network(), training.held_out)
    assert kept == pytest.approx(training.validation_loss, rel=1e-5)
    assert kept > training._best_loss


def test_of_pictures_plans_say_that_the_data_are_peoples(monkeypatch):
    monkeypatch.setattr(defaults, "_MUCH", 300)
    rng = np.random.default_rng(0)
    pictures = rng.integers(256, size=(20, 20, 8, 8), dtype=np.uint8)
    data = manyways.Demonstrations.from_arrays(zip(pictures, rng.normal(size=(20, 20, 2)), strict=True))
    prior = manyways.Categorical(2)
    found = defaults.resolve(manyways.SOGBC(prior=prior), data)
    assert (found.history, found.horizon, found.optimizer, found.network) == (1, 1, "muon", "paper")
    found = defaults.resolve(manyways.SOGBC(prior=prior, horizon=8), data)
    assert (found.history, found.horizon, found.optimizer, found.network) == (2, 8, "adamw", "residual")
    found = defaults.resolve(manyways.SOGBC(prior=prior, horizon=8, history=1, optimizer="muon"), data)
    assert (found.history, found.horizon, found.optimizer, found.network) == (1, 8, "muon", "residual")
    assert defaults.resolve(manyways.Diffusion(), data).horizon == 8
