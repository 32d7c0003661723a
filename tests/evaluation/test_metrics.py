import numpy as np
import pytest

from manyways.evaluation import match_codes, normalized_mutual_information, purity


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
