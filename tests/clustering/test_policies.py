import numpy as np
import pytest

import manyways
from manyways import Demonstrations
from manyways.clustering.competition import find_groups
from manyways.clustering.embedding import Embedding
from manyways.clustering.linear_policies import linear_policies
from manyways.clustering.regressions import Regressions
from manyways.demonstrations.columns import normalized
from manyways.demonstrations.synthetic import Motions
from manyways.evaluation.metrics import purity


def turns(seed, count=30, steps=20):
    """Trajectories that turn at one of three rates, from any heading."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3)
    pairs = []
    for label in labels:
        rates = 0.1 * (label - 1) + 0.01 * rng.standard_normal(steps + 1)
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rates)
        velocity = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        pairs.append((np.concatenate([np.cumsum(velocity, axis=0), velocity], axis=1)[:-1], velocity[1:]))
    return Demonstrations.from_arrays(pairs), labels


@pytest.mark.parametrize(("count", "steps"), [(30, 20), (60, 40)])
@pytest.mark.parametrize("seed", range(3))
def test_a_few_trajectories_that_turn_at_three_rates_are_grouped_by_rate(count, steps, seed):
    demonstrations, labels = turns(seed, count, steps)
    groups = find_groups(demonstrations, 3, seed).relative_nll(demonstrations).argmin(axis=1)
    assert purity(groups, labels) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_rates_of_a_few_turning_trajectories_are_counted(seed):
    counted = manyways.count_modes(turns(seed)[0], seed=seed)
    assert counted.best == 3


def test_a_range_of_rates_is_one_mode():
    rng = np.random.default_rng(0)
    pairs = []
    for rate in rng.uniform(-0.1, 0.1, 60):
        heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rate + 0.01 * rng.standard_normal(21))
        velocity = np.stack([np.cos(heading), np.sin(heading)], axis=1)
        pairs.append((velocity[:-1], velocity[1:]))
    demonstrations = Demonstrations.from_arrays(pairs)
    assert all(linear_policies(demonstrations, groups, seed=0) is None for groups in range(2, 6))


def test_modes_are_found_by_the_action_before_where_the_state_does_not_show_them():
    demonstrations, labels = turns(0, 60)
    places = Demonstrations.from_arrays([(states[:, :2], actions) for states, actions in demonstrations])
    assert linear_policies(places, 3, seed=0) is None
    policies = linear_policies(places, 3, seed=0, before=True)
    assert policies is not None
    points = Embedding.fit(places, seed=0).by_policies(policies)(places)
    assert purity(points.argmin(axis=1), labels) == 1


def test_linear_policies_are_those_of_the_modes():
    demonstrations, labels = turns(0)
    policies = linear_policies(demonstrations, 3, seed=0)
    assert policies is not None
    states, actions = normalized(demonstrations.vectors()), normalized(demonstrations.action_vectors())
    predicted = states @ policies[:, :-1] + policies[:, -1:]
    errors = np.square(predicted - actions).sum(axis=2)
    own = np.add.reduceat(errors, demonstrations.starts, axis=1).argmin(axis=0)
    assert purity(own, labels) == 1


def test_there_are_no_linear_policies_where_halves_of_a_trajectory_disagree():
    demonstrations, _ = Motions(kinds=12, per_kind=10, starts=1.0).draw(seed=0)
    assert linear_policies(demonstrations, 12, seed=0) is None


def test_there_are_no_linear_policies_of_large_states():
    rng = np.random.default_rng(0)
    demonstrations = Demonstrations.from_arrays([(rng.normal(size=(9, 31)), rng.normal(size=(9, 2))) for _ in range(8)])
    assert linear_policies(demonstrations, 2, seed=0) is None


def test_modes_predict_held_out_actions_and_random_groups_do_not():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pairs = []
    for label in labels:
        states = rng.normal(size=(50, 3))
        pairs.append((states, (2 * label - 1) * states[:, :1] + 0.1 * rng.normal(size=(50, 1))))
    regressions = Regressions.of(Demonstrations.from_arrays(pairs), seed=0)
    one, true, random = (nll.sum() / 2000 for nll in regressions.held_out_nll([labels, rng.permutation(labels)]))
    # The action has variance 1.01, of which 0.01 is noise: half the logarithm of 100 nats a step.
    assert one - true == pytest.approx(np.log(101) / 2, abs=0.3)
    assert random > one


def test_the_first_embedding_has_all_kinds_and_the_others_one_each():
    demonstrations, _ = turns(0)
    every, *alone = Embedding.fit_kinds(demonstrations, seed=0)
    np.testing.assert_array_equal(every.components, Embedding.fit(demonstrations, seed=0).components)
    used = [np.flatnonzero(embedding.components.any(axis=1)) for embedding in alone]
    assert len(alone) == 3
    assert len(np.concatenate(used)) == len(np.unique(np.concatenate(used))) <= len(every.components)
