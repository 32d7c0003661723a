import numpy as np
import pytest

from manyways.clustering.gaps import surest_gaps, surest_gaps_together
from manyways.clustering.tree import LEVEL


@pytest.mark.parametrize("density", ["uniform", "normal", "exponential", "circle"])
@pytest.mark.parametrize("count", [10, 40, 200, 1000])
def test_one_group_has_a_gap_as_rarely_as_the_level_says(density, count):
    rng = np.random.default_rng(0)
    shape = (count, 400)
    columns = np.cos(rng.uniform(0, 2 * np.pi, shape)) if density == "circle" else getattr(rng, density)(size=shape)
    found = (surest_gaps(columns)[0] < np.log(LEVEL)).mean()
    # 400 columns leave a standard error of a fifth of the level. A circle seen from the side has two high edges.
    assert found < (3.0 if density == "circle" else 1.5) * LEVEL


def test_numbers_that_are_rounded_or_twice_there_have_no_gap():
    rng = np.random.default_rng(0)
    rounded = rng.normal(size=(300, 50)).round(1)
    assert (surest_gaps(rounded)[0] < np.log(LEVEL)).mean() < 1.5 * LEVEL
    assert surest_gaps(np.ones((20, 1)))[0] == 0


@pytest.mark.parametrize(("left", "right"), [(20, 20), (300, 8), (5, 5)])
def test_two_groups_are_cut_between_them(left, right):
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.normal(size=left), rng.normal(size=right) + 20])[:, None]
    chance, place = surest_gaps(rng.permutation(numbers))
    assert chance[0] < np.log(LEVEL)
    assert np.sum(numbers < place[0]) == left


def test_a_shallow_valley_between_many_is_no_gap():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.normal(size=5000), rng.normal(size=5000) + 2.8])[:, None]
    chance, _ = surest_gaps(numbers)  # the density falls to three quarters of its peaks
    assert chance[0] > np.log(LEVEL)
    deeper = np.concatenate([rng.normal(size=5000), rng.normal(size=5000) + 5])[:, None]
    assert surest_gaps(deeper)[0][0] < np.log(1e-6)


def test_four_numbers_are_the_smallest_group():
    rng = np.random.default_rng(0)
    many = rng.normal(size=60)
    assert surest_gaps(np.append(many, 50 + rng.random(4))[:, None])[0] < np.log(LEVEL)
    assert surest_gaps(np.append(many, 50 + rng.random(3))[:, None])[0] > np.log(LEVEL)


@pytest.mark.parametrize("density", ["uniform", "normal", "exponential"])
@pytest.mark.parametrize("count", [10, 25, 60])
def test_one_group_has_several_gaps_as_rarely_as_the_level_says(density, count):
    columns = getattr(np.random.default_rng(0), density)(size=(count, 400))
    assert (surest_gaps_together(columns)[0] < np.log(LEVEL)).mean() < 1.5 * LEVEL


def test_several_gaps_of_which_none_is_sure_are_sure_together():
    rng = np.random.default_rng(0)
    numbers = np.concatenate([place + 0.15 * rng.normal(size=4) for place in range(4)])[:, None]
    assert surest_gaps(numbers)[0][0] > np.log(LEVEL)
    chance, place = surest_gaps_together(numbers)
    assert chance[0] < np.log(LEVEL)
    assert np.sum(numbers < place[0]) % 4 == 0


def test_numbers_of_few_values_in_any_distances_have_no_gap():
    rng = np.random.default_rng(0)
    # How long a gripper was closed, as a share of the steps: few values, which rounding makes nearly equal.
    steps = rng.integers(40, 90, 100)
    spread = np.sqrt((shut := np.ceil(0.9 * steps) / steps) * (1 - shut))
    spread += 1e-17 * rng.normal(size=100)
    chances, _ = surest_gaps(spread[:, None])
    assert chances[0] > np.log(0.05)


def test_two_groups_of_few_values_have_a_gap():
    values = np.repeat([0.0, 0.1, 0.2, 5.0, 5.1, 5.2], 5)[:, None]
    chances, places = surest_gaps(values)
    assert chances[0] < np.log(1e-3)
    assert 0.2 < places[0] < 5
