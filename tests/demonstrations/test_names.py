"""Names of columns, identities and attributes of trajectories: kept by every call, and used in sentences."""

import json

import numpy as np
import pytest

import manyways
from manyways import Demonstrations, InputError, Selection, load_modes
from manyways.demonstrations import summarise

NAMES = {"observations": ("arm.0", "arm.1", "grip"), "actions": ("push", "pull")}


def named(lengths=(5, 3, 4), seed=0, identities=("demo_3", "demo_7", "demo_12"), **changes):
    rng = np.random.default_rng(seed)
    steps = sum(lengths)
    fields = {
        "observations": rng.normal(size=(steps, 3)).astype(np.float32),
        "actions": rng.normal(size=(steps, 2)).astype(np.float32),
        "lengths": np.array(lengths),
        "names": NAMES,
        "identities": identities,
        "attributes": {"operator": np.array(["ann", "bob", "ann"]), "score": np.array([1.5, 2.0, 0.5])},
    }
    return Demonstrations(**(fields | changes))


def assert_same(a, b, attributes=True):
    np.testing.assert_array_equal(a.observations, b.observations)
    np.testing.assert_array_equal(a.actions, b.actions)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    assert a.identities == b.identities
    if attributes:
        assert a.attributes.keys() == b.attributes.keys()
        for name, values in a.attributes.items():
            assert list(map(str, values)) == list(map(str, b.attributes[name]))


@pytest.mark.parametrize("name", ["again.npz", "again"])
def test_names_identities_and_attributes_are_saved(tmp_path, name):
    named().save(tmp_path / name)
    again = Demonstrations.load(tmp_path / name)
    assert_same(again, named())
    assert again.names == NAMES
    assert again.attributes["score"].dtype == np.float64


@pytest.mark.parametrize("name", ["again.npz", "again"])
def test_names_of_the_columns_of_dictionaries_are_saved(tmp_path, name):
    observations = {"arm": np.ones((9, 2), np.float32), "grip": np.ones((9, 1), np.float32)}
    names = {"observations/arm": ("x", "y"), "actions": ("push",)}
    demonstrations = Demonstrations(observations, np.ones((9, 1), np.float32), np.array([4, 5]), names=names)
    demonstrations.save(tmp_path / name)
    assert Demonstrations.load(tmp_path / name).names == names


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.npz", None), ("a", None), ("a", "csv"), ("a.parquet", None), ("a.hdf5", None), ("b", "robomimic")],
)
def test_every_format_that_is_written_is_read_again(tmp_path, name, format):
    named().save(tmp_path / name, modes=[1, 0, 1], format=format)
    again = Demonstrations.load(tmp_path / name)
    assert_same(again, named())
    np.testing.assert_array_equal(load_modes(tmp_path / name), [1, 0, 1])
    again.save(tmp_path / "second.npz")  # the names of columns have settled
    assert Demonstrations.load(tmp_path / "second.npz").names == again.names
    assert len(again.names["observations"]) == 3


@pytest.mark.parametrize("name", ["a.npz", "a", "a.parquet", "a.hdf5"])
def test_choices_stay_choices(tmp_path, name):
    choices = Demonstrations.from_arrays([(np.ones((4, 2)) * np.arange(4)[:, None], np.array([0, 2, 1, 0]))])
    choices.save(tmp_path / name)
    assert Demonstrations.load(tmp_path / name).action_space.n == 3


def test_what_a_table_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    images = Demonstrations.from_arrays([(np.ones((4, 9, 9), np.uint8), np.ones((4, 1)))])
    parts = Demonstrations.from_arrays([(np.ones((4, 2)), np.ones((4, 2), int))], choices=(2, 3))
    for demonstrations, message in ((images, "are images, which do not fit"), (parts, "several parts of an action")):
        for name, format in (("a.parquet", None), ("a", "csv")):
            with pytest.raises(InputError, match=message):
                demonstrations.save(tmp_path / name, format=format)
    with pytest.raises(InputError, match=r"would be a \.csv file, which is not written; .*--format csv"):
        named().save(tmp_path / "a.csv")
    with pytest.raises(InputError, match="there is no format 'bag' to write; give one of npz, npy, minari"):
        images.save(tmp_path / "a", format="bag")
    assert list(tmp_path.iterdir()) == []


def test_names_that_do_not_fit_are_refused():
    for changes, message in (
        ({"names": {"observations": ("a", "b")}}, r"observations have shape \(12, 3\), but 2 names"),
        (
            {"names": {"states": ("a", "b", "c")}},
            "there are names for 'states', but the arrays are observations, actions",
        ),
        ({"identities": ("a",)}, "identities has 1 values for 3 trajectories"),
        ({"attributes": {"who": np.array(["a"])}}, "attribute who has 1 values for 3 trajectories"),
    ):
        with pytest.raises(InputError, match=message):
            named(**changes)


def test_selected_trajectories_keep_what_is_known_of_them():
    chosen = named().select(np.array([2, 0]))
    assert chosen.identities == ("demo_12", "demo_3")
    assert chosen.attributes["operator"].tolist() == ["ann", "ann"]
    assert chosen.names == NAMES


def test_concatenated_parts_follow_one_another():
    first, second = (
        named(),
        named(seed=1, identities=("a", "b", "c"), attributes={"operator": np.array(["x", "y", "z"])}),
    )
    both = Demonstrations.concatenate([first, second])
    np.testing.assert_array_equal(both.observations, np.concatenate([first.observations, second.observations]))
    assert both.identities == ("demo_3", "demo_7", "demo_12", "a", "b", "c")
    assert set(both.attributes) == {"operator"}
    twice = Demonstrations.concatenate([first, first])
    assert twice.identities[0] == "0/demo_3"
    assert twice.identities[-1] == "1/demo_12"
    few, many = (Demonstrations.from_arrays([(np.ones((3, 1)), np.array([0, 1, n]))]) for n in (1, 6))
    assert Demonstrations.concatenate([few, many]).action_space.n == 7


def test_parts_that_differ_are_not_concatenated():
    other = named(names={"observations": ("arm.0", "grip", "arm.1"), "actions": ("push", "pull")})
    with pytest.raises(InputError, match=r"of part 1 has the column 'grip' where part 0 has 'arm\.1'"):
        Demonstrations.concatenate([named(), other])
    choices = Demonstrations.from_arrays([(np.ones((3, 3)), np.array([0, 1, 1]))])
    with pytest.raises(InputError, match="the action of part 1 is one of 2 choices, that of part 0 numbers"):
        Demonstrations.concatenate([named(), choices])
    with pytest.raises(InputError, match="nothing to concatenate"):
        Demonstrations.concatenate([])


def broken():
    observations = named().observations.copy()
    observations[2, 1], observations[9, 2] = np.nan, np.inf
    return observations


def test_errors_and_warnings_call_things_by_their_names():
    message = r"observations have nan in trajectory 0 \(demo_3\), step 2, column arm.1; .*trajectory 2 \(demo_12\)"
    with pytest.raises(InputError, match=message):
        named(observations=broken()).require_finite()
    constant = named().observations.copy()
    constant[:, 2] = 4
    assert named(observations=constant).ignored_columns == ("observations grip",)


def test_bad_trajectories_are_listed_at_once_and_left_out_on_request(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        observations=np.concatenate([broken(), np.ones((1, 3), np.float32)]),
        actions=np.ones((13, 2)),
        lengths=[5, 3, 4, 1],
        identities=["one", "two", "three", "four"],
        modes=[0, 1, 2, 3],
    )
    message = r"0 \(one\), step 2, column 1; .* 2 \(three\), step 1.*; trajectory 3 \(four\) has length 1"
    with pytest.raises(InputError, match=message):
        Demonstrations.load(tmp_path / "a.npz")
    with pytest.warns(UserWarning, match=message):
        kept = Demonstrations.load(tmp_path / "a.npz", drop_bad=True)
    assert kept.identities == ("two",)
    assert load_modes(tmp_path / "a.npz", Selection(drop_bad=True)).tolist() == [1]
    with pytest.raises(InputError, match=r"all trajectories of .* are bad"):
        Demonstrations.load(tmp_path / "a.npz", drop_bad=True, exclude=["two"])


def test_bad_trajectories_are_called_by_their_place_in_the_file(tmp_path):
    arrays = {"observations": broken(), "actions": np.ones((12, 2)), "lengths": [5, 3, 4]}
    np.savez(tmp_path / "a.npz", **arrays, identities=["one", "two", "three"])
    message = r"observations have inf in trajectory 2 \(three\), step 1, column 2"
    with pytest.raises(InputError, match=message):
        Demonstrations.load(tmp_path / "a.npz", episodes="1:")
    with pytest.warns(UserWarning, match=message):
        Demonstrations.load(tmp_path / "a.npz", exclude=["one"], drop_bad=True)


def test_short_trajectories_do_not_hide_the_others():
    pairs = [(np.full((3, 1), value), np.zeros((3, 1))) for value in (0.0, np.nan, np.inf)]
    message = "have nan in trajectory 1, step 0.*have inf in trajectory 2, step 0.*; trajectory 3 has length 1;"
    with pytest.raises(InputError, match=message):
        Demonstrations.from_arrays([*pairs, (np.zeros((1, 1)), np.zeros((1, 1)))])


def test_many_bad_trajectories_are_counted(tmp_path):
    np.savez(tmp_path / "a.npz", observations=np.full((1000, 2, 1), np.nan), actions=np.ones((1000, 2, 1)))
    with pytest.raises(
        InputError,
        match=r"in trajectory 2, step 0, column 0; .*trajectory 9, .*; and 990 more; no trajectory is good: check",
    ):
        Demonstrations.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("episodes", "places"),
    [
        ([0, 2], [0, 2]),
        (1, [1]),
        (slice(1, None), [1, 2]),
        (slice(2), [0, 1]),
        (range(2), [0, 1]),
        (np.array([2, 0]), [2, 0]),
        (np.int64(2), [2]),
    ],
)
def test_episodes_are_chosen_by_numbers_too(tmp_path, episodes, places):
    named().save(tmp_path / "a.npz")
    found = Demonstrations.load(tmp_path / "a.npz", episodes=episodes)
    assert found.identities == tuple(named().identities[place] for place in places)


@pytest.mark.parametrize("episodes", [[0, "one"], -1, [], True, 0.5, slice(0, 9, 2), slice(-3, None), {"a": 1}])
def test_episodes_that_are_no_places_are_refused(episodes):
    with pytest.raises(InputError, match=r"episodes is .*; give places from 0, such as \[0, 3\] or '0:10'"):
        Selection(episodes=episodes)


def test_columns_of_an_npz_are_chosen_by_name_or_place(tmp_path):
    named().save(tmp_path / "a.npz")
    chosen = Demonstrations.load(tmp_path / "a.npz", observations=["grip", "arm.0"], actions=["pull"])
    np.testing.assert_array_equal(chosen.observations, named().observations[:, [2, 0]])
    np.testing.assert_array_equal(chosen.actions, named().actions[:, [1]])
    assert chosen.names == {"observations": ("grip", "arm.0"), "actions": ("pull",)}
    np.savez(tmp_path / "b.npz", observations=np.ones((2, 4, 3)) * np.arange(3), actions=np.ones((2, 4, 1)))
    chosen = Demonstrations.load(tmp_path / "b.npz", observations=["observations.2"])
    assert (chosen.observations == 2).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observations": "arm.0"}, r"observations is the text 'arm.0'; give a list of names, such as \['arm.0'\]"),
        ({"episodes": "3"}, "has no episode 3; it has 3, numbered from 0"),
        ({"episodes": "5:9"}, "no episode of .* is left by the selection"),
        ({"episodes": "train"}, "has no part 'train'; it declares no parts: give one, or places such as 0:10"),
        ({"exclude": ["demo_3", "demo_7", "demo_12"]}, "no episode of .* is left"),
        ({"actions": ["speed"]}, "has no actions 'speed'; it has arm.0, arm.1, grip, push, pull: check the name"),
    ],
)
def test_a_selection_that_fits_nothing_is_refused(tmp_path, options, message):
    named().save(tmp_path / "a.npz")
    with pytest.raises(InputError, match=message):
        Demonstrations.load(tmp_path / "a.npz", **options)


def test_the_summary_shows_names_identities_and_attributes():
    summary = summarise(named())
    assert [(column.kind, column.name) for column in summary.columns][2:4] == [
        ("observation", "grip"),
        ("action", "push"),
    ]
    assert summary.identities == ("demo_3", "demo_7", "demo_12")
    assert summary.attributes["operator"] == {"ann": 2, "bob": 1}


def test_a_policy_knows_what_its_columns_are_called(tmp_path):
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=2, hidden=8).fit(named())
    policy.save(tmp_path)
    description = json.loads((tmp_path / "policy.json").read_text())
    assert description["observation_space"]["names"] == list(NAMES["observations"])
    assert description["action_space"]["names"] == list(NAMES["actions"])
    again = manyways.load_policy(tmp_path)
    assert again.observation_space.names == NAMES["observations"]
    description["observation_space"]["names"] = ["one"]
    (tmp_path / "policy.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="is damaged"):
        manyways.load_policy(tmp_path)


def test_a_policy_refuses_columns_of_other_names():
    settings = {"iterations": 1, "hidden": 8, "prior": manyways.Categorical(2)}
    policy = manyways.SOGBC(**settings).fit(named())
    wrong = named(names=NAMES | {"observations": ("arm.1", "arm.0", "grip")})
    message = r"the data set has the column 'arm.1' where the policy has 'arm.0'; choose the same columns"
    with pytest.raises(InputError, match=message):
        policy.losses(wrong)
    with pytest.raises(InputError, match=message):
        manyways.SOGBC(**settings).fit(wrong, init=policy)
    with pytest.raises(InputError, match="the column 'pull' where the policy has 'push'"):
        policy.losses(named(names=NAMES | {"actions": ("pull", "push")}))
    assert policy.losses(named(names=None)).shape == (3, 2)  # nobody knows
    turning = manyways.SOGBC(**settings).fit(named().with_rotations(angles=["grip"]))
    with pytest.raises(InputError, match=message):
        manyways.SOGBC(**settings).fit(wrong.with_rotations(angles=["grip"]), init=turning)
