import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.demonstrations.conversion import convert
from manyways.demonstrations.formats.selection import Selection
from manyways.runs.provenance import data_fingerprint


def drawn(count=8):
    rng = np.random.default_rng(0)
    return manyways.Demonstrations.from_arrays(
        [(rng.normal(size=(5, 2)), rng.normal(size=(5, 1))) for _ in range(count)]
    )


def sets(demonstrations):
    """Return the sets of trajectories that are the same way, and the pairs of those that are not."""
    linked = demonstrations.pairs.linked
    alike = [np.flatnonzero(linked == first).tolist() for first in np.unique(linked) if (linked == first).sum() > 1]
    return alike, demonstrations.pairs.different.tolist()


def test_who_is_the_same_as_a_third_one_is_the_same_even_where_that_one_is_left_out():
    paired = drawn().with_pairs(same=[(5, 2), (5, 7)], different=[(0, 5)])
    assert sets(paired) == ([[2, 5, 7]], [[0, 2]])
    assert sets(paired.select(np.array([7, 2, 0]))) == ([[0, 1]], [[0, 2]])
    assert sets(paired.select(np.array([0, 7]))) == ([], [[0, 1]])
    assert paired.select(np.array([1, 2, 3])).pairs is None


def test_pairs_are_added_to_those_that_are_known():
    paired = drawn().with_pairs(same=[(0, 1)]).with_pairs(same=[(1, 2)], different=[(2, 3)])
    assert sets(paired) == ([[0, 1, 2]], [[0, 3]])


def test_a_label_is_that_of_all_who_are_the_same_way_in_any_order_of_the_calls():
    one = drawn().with_pairs(same=[(0, 1), (1, 2)]).with_labels({1: 3})
    other = drawn().with_labels({1: 3}).with_pairs(same=[(0, 1), (1, 2)])
    assert one.labels.tolist() == other.labels.tolist() == [3, 3, 3, -1, -1, -1, -1, -1]
    assert one.select(np.array([2, 4])).labels.tolist() == [3, -1]


def test_joined_sets_keep_their_pairs():
    joined = manyways.Demonstrations.concatenate([drawn(3), drawn(4).with_pairs([(0, 2)], [(0, 3)]), drawn(2)])
    assert sets(joined) == ([[3, 5]], [[3, 6]])


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_a_file_keeps_known_modes_and_pairs(tmp_path, form):
    paired = drawn().with_pairs(same=[(5, 2), (5, 7)], different=[(0, 5)]).with_labels({1: 1})
    path = tmp_path / ("data.npz" if form == "npz" else "data")
    paired.save(path, format=form)
    again = manyways.Demonstrations.load(path)
    assert sets(again) == sets(paired)
    assert again.labels.tolist() == paired.labels.tolist()
    assert data_fingerprint(again) == data_fingerprint(paired) != data_fingerprint(drawn())
    assert sets(manyways.Demonstrations.load(path, episodes="2:8")) == ([[0, 3, 5]], [])
    convert(path, tmp_path / "converted", Selection(episodes="0,5,7"))
    assert sets(manyways.Demonstrations.load(tmp_path / "converted")) == ([[1, 2]], [[0, 1]])


def test_a_file_names_its_pairs_by_place_or_by_identity(tmp_path):
    arrays = {"observations": np.random.default_rng(0).normal(size=(4, 5, 2)), "actions": np.ones((4, 5, 1))}
    names = np.array(["a", "b", "c", "d"])
    np.savez(tmp_path / "words.npz", **arrays, identities=names, same=np.array([["a", "c"]]), different=[["d", "a"]])
    np.savez(tmp_path / "places.npz", **arrays, identities=names, same=[[0, 2]], different=[[3, 0]])
    for name in ("words", "places"):
        assert sets(manyways.Demonstrations.load(tmp_path / f"{name}.npz")) == ([[0, 2]], [[0, 3]])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"same": [[0, 9]]}, "no trajectory 9 to pair as same; give places from 0 to 3"),
        ({"same": [0, 1]}, "give places or identities of two trajectories"),
        ({"same": [[0.0, 1.0]]}, "give places or identities of two trajectories"),
        ({"same": [[0, 1]], "different": [[1, 0]]}, "trajectories 1 and 0 are given as different ways, but also"),
        ({"same": [[0, 1]], "known_modes": [0, 1, -1, -1]}, "trajectories 0 and 1 are given as the same way, but have"),
        ({"known_modes": [0, 1]}, "known_modes has 2 values for 4 trajectories"),
    ],
)
def test_a_file_whose_pairs_cannot_be_is_refused_in_one_sentence(tmp_path, command, arrays, words):
    rng = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    np.savez(path, observations=rng.normal(size=(4, 5, 2)), actions=rng.normal(size=(4, 5, 1)), **arrays)
    with pytest.raises(InputError, match=words):
        manyways.Demonstrations.load(path)
    code, _, errors = command("train", "sog-bc", path, "--modes", 2, "--out", tmp_path / "run")
    assert code == 2
    assert words in " ".join(errors.split())


def test_inspect_says_what_is_known(tmp_path, command):
    drawn().with_pairs(same=[(0, 1), (1, 2)], different=[(2, 3)]).with_labels({5: 0}).save(tmp_path / "data.npz")
    _, printed, _ = command("inspect", tmp_path / "data.npz")
    assert "known modes: 1 trajectories" in printed
    assert "pairs: 2 of the same way, 1 of different ways" in printed


def test_modes_in_a_file_only_score_and_known_modes_are_learned(tmp_path):
    drawn().save(tmp_path / "scored.npz", modes=np.arange(8))
    assert manyways.Demonstrations.load(tmp_path / "scored.npz").labels is None
    assert manyways.load_modes(tmp_path / "scored.npz").tolist() == list(range(8))
    drawn().with_labels({2: 1}).save(tmp_path / "known.npz")
    assert manyways.load_modes(tmp_path / "known.npz") is None
    assert manyways.Demonstrations.load(tmp_path / "known.npz").labels[2] == 1


def test_a_format_without_a_place_for_pairs_says_so(tmp_path):
    with pytest.warns(UserWarning, match="minari has no place for known modes and pairs"):
        drawn().with_pairs(same=[(0, 1)]).save(tmp_path / "minari")


@pytest.mark.parametrize(
    ("same", "different", "words"),
    [
        ([(0, 1), (1, 2)], [(2, 0)], "trajectories 2 and 0 are given as different ways, but also as the same one"),
        ([(3, 3)], [], "have 3 twice"),
        ([(0, 1, 2)], [], "give two trajectories each"),
        (["ab"], [], "give two trajectories each"),
        ([], [("nobody", 0)], "no trajectory 'nobody' to pair as different"),
        ([(0, -1)], [], "no trajectory -1"),
        ([(0, True)], [], "no trajectory True"),
    ],
)
def test_pairs_that_cannot_be_are_refused(same, different, words):
    with pytest.raises(InputError, match=words):
        drawn().with_pairs(same, different)


def test_labels_that_contradict_pairs_are_refused():
    paired = drawn().with_pairs(same=[(0, 1)], different=[(1, 2)])
    with pytest.raises(InputError, match="0 and 1 are given as the same way, but have the labels 0 and 1"):
        paired.with_labels({0: 0, 1: 1})
    with pytest.raises(InputError, match="0 and 2 are given as different ways, but both have the label 4"):
        paired.with_labels({1: 4, 2: 4})
