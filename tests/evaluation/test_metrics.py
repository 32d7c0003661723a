import numpy as np
import pytest

from manyways.evaluation import entropy, match_codes, mutual_information, normalized_mutual_information, purity


def test_codes_are_matched_for_the_greatest_sum():
    # Greedily code 0 would take mode 0 (10 + 0); together 9 + 9 is more.
    assert match_codes(np.array([[10.0, 9.0], [9.0, 0.0]])) == [1, 0]


def test_codes_left_over_have_no_mode():
    assert match_codes(np.array([[1.0, 0.0], [5.0, 0.0], [0.0, 4.0]])) == [None, 0, 1]
    assert match_codes(np.array([[0.0, 3.0, 1.0]])) == [1]


def test_purity_by_hand():
    assert purity([0, 0, 0, 1, 1], [0, 0, 1, 1, 1]) == pytest.approx(4 / 5)
    assert purity([5, 5, 9], ["a", "a", "b"]) == 1
    assert purity([0, 0, 0, 0], [0, 1, 2, 3]) == 1 / 4


def test_mutual_information_by_hand():
    assert normalized_mutual_information([0, 0, 1, 1], [7, 7, 3, 3]) == pytest.approx(1)
    assert normalized_mutual_information([0, 1, 0, 1], [0, 0, 1, 1]) == pytest.approx(0)
    # H(codes) = ln 2, H(modes) = 1.5 ln 2, I = ln 2: over the mean of the entropies, 0.8.
    assert normalized_mutual_information([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(0.8)


@pytest.mark.parametrize("correlation", [0.0, 0.6, 0.95])
def test_mutual_information_of_gaussians_is_the_closed_form(correlation):
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 4000))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    assert mutual_information(x, y) == pytest.approx(-0.5 * np.log(1 - correlation**2), abs=0.05)
    # It does not depend on units, nor on any monotone change of them.
    assert mutual_information(np.exp(x), 1000 * y) == pytest.approx(mutual_information(x, y), abs=0.05)


def test_mutual_information_of_codes_that_repeat_over_an_episode():
    rng = np.random.default_rng(1)
    codes = rng.standard_normal(1000)
    steps = np.repeat(codes, 5)
    measured = mutual_information(steps, steps + 0.3 * rng.standard_normal(len(steps)))
    assert measured == pytest.approx(-0.5 * np.log(1 - 1 / (1 + 0.3**2)), abs=0.06)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_entropy_is_the_closed_form(dimension):
    rng = np.random.default_rng(dimension)
    cube = rng.uniform(-1, 1, (5000, dimension))
    assert entropy(cube) == pytest.approx(dimension * np.log(2), abs=0.08)
    gaussian = 3 * rng.standard_normal((5000, dimension))
    assert entropy(gaussian) == pytest.approx(dimension * 0.5 * np.log(2 * np.pi * np.e * 9), abs=0.08)


def test_entropy_of_points_that_coincide_is_very_low_and_finite():
    assert -100 < entropy(np.zeros((100, 3))) < -20
    with pytest.raises(ValueError, match="3 points have no 3 neighbours"):
        entropy(np.zeros((3, 2)))
