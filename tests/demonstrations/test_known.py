"""What a file knows of its trajectories: identities, attributes and labels, one for each, or none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_sets import ACTIONS, BOTH, LENGTHS, episodes, frame, joined, refused

from manyways import Demonstrations, load_modes
from manyways.demonstrations import convert


def npz(folder, **known):
    np.savez(folder / "a.npz", observations=joined(BOTH), actions=joined(ACTIONS), lengths=LENGTHS, **known)
    return folder / "a.npz"


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"identities": ["a", "b"]}, "identities in .* has 2 values for 3 trajectories; give one for each"),
        ({"identities": list("abcd")}, "identities in .* has 4 values for 3 trajectories"),
        ({"identities": [["a", "b", "c"]]}, r"identities in .* have the shape \(1, 3\); give one for each"),
        ({"identities": ["a", "b", "a"]}, "two trajectories of .* are called 'a'; give each a name of its own"),
        ({"attributes/who": ["a", "b"]}, "the attribute who in .* has 2 values for 3 trajectories"),
        ({"attributes/who": np.ones((3, 2))}, r"the attribute who in .* has the shape \(3, 2\) for 3 trajectories"),
    ],
)
def test_what_is_known_of_other_trajectories_is_refused(tmp_path, known, message):
    refused(npz(tmp_path, **known), message)
    arrays = {"observations": joined(BOTH), "actions": joined(ACTIONS), "episode_ends": np.cumsum(LENGTHS)}
    np.savez(tmp_path / "flat.npz", **arrays, **known)
    refused(tmp_path / "flat.npz", message)


def test_bytes_are_text(tmp_path):
    path = npz(
        tmp_path, identities=[b"a", b"b", b"c"], modes=[b"x", b"", b"y"], **{"attributes/who": [b"a", b"b", b"a"]}
    )
    demonstrations = Demonstrations.load(path)
    assert demonstrations.identities == ("a", "b", "c")
    assert demonstrations.attributes["who"].tolist() == ["a", "b", "a"]
    assert load_modes(path).tolist() == [0, -1, 1]


@pytest.mark.parametrize(("labels", "codes"), [(["up", "", "down"], [1, -1, 0]), ([0.5, np.nan, 0.25], [1, -1, 0])])
def test_a_label_that_is_missing_is_no_mode(tmp_path, labels, codes):
    assert load_modes(npz(tmp_path, modes=labels)).tolist() == codes
    table = frame().assign(mode=np.repeat(labels, LENGTHS))
    table.to_csv(tmp_path / "a.csv", index=False)
    assert load_modes(tmp_path / "a.csv").tolist() == codes
    table.assign(mode=[label or None for label in table["mode"]]).to_parquet(tmp_path / "a.parquet")
    assert load_modes(tmp_path / "a.parquet").tolist() == codes


def test_a_robomimic_file_may_have_labels_of_some_demonstrations(tmp_path, demonstrations):
    import h5py

    demonstrations.select(np.arange(3)).save(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["data/demo_0"].attrs["mode"], file["data/demo_2"].attrs["mode"] = "up", "down"
    assert load_modes(tmp_path / "a.hdf5").tolist() == [1, -1, 0]


def test_a_label_that_changes_within_an_episode_is_no_label(tmp_path):
    frame().assign(mode=np.arange(12) % 2).to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(
        UserWarning, match="column mode of .* changes within the episode first .0, 1., so it is no label"
    ):
        assert load_modes(tmp_path / "a.csv") is None


@pytest.mark.parametrize("missing", [None, "", np.nan])
def test_rows_of_no_episode_are_refused(tmp_path, missing):
    words = frame()["episode"].astype(object)
    words[6] = missing
    table = frame().assign(episode=words)
    message = "the column episode of .* does not name an episode in every row"
    with pytest.raises(Exception, match=message):
        Demonstrations.from_dataframe(table)
    table.to_csv(tmp_path / "a.csv", index=False)
    refused(tmp_path / "a.csv", message)
    table.to_parquet(tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", message)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
@pytest.mark.filterwarnings("ignore:.*not used")
def test_files_of_episodes_say_what_a_table_says(tmp_path, suffix):
    path = episodes(tmp_path / "trials", suffix)
    for file, who, mode in zip(sorted(path.iterdir()), ("cy", "ann", "bob"), (5, 1, 0), strict=True):
        if suffix == ".npz":
            np.savez(file, **np.load(file), operator=who, mode=mode)
            continue
        table = pd.read_csv(file) if suffix == ".csv" else pd.read_parquet(file)
        table = table.assign(operator=who, mode=mode, note=[*"abcde"][: len(table)])
        table.to_csv(file, index=False) if suffix == ".csv" else table.to_parquet(file)
    demonstrations = Demonstrations.load(path)
    assert demonstrations.identities == ("trial_2", "trial_3", "trial_10")
    assert demonstrations.attributes["operator"].tolist() == ["ann", "bob", "cy"]
    assert load_modes(path).tolist() == [1, 0, 5]


def choices(suffix, folder, last):
    """Two episodes with a choice in each row but the last one, which has `last`."""
    table = pd.DataFrame({"episode": np.repeat([*"ab"], 4), "x": np.arange(8.0), "action": [0, 1, 2, last] * 2})
    if suffix == "frame":
        return table
    path = folder / f"a{suffix}"
    table["action"] = table["action"].astype("Int64")
    if suffix == "folder":
        path = folder / "trials"
        path.mkdir()
        for name, part in table.groupby("episode"):
            part.drop(columns="episode").to_csv(path / f"{name}.csv", index=False)
    elif suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        pa.parquet.write_table(pa.Table.from_pandas(table), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", "folder", "frame"])
def test_choices_whose_last_row_is_empty_stay_choices(tmp_path, suffix):
    source = choices(suffix, tmp_path, np.nan)
    found = Demonstrations.from_dataframe(source) if suffix == "frame" else Demonstrations.load(source)
    assert found.actions.tolist() == [0, 1, 2] * 2
    assert found.lengths.tolist() == [3, 3]
    assert found.action_space.n == 3
    if suffix != "frame":
        convert(source, tmp_path / "npy")
        assert Demonstrations.load(tmp_path / "npy").actions.tolist() == [0, 1, 2] * 2


def test_real_numbers_below_0_with_empty_last_rows_stay_real(tmp_path):
    found = Demonstrations.from_dataframe(choices("frame", tmp_path, np.nan).assign(action=[-1, 0, 1, np.nan] * 2))
    assert found.actions.tolist() == [[-1], [0], [1]] * 2


def test_choices_stay_choices_where_a_bad_episode_is_left_out(tmp_path):
    table = choices("frame", tmp_path, 1).assign(action=[0, 1, 2, 1, 0, None, 1, 1])
    table.astype({"action": "Int64"}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.warns(UserWarning, match="left out of .* have nan in trajectory 1"):
        found = Demonstrations.load(tmp_path / "a.csv", drop_bad=True)
    assert found.actions.tolist() == [0, 1, 2, 1]


def test_whole_numbers_in_the_first_file_alone_are_no_choices(tmp_path):
    path = choices("folder", tmp_path, 1)
    (path / "b.csv").write_text("x,action\n0,0.5\n1,1.5\n")
    assert Demonstrations.load(path).actions[:, 0].tolist() == [0, 1, 2, 1, 0.5, 1.5]
    convert(path, tmp_path / "npy")
    np.testing.assert_array_equal(Demonstrations.load(tmp_path / "npy").actions, Demonstrations.load(path).actions)


def test_lists_without_an_action_in_the_last_row_are_left_out(tmp_path):
    rows = [[0.0, 1.0], [1.0, 2.0], None]
    table = pd.DataFrame({"episode": [0] * 3 + [1] * 3, "x": np.arange(6.0), "action": rows * 2})
    table.to_parquet(tmp_path / "a.parquet")
    for found in (Demonstrations.from_dataframe(table), Demonstrations.load(tmp_path / "a.parquet")):
        assert found.actions.tolist() == rows[:2] * 2


def test_flags_are_choices_as_in_memory(tmp_path):
    flags = np.array([True, False, True, True])
    assert Demonstrations.from_arrays([(np.ones((4, 1)), flags)]).action_space.n == 2
    np.savez(tmp_path / "a.npz", observations=np.ones((4, 1)), actions=flags, lengths=[4])
    assert Demonstrations.load(tmp_path / "a.npz").action_space.n == 2
    table = pd.DataFrame({"episode": 0, "x": np.ones(4), "action": flags})
    assert Demonstrations.from_dataframe(table).action_space.n == 2


def test_episodes_of_a_table_keep_their_names_as_they_are_written(tmp_path):
    table = frame()
    named = dict(zip(table["episode"].unique(), ("001", "002", "010"), strict=False))
    table.assign(episode=table["episode"].map(named)).to_csv(tmp_path / "a.csv", index=False)
    assert Demonstrations.load(tmp_path / "a.csv", exclude=["002"]).identities == ("001", "010")
    table.assign(Episode=table["episode"].map(named).astype(float)).drop(columns="episode").to_csv(tmp_path / "b.csv")
    assert Demonstrations.load(tmp_path / "b.csv").identities == ("1", "2", "10")


def test_lists_in_a_parquet_file_may_be_missing_in_its_first_row(tmp_path):
    cells = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 0.5]]
    table = pd.DataFrame({"episode": [*"aabbb"], "state": [None, *cells[1:]], "action": cells})
    table.to_parquet(tmp_path / "a.parquet")
    with pytest.warns(UserWarning, match="left out"):
        found = Demonstrations.load(tmp_path / "a.parquet", drop_bad=True)
    assert found.identities == ("b",)
    np.testing.assert_array_equal(found.observations, np.float32(cells[2:]))
