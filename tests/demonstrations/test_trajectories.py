import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import manyways
from manyways import Demonstrations, InputError


def pairs(*lengths, observation_size=3, action_size=2):
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(n, observation_size)), rng.normal(size=(n, action_size))) for n in lengths]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=8))
def test_trajectories_do_not_change(lengths):
    trajectories = pairs(*lengths)
    demonstrations = Demonstrations.from_arrays(trajectories)
    assert len(demonstrations) == len(lengths)
    assert demonstrations.steps == sum(lengths)
    for result, original in zip(demonstrations, trajectories, strict=True):
        np.testing.assert_array_equal(result[0], original[0].astype(np.float32))
        np.testing.assert_array_equal(result[1], original[1].astype(np.float32))


def test_a_trajectory_is_a_view_and_not_a_copy():
    demonstrations = Demonstrations.from_arrays(pairs(3, 5))
    assert np.shares_memory(demonstrations[1][0], demonstrations.observations)
    np.testing.assert_array_equal(demonstrations[-1][0], demonstrations[1][0])
    with pytest.raises(IndexError, match="no trajectory 2 among 2"):
        demonstrations[2]


def test_no_trajectories_are_refused():
    with pytest.raises(InputError, match="there are no trajectories; give at least one"):
        Demonstrations.from_arrays([])


def test_a_trajectory_of_one_step_is_refused_by_its_number():
    with pytest.raises(InputError, match="trajectory 1 has length 1"):
        Demonstrations.from_arrays(pairs(4, 1, 4))


def test_one_dimensional_arrays_are_refused_with_their_shape():
    with pytest.raises(InputError, match=r"observations of trajectory 0 have shape \(5,\); they need two dimensions"):
        Demonstrations.from_arrays([(np.zeros(5), np.zeros((5, 2)))])
    with pytest.raises(InputError, match=r"actions of trajectory 0 have shape \(5,\)"):
        Demonstrations.from_arrays([(np.zeros((5, 2)), np.zeros(5))])


def test_action_sizes_that_differ_are_refused_by_trajectory():
    with pytest.raises(InputError, match="actions have 4 columns in trajectory 1, but 2 in trajectory 0"):
        Demonstrations.from_arrays(pairs(5) + pairs(5, action_size=4))


def test_an_observation_after_the_last_action_is_left_out_and_more_are_refused():
    observations = np.arange(18.0).reshape(6, 3)
    for each in (observations, {"arm": observations, "hand": observations}):
        demonstrations = Demonstrations.from_arrays([(each, np.zeros((5, 2)))])
        np.testing.assert_array_equal(demonstrations.vectors()[:, :3], observations[:5])
    with pytest.raises(InputError, match=r"6 observations but 4 actions; .*at most one observation after the last"):
        Demonstrations.from_arrays([(observations, np.zeros((4, 2)))])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused_by_trajectory_and_column(value):
    trajectories = pairs(4, 5)
    trajectories[1][1][2, 1] = value
    with pytest.raises(InputError, match=r"actions have -?(nan|inf) in trajectory 1, step 2, column 1"):
        Demonstrations.from_arrays(trajectories)


def test_a_number_too_large_for_float32_counts_as_not_finite():
    trajectories = pairs(4)
    trajectories[0][0][3, 2] = 1e300  # one alone is no unit
    with pytest.raises(InputError, match="observations have inf in trajectory 0, step 3, column 2"):
        Demonstrations.from_arrays(trajectories)


def test_words_and_irregular_lists_are_refused():
    with pytest.raises(InputError, match="not real numbers"):
        Demonstrations.from_arrays([(np.array([["a", "b"]] * 3), np.zeros((3, 2)))])
    with pytest.raises(InputError, match="not a regular array"):
        Demonstrations.from_arrays([([[1, 2], [3]], np.zeros((2, 2)))])


def test_lengths_that_do_not_add_up_are_refused():
    with pytest.raises(InputError, match="add up to 9 steps, but there are 10 rows of observations"):
        Demonstrations(np.zeros((10, 3), np.float32), np.zeros((10, 2), np.float32), np.array([4, 5]))


def test_other_things_than_lists_of_pairs_are_refused():
    stacked = np.zeros((4, 6, 3))
    for wrong, message in (
        ([(np.zeros((5, 3)), np.zeros((5, 2)), np.zeros(5))], "trajectory 0 has 3 parts; give a pair"),
        ((stacked, stacked), r"arrays of three dimensions; .* from_arrays\(zip\(observations, actions\)\)"),
        ([(stacked, stacked)], "the actions of trajectory 0 have shape .*one trajectory at a time"),
        ({"observations": stacked, "actions": stacked}, "the trajectories are a dictionary; give a list of pairs"),
        ([{"observations": stacked, "done": stacked}], "trajectory 0 has a dict; give a pair"),
        ([7], "trajectory 0 has a int; give a pair"),
        ([(np.zeros((5, 3)), np.array([0, 1, -1, 0, 0]))], "have the choice -1; number the choices from 0"),
        ("d.npz", r"'d\.npz' is a path; read it with Demonstrations\.load"),
        (None, "the trajectories are None; give a list of pairs"),
        ([({}, np.zeros((5, 2)))], "the observations of trajectory 0 are an empty dictionary"),
        ([({3: np.zeros((5, 3))}, np.zeros((5, 2)))], "the observations of trajectory 0 have entries without a name"),
        ([(1, 2)], r"the actions of trajectory 0 have shape \(\); they need two dimensions"),
        ([(np.ma.masked_equal(np.eye(5), 1), np.zeros((5, 2)))], "the observations of trajectory 0 have masked values"),
        ([(np.zeros((5, 3)), np.ma.masked_equal(np.eye(5), 1))], "the actions of trajectory 0 have masked values"),
        ([(np.zeros((5, 3)), np.array([0, 1, 2, 0, 10**15]))], "one of 1,000,000,000,000,001 choices, more than"),
    ):
        with pytest.raises(InputError, match=message):
            Demonstrations.from_arrays(wrong)
    with pytest.raises(InputError, match=r"choices are no whole numbers.*from_arrays\(zip\(observations, actions\)\)"):
        Demonstrations.from_arrays([np.zeros((5, 3))], [np.zeros((5, 2))])
    with pytest.raises(InputError, match="None is no place of demonstrations"):
        Demonstrations.load(None)
    with pytest.raises(InputError, match=r"slice\(0, 2, None\) is no index of one trajectory"):
        Demonstrations.from_arrays(pairs(4, 5))[0:2]
    with pytest.raises(InputError, match="the demonstrations are a list; make them with"):
        manyways.BC(iterations=1).fit(pairs(4, 5))


def test_dictionaries_and_tensors_are_taken_too():
    expected = Demonstrations.from_arrays(pairs(4, 5))
    made = [
        {"observations": torch.tensor(seen, requires_grad=True), "actions": torch.tensor(done)}
        for seen, done in pairs(4, 5)
    ]
    again = Demonstrations.from_arrays(made)
    np.testing.assert_array_equal(again.observations, expected.observations)
    np.testing.assert_array_equal(again.actions, expected.actions)


def test_choices_are_columns_of_ones():
    choices = np.array([[0, 1], [2, 0], [1, 1]])
    vectors = Demonstrations.from_arrays([(np.zeros((3, 1)), choices)], choices=(3, 2)).action_vectors()
    np.testing.assert_array_equal(vectors, [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 1]])


def test_entries_that_differ_are_refused():
    pairs = [({"a": np.zeros((4, 1))}, np.zeros((4, 1))), ({"b": np.zeros((4, 1))}, np.zeros((4, 1)))]
    with pytest.raises(InputError, match="the observations of trajectory 1 have other entries than those of"):
        Demonstrations.from_arrays(pairs)


def test_it_is_printed_in_a_line():
    demonstrations = Demonstrations.from_arrays([(np.zeros((5, 3)), np.arange(5))])
    assert repr(demonstrations) == (
        "Demonstrations(1 trajectories, 5 steps; an observation is numbers of shape (3,), an action one of 5 choices)"
    )
