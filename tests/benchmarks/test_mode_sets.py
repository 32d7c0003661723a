"""The kinds of sets with known modes: each can be solved, follows its seed, and has sizes that vary."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import mode_rivals
from manyways.clustering.competition import find_groups
from mode_rivals import RIVALS_COUNTING, RIVALS_GROUPING, tried
from mode_sets import SETS
from mode_tables import counting_cells, grouping_cells, sureness_cells

LARGE = {"many trajectories", "many modes", "long"}


def agreement(found, modes):
    together = np.zeros((max(found.max(), modes.max()) + 1,) * 2)
    np.add.at(together, (found, modes), 1)
    return together[linear_sum_assignment(-together)].sum() / len(modes)


@pytest.mark.parametrize("name", SETS)
def test_someone_who_knows_what_tells_modes_apart_finds_them(name):
    for seed in (1,) if name in LARGE else (1, 101):
        demonstrations, modes = SETS[name].draw(seed)
        feature = SETS[name].oracle(demonstrations, seed)
        found = KMeans(modes.max() + 1, n_init=10, random_state=0).fit_predict(feature)
        assert agreement(found, modes) >= 0.97


@pytest.mark.parametrize("name", sorted(set(SETS) - LARGE))
def test_a_set_follows_its_seed_and_its_sizes_vary(name):
    one, again, *others = (SETS[name].draw(seed) for seed in (0, 0, 1, 2))
    np.testing.assert_array_equal(one[0].observations, again[0].observations)
    np.testing.assert_array_equal(one[1], again[1])
    assert len({len(modes) for _, modes in (one, *others)}) > 1


def test_groups_keep_apart_what_fewer_sure_gaps_tell_apart():
    demonstrations, modes = SETS["passing"].draw(122)  # held-out actions are best explained by groups that mix modes
    found = find_groups(demonstrations, modes.max() + 1, seed=122).relative_nll(demonstrations).argmin(axis=1)
    assert agreement(found, modes) == 1


def test_a_quaternion_means_the_same_with_both_signs():
    demonstrations, _ = SETS["quaternions"].draw(0)
    np.testing.assert_allclose(np.linalg.norm(demonstrations.observations[:, :4], axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(demonstrations.actions[:, :4], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", RIVALS_GROUPING)
def test_rivals_group_curves(name, monkeypatch):
    monkeypatch.setitem(mode_rivals._AUTOENCODER, "iterations", 60)
    if name == "k-medoids, time warping":
        pytest.importorskip("dtaidistance")
        pytest.importorskip("kmedoids")
    demonstrations, modes = SETS["few, curves"].draw(1)
    found = RIVALS_GROUPING[name](demonstrations, int(modes.max()) + 1, 0)
    assert found.shape == modes.shape
    assert agreement(found, modes) > 0.9


@pytest.mark.parametrize("name", RIVALS_COUNTING)
def test_rivals_count_at_most_what_is_allowed(name):
    demonstrations, _ = SETS["few, curves"].draw(1)
    count, sureness = RIVALS_COUNTING[name](demonstrations, 6, 0)
    assert 1 <= count <= 6
    assert sureness is None


def test_all_small_numbers_are_tried_and_the_greatest_one():
    assert tried(5) == [1, 2, 3, 4, 5]
    assert tried(100)[:30] == list(range(1, 31))
    assert tried(100)[-1] == 100


def test_the_tables_have_a_row_for_each_set():
    about = {"set": "order", "modes": 3, "seed": 100}
    scores = {"normalized_mutual_information": 0.5, "adjusted_rand_index": 0.25}
    rows = [
        {"table": "grouping", "method": "groups", **about, **scores},
        {"table": "grouping", "method": "good rival", **about, "normalized_mutual_information": 0.75},
        {"table": "grouping", "method": "slow rival", **about, "failed": "too slow"},
        {"table": "counting", "method": "BIC, full", **about, "count": 4},
        {"table": "counting", "method": "count_modes", **about, "count": 3},
    ]
    assert grouping_cells(rows)[1] == [["order", "good rival", "0.750, 0.000 (1)", "0.500, 0.250 (1)", ""]]
    head, lines = counting_cells(rows)
    assert head == ["set", "count_modes", "BIC, full"]
    assert lines[0] == ["order", "100%, 100%", "0%, 100%"]


def test_sureness_stands_beside_how_often_counts_are_right():
    about = {"table": "counting", "method": "count_modes", "modes": 3}
    rows = [{**about, "count": count, "sureness": sure} for count, sure in ((3, 1.0), (3, 1.0), (2, 0.5), (3, 0.6))]
    rows += [{**about, "method": "BIC, full", "count": 9}, {**about, "failed": "too slow"}]
    assert sureness_cells(rows)[1] == [["2", "0.55", "0.50"], ["2", "1.00", "1.00"]]
