"""What is converted comes back: names, identities and attributes; or it is refused."""

import json

import h5py
import numpy as np
import pytest

from manyways import Demonstrations, InputError, load_modes

FORMS = [("a.npz", None), ("a", "minari"), ("a", "csv"), ("a.parquet", None), ("a.hdf5", None)]


def made(columns=("x", "y"), identities=("b", "a"), **attributes):
    rng = np.random.default_rng(0)
    names = {"observations": columns, "actions": ("push",)}
    arrays = rng.normal(size=(9, len(columns))).astype(np.float32), rng.normal(size=(9, 1)).astype(np.float32)
    known = {name: np.array(values) for name, values in attributes.items()}
    return Demonstrations(*arrays, np.array([4, 5]), names=names, identities=identities, attributes=known)


@pytest.mark.parametrize(("name", "format"), FORMS)
def test_attributes_of_any_name_come_back(tmp_path, name, format):
    names = ("success", "done", "time", "episode", "mode", "identity", "demo", "attribute.x", "operator")
    made(**{each: ["one", "two"] for each in names}).save(tmp_path / name, [1, 0], format)
    found = Demonstrations.load(tmp_path / name)
    order = [("b", "a").index(identity) for identity in found.identities]
    if format in (None, "csv") and name != "a.hdf5":
        assert set(found.attributes) == set(names)
    assert len(found.attributes) == len(names)
    for values in found.attributes.values():
        assert values.tolist() == [("one", "two")[place] for place in order]
    assert load_modes(tmp_path / name).tolist() == [(1, 0)[place] for place in order]


@pytest.mark.parametrize("identities", [("000", "001"), ("a/b", "a.b"), ("a/b", "a_b"), ("1", "b")])
@pytest.mark.parametrize(("name", "format"), FORMS)
def test_identities_come_back(tmp_path, name, format, identities):
    made(identities=identities, who=["x", "y"]).save(tmp_path / name, format=format)
    found = Demonstrations.load(tmp_path / name)
    assert sorted(found.identities) == sorted(identities)
    assert found.attributes["who"][found.identities.index(identities[1])] == "y"


@pytest.mark.parametrize(
    "columns",
    [("pos.0", "pos.2", "pos"), ("pos.1", "x", "pos.0"), ("pos.0", "x", "pos.1"), ("a/b", "c"), ("pos.0", "pos.1")],
)
def test_columns_keep_their_names_in_hdf5(tmp_path, columns):
    demonstrations = made(columns)
    demonstrations.save(tmp_path / "a.hdf5")
    found = Demonstrations.load(tmp_path / "a.hdf5")
    assert found.names["observations"] == tuple(name.replace("/", ".") for name in columns)
    np.testing.assert_array_equal(found.observations, demonstrations.observations)


def test_names_of_actions_come_back_in_hdf5(tmp_path):
    made().save(tmp_path / "a.hdf5")
    assert Demonstrations.load(tmp_path / "a.hdf5").names["actions"] == ("push",)
    assert Demonstrations.load(tmp_path / "a.hdf5", actions=["push"]).actions.shape == (9, 1)
    for damaged in ("push", "{", '["a", "b"]', "7"):
        with h5py.File(tmp_path / "a.hdf5", "a") as file:
            file["data"].attrs["manyways action names"] = damaged
        assert Demonstrations.load(tmp_path / "a.hdf5").names["actions"] == ("actions",)


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="observations have two columns called 'x'; give each a name of its own"):
        made(("x", "x"))
    for name, format in (("a", "csv"), ("a.parquet", None)):
        with pytest.raises(InputError, match=r"two columns would be called 'observation.x' in .*; rename one"):
            made(("x", "observation.x")).save(tmp_path / name, format=format)
    assert list(tmp_path.iterdir()) == []


def test_entries_that_differ_by_a_slash_alone_are_refused(tmp_path):
    both = {"b/c": np.ones((4, 1), np.float32), "b.c": np.ones((4, 1), np.float32)}
    with pytest.raises(InputError, match=r"two of the entries b/c, b.c would have one name; rename one"):
        Demonstrations(both, np.ones((4, 1), np.float32), np.array([4])).save(tmp_path / "a.hdf5")
    assert list(tmp_path.iterdir()) == []


def test_two_trajectories_of_one_name_are_not_written(tmp_path, demonstrations):
    with pytest.raises(InputError, match="two trajectories of these demonstrations are called 'a'"):
        made(identities=("a", "a")).save(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("name", "format"), [("w.npz", "parquet"), ("w.parquet", "csv"), ("w", "parquet"), ("w.hdf5", "npz")]
)
def test_a_name_that_means_another_format_is_refused(tmp_path, name, format):
    with pytest.raises(InputError, match=f"{name} would be read as another format than {format}; give it the suffix"):
        made().save(tmp_path / name, format=format)
    assert list(tmp_path.iterdir()) == []


def test_entries_with_a_slash_are_written_for_minari(tmp_path):
    entries = {"b": np.ones((4, 1), np.float32), "b/c": np.full((4, 2), 2, np.float32)}
    names = {"observations/b/c": ("x", "y")}
    demonstrations = Demonstrations(entries, np.ones((4, 1), np.float32), np.array([4]), names=names)
    demonstrations.save(tmp_path / "a")
    found = Demonstrations.load(tmp_path / "a")
    assert {name: array[0].tolist() for name, array in found.observations.items()} == {"b": [1], "b.c": [2, 2]}
    assert found.names == {"observations/b.c": ("x", "y")}
    with pytest.raises(InputError, match=r"two entries of .* would have the same name without a slash"):
        Demonstrations(entries | {"b.c": entries["b"]}, demonstrations.actions, np.array([4])).save(tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_lerobot_is_written_as_its_version_3(tmp_path):
    pandas = pytest.importorskip("pandas")
    written = made(identities=None, task=["lift", "push"])
    with pytest.warns(UserWarning, match="fps is 1 in"):
        written.save(tmp_path / "a", format="lerobot")
    found = Demonstrations.load(tmp_path / "a")
    np.testing.assert_array_equal(found.observations, written.observations)
    np.testing.assert_array_equal(found.actions, written.actions)
    assert found.lengths.tolist() == [4, 5]
    assert found.names == {"observations": ("observation.state.x", "observation.state.y"), "actions": ("action",)}
    assert found.attributes["task"].tolist() == ["lift", "push"]
    again = found.save(tmp_path / "b", format="lerobot") or Demonstrations.load(tmp_path / "b")
    assert again.names == found.names
    assert pandas.read_parquet(tmp_path / "a" / "meta" / "tasks.parquet").loc["push", "task_index"] == 1
    rows = pandas.read_parquet(tmp_path / "a" / "data" / "chunk-000" / "file-000.parquet")
    assert rows["frame_index"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert rows["task_index"].tolist() == [0] * 4 + [1] * 5
    info = json.loads((tmp_path / "a" / "meta" / "info.json").read_text())
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [2], "names": ["x", "y"]}
    assert set(rows.columns) == set(info["features"])
    assert (info["total_frames"], info["total_episodes"], info["total_tasks"]) == (9, 2, 2)


def test_a_replay_buffer_is_written(tmp_path):
    pictures = np.random.default_rng(0).integers(255, size=(9, 6, 6, 3), dtype=np.uint8)
    state, action = np.ones((9, 2), np.float32), np.arange(9, dtype=np.float32)[:, None]
    Demonstrations({"eye": pictures, "state": state}, action, np.array([4, 5])).save(tmp_path / "a.zarr")
    found = Demonstrations.load(tmp_path / "a.zarr", observations=["eye", "state"])
    np.testing.assert_array_equal(found.observations["eye"], pictures)
    np.testing.assert_array_equal(found.observations["state"], state)
    np.testing.assert_array_equal(found.actions, action)
    assert found.lengths.tolist() == [4, 5]
    assert json.loads((tmp_path / "a.zarr" / ".zgroup").read_text())["zarr_format"] == 2


def test_what_robot_formats_cannot_hold_is_told(tmp_path):
    for format in ("lerobot", "zarr"):
        with pytest.warns(UserWarning, match="has no place for the attribute who, identities, labels, left out"):
            made(who=["x", "y"]).save(tmp_path / format, [0, 1], format)
    images = Demonstrations({"eye": np.zeros((4, 6, 6, 3), np.uint8)}, np.ones((4, 1), np.float32), np.array([4]))
    with pytest.raises(InputError, match=r"observation.eye are images, which are not written as LeRobot"):
        images.save(tmp_path / "images", format="lerobot")
    two = {"a/b": np.ones((4, 1), np.float32), "a.b": np.ones((4, 1), np.float32)}
    for format in ("lerobot", "zarr"):
        with pytest.raises(InputError, match=r"two arrays would be called .*a\.b in"):
            Demonstrations(two, np.ones((4, 1), np.float32), np.array([4])).save(tmp_path / "two", format=format)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lerobot", "zarr"]
