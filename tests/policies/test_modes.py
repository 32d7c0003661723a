import json

import numpy as np
import pytest

import manyways
from manyways import InputError, Policy
from manyways.policies.modes import matched


@pytest.fixture
def named(policy, tmp_path):
    policy.save(tmp_path / "named")
    loaded = Policy.load(tmp_path / "named")
    loaded.name(1, "over")
    return loaded


def test_a_name_takes_the_place_of_an_index(named):
    np.testing.assert_array_equal(named.code("over"), named.code(1))
    observation = np.ones(3, np.float32)
    action, _ = named.with_code("over").predict(observation, deterministic=True)
    np.testing.assert_array_equal(action, named.predict(observation, named.code(1), deterministic=True)[0])
    assert [mode.name for mode in named.modes] == [None, "over"]


def test_names_are_kept_in_the_file(named, tmp_path):
    named.name(0, "  around the left ")
    named.save(tmp_path)
    assert Policy.load(tmp_path).names == {0: "around the left", 1: "over"}
    named.name(0, None)
    named.save(tmp_path)
    assert Policy.load(tmp_path).names == {1: "over"}
    assert json.loads((tmp_path / "policy.json").read_text())["names"] == {"1": "over"}


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (2, "over", "there is no code 2; the codes are 0 to 1"),
        (0, "over", "code 1 has the name 'over' already"),
        (0, "", "'' is no name"),
        (0, "a\nb", "is no name; give 1 to 60 letters in one line"),
        (0, "x" * 61, "is no name"),
        (0, 3, "3 is no name"),
        (0, "1", "'1' would be taken for the index of a code"),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused(named, code, name, message):
    with pytest.raises(InputError, match=message):
        named.name(code, name)
    assert named.names == {1: "over"}


def test_an_unknown_name_is_refused_with_those_that_are_known(named):
    with pytest.raises(InputError, match=r"no code has the name 'under'; the names are: over \(1\)"):
        named.code("under")


def test_damaged_names_are_refused(named, tmp_path):
    named.save(tmp_path)
    path = tmp_path / "policy.json"
    text = json.loads(path.read_text())
    for names in ({"7": "x"}, {"a": "x"}, ["x"], {"0": 3}, {"0": "x", "1": "x"}):
        path.write_text(json.dumps(text | {"names": names}))
        with pytest.raises(InputError):
            Policy.load(tmp_path)


def test_names_follow_their_demonstrations_to_other_codes(named, demonstrations):
    seeds = (manyways.SOGBC(prior=manyways.Categorical(2), iterations=200, hidden=32, seed=seed) for seed in range(6))
    mine = named.losses(demonstrations).argmin(axis=1)
    orders = set()
    for settings in seeds:
        policy = settings.fit(demonstrations)
        assert policy.take_names(named, demonstrations) == []
        other = policy.losses(demonstrations).argmin(axis=1)
        code = next(iter(policy.names))
        np.testing.assert_array_equal(other == code, mine == 1)
        orders.add(code)
    assert orders == {0, 1}  # else this shows nothing


def test_names_are_assigned_one_to_one_by_most_trajectories():
    names = {0: "left", 1: "right", 2: "over"}
    before = np.array([0] * 6 + [1] * 4 + [2] * 2)
    now = np.array([3, 3, 3, 3, 1, 1] + [0] * 4 + [0] * 2)
    # "left" split in two, and goes to the larger part; "over" has only a third of code 0, which is "right".
    assert matched(names, before, now, (3, 4)) == {0: "right", 3: "left"}


def test_a_mode_that_is_mostly_new_gets_no_name():
    before, now = np.array([0, 1, 1, 1]), np.zeros(4, np.int64)
    assert matched({0: "left"}, before, now, (2, 1)) == {}
