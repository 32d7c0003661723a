"""Damaged, foreign and hostile files of every format: one sentence, nothing run, nothing read from elsewhere."""

import contextlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr
from data_sets import (
    ACTIONS,
    BOTH,
    ENDS,
    LENGTHS,
    MAKERS,
    RNG,
    flat_arrays,
    frame,
    imitation,
    joined,
    refused,
    robomimic,
)

from manyways import Demonstrations, InputError, WriteError
from manyways.demonstrations.formats import arrays

pytestmark = pytest.mark.filterwarnings("ignore:.*not used")


def edited_hdf5(folder, change):
    path = robomimic(folder)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replaced(file, name, array):
    del file[name]
    file[name] = array


def external(file):
    outside = Path(file.filename).with_name("secret.hdf5")
    with h5py.File(outside, "w") as other:
        other["actions"] = np.ones((3, 2))
    del file["data/demo_0/actions"]
    file["data/demo_0/actions"] = h5py.ExternalLink(outside, "actions")


def raw_storage(file):
    outside = Path(file.filename).with_name("secret.bin")
    outside.write_bytes(bytes(24))
    del file["data/demo_0/actions"]
    file.create_dataset("data/demo_0/actions", (3, 2), "f4", external=[(str(outside), 0, 24)])


def virtual(file):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource("secret.hdf5", "actions", (3, 2))
    del file["data/demo_0/actions"]
    file.create_virtual_dataset("data/demo_0/actions", layout)


def claimed(file):
    del file["data/demo_0/actions"]
    file.create_dataset("data/demo_0/actions", (10**13, 2), "f4", chunks=(1024, 2))


def soft(file):
    del file["data/demo_0/obs/arm"]
    file["data/demo_0/obs/arm"] = h5py.SoftLink("/data/demo_2/obs/arm")


ROBOMIMIC = {
    "no actions": (lambda f: f.__delitem__("data/demo_0/actions"), "has no actions in data/demo_0; it holds obs/arm"),
    "an entry less": (lambda f: f.__delitem__("data/demo_2/obs/arm"), "demo_2 in .* has no obs/arm, which demo_0 has"),
    "another width": (
        lambda f: replaced(f, "data/demo_2/obs/arm", np.ones((5, 4))),
        r"arm has shape \(5, 4\) in demo_2",
    ),
    "too few rows": (lambda f: replaced(f, "data/demo_2/obs/arm", np.ones((2, 3))), "arm of demo_2 .* has 2 rows, but"),
    "no steps": (
        lambda f: [
            replaced(f, f"data/demo_2/{n}", f[f"data/demo_2/{n}"][:0]) for n in ("actions", "obs/arm", "obs/grip")
        ],
        r"trajectory 1 \(demo_2\) has length 0",
    ),
    "words": (
        lambda f: replaced(f, "data/demo_0/actions", np.array([[b"a", b"b"]] * 3)),
        "actions in .* not real numbers",
    ),
    "no demonstrations": (
        lambda f: [f.__delitem__(f"data/{n}") for n in list(f["data"])],
        "has no demonstrations in data",
    ),
    "a link to another file": (external, "actions in .* is a link, which may lead to another file"),
    "a link": (soft, "arm in .* is a link"),
    "numbers in another file": (raw_storage, "actions in .* keeps its numbers in another file"),
    "numbers in other files": (virtual, "actions in .* keeps its numbers in another file"),
    "more than memory": (claimed, "would need .* of memory"),
    "a long mask": (
        lambda f: replaced(f, "mask/better", np.zeros(10**6 + 1, "S1")),
        "mask/better in .* names 1,000,001 of 3",
    ),
    "a mask that is no group": (
        lambda f: replaced(f, "mask", np.ones(3)),
        "mask in .* is an array; make a group of it",
    ),
    "actions of a single value": (
        lambda f: replaced(f, "data/demo_0/actions", 1.0),
        "actions of demo_0 in .* is a single value; give one for each step",
    ),
    "a group that holds itself": (
        lambda f: f["data/demo_0/obs"].__setitem__("again", f["data/demo_0"]),
        "the group .* in .* holds itself; remove that link",
    ),
    "arrays in the place of demonstrations": (
        lambda f: [replaced(f, f"data/{n}", np.ones((5, 2))) for n in list(f["data"])],
        "has no demonstrations in data",
    ),
    "nothing in a data set": (
        lambda f: replaced(f, "data/demo_0/actions", h5py.Empty("f4")),
        "actions in .* holds nothing",
    ),
}


@pytest.mark.parametrize("case", ROBOMIMIC)
def test_a_robomimic_file_that_cannot_be_used_is_refused(tmp_path, case):
    change, message = ROBOMIMIC[case]
    refused(edited_hdf5(tmp_path, change), message)


def test_what_is_not_read_of_a_robomimic_file_is_named(tmp_path):
    def change(file):
        file["data/loose"] = np.ones((5, 2))
        for demo in ("demo_0", "demo_2", "demo_10"):
            file[f"data/{demo}/next_obs/arm"] = file[f"data/{demo}/next_obs/grip"] = np.ones(3)
            file[f"data/{demo}/goal"] = np.ones(3)

    path = edited_hdf5(tmp_path, change)
    message = (
        "also holds goal of each demonstration, next_obs of each demonstration, data/loose, image, which are not used"
    )
    with pytest.warns(UserWarning, match=message):
        assert len(Demonstrations.load(path)) == 3


def test_a_mask_that_names_a_demonstration_twice_takes_it_once(tmp_path):
    path = edited_hdf5(tmp_path, lambda file: replaced(file, "mask/better", np.array([b"demo_0", b"demo_0"])))
    assert Demonstrations.load(path, episodes="better").identities == ("demo_0",)


def test_a_filter_key_may_name_demonstrations_that_were_deleted(tmp_path):
    better = np.array([b"demo_9", b"demo_10", b"demo_8", b"demo_0", *[b"demo_7"] * 4])
    path = edited_hdf5(tmp_path, lambda file: replaced(file, "mask/better", better))
    message = "mask/better in .* names demo_9, demo_8, demo_7, which data/ has not; they are passed over"
    with pytest.warns(UserWarning, match=message):
        assert len(Demonstrations.load(path)) == 3
    with pytest.warns(UserWarning, match=message):
        assert Demonstrations.load(path, episodes="better").identities == ("demo_10", "demo_0")
    with h5py.File(path, "a") as file:
        replaced(file, "mask/better", np.array([b"demo_9"]))
    assert len(Demonstrations.load(path)) == 3
    with pytest.raises(InputError, match=r"no episode of .* is left by the selection"):
        Demonstrations.load(path, episodes="better")


def table(folder, change):
    change(frame()).to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


TABLES = {
    "no episodes": (lambda f: table(f, lambda t: t.drop(columns="episode")), "does not say which rows are one episode"),
    "no rows": (lambda f: table(f, lambda t: t[:0]), "there are no trajectories|has no columns of numbers"),
    "holes": (lambda f: table(f, lambda t: t.assign(**{"arm.1": [None, *t["arm.1"][1:]]})), "have nan in trajectory 0"),
    "one row": (
        lambda f: table(f, lambda t: t.assign(episode=range(12))),
        r"trajectory 0 \(0\) has length 1; trajectory 1",
    ),
    "rows of different lengths": (lambda f: text(f / "a.csv", "episode,action,x\n0,1,2\n0,1\n"), "is a damaged table"),
    "nothing": (lambda f: text(f / "a.csv", ""), "is a damaged table"),
    "two columns of a name": (lambda f: text(f / "a.csv", "episode,x,x\n0,1,2\n"), "two columns of the same name"),
    "no Parquet": (lambda f: text(f / "a.parquet", "episode,x\n"), "is a damaged table"),
    "no HDF5": (lambda f: text(f / "a.hdf5", "hello"), "is a damaged HDF5 file"),
}


def text(path, content):
    path.write_text(content)
    return path


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, case):
    make, message = TABLES[case]
    refused(make(tmp_path), message)


def folder_of(tmp_path, change):
    path = MAKERS["folder of csv"](tmp_path)
    change(path)
    return path


def file_led_out(path):
    shutil.move(path / "trial_3.csv", path.parent / "outside.csv")
    (path / "trial_3.csv").symlink_to(path.parent / "outside.csv")


FOLDERS = {
    "other columns": (
        lambda p: text(p / "trial_3.csv", "action.0,action.1\n1,2\n"),
        "trial_3.csv has nothing for arm.0",
    ),
    "a damaged file": (lambda p: text(p / "trial_3.csv", 'a,b\n1,2,3,"'), "is a damaged folder of episodes"),
    "an empty file": (lambda p: text(p / "trial_3.csv", ""), "is a damaged folder of episodes"),
    "files of two kinds": (lambda p: np.savez(p / "b.npz", x=1), "has files of the kinds .csv, .npz"),
    "a link that leads out": (file_led_out, "leads out of the folder"),
    "a row of attributes less": (
        lambda p: text(p / "attributes.csv", "episode,who\ntrial_2,a\n"),
        "no row for the episode tr",
    ),
    "words in one file": (
        lambda p: text(p / "trial_3.csv", "arm.0,arm.1,arm.2,grip,action.0,action.1\n1,2,oops,4,5,6\n"),
        "trial_3.csv has words in arm.2, but trial_2.csv has numbers; mend or leave out that file",
    ),
    "a name twice": (lambda p: shutil.copy(p / "trial_3.csv", p / "trial_3.CSV"), "two .* are called 'trial_3'"),
    "two rows for an episode": (
        lambda p: text(p / "attributes.csv", "episode,who\ntrial_2,a\ntrial_3,b\ntrial_10,c\ntrial_2,d\n"),
        "attributes.csv are called 'trial_2'",
    ),
    "attributes of nothing": (lambda p: text(p / "attributes.csv", "who\na\n"), "has no column episode"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path, case):
    change, message = FOLDERS[case]
    refused(folder_of(tmp_path, change), message)


FLAT = {
    "flags that are too few": (
        {"dones": np.ones(5)},
        "dones in .* of shape .5,.; give a flag for each of the 12 actions",
    ),
    "ends beyond the last action": ({"episode_ends": np.array([5, 20])}, "end at 5, 20, but there are 12 actions"),
    "ends before the last action": ({"episode_ends": np.array([5, 8])}, "ends at 8, but there are 12 actions"),
    "ends out of order": ({"episode_ends": np.array([8, 5, 12])}, "give ends in order"),
    "ends that are not whole": ({"episode_ends": ENDS + 0.5}, "give whole numbers, one an episode"),
    "ends below 0": ({"episode_ends": np.array([-3, 12])}, "give ends in order"),
    "empty episodes": ({"episode_ends": np.array([5, 5, 12])}, "trajectory 1 has length 0"),
    "observations that are too few": (
        {"episode_ends": ENDS, "observations": np.ones((7, 2))},
        "observations in .* 7 rows",
    ),
    "no actions": ({"episode_ends": ENDS, "actions": None}, "has no array actions"),
    "words": ({"episode_ends": ENDS, "actions": np.array(["a"] * 12)}, "not real numbers"),
    "flags that are words": ({"dones": np.array(["no"] * 12)}, "give a flag|not real numbers"),
}


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
@pytest.mark.parametrize("case", FLAT)
def test_flat_arrays_that_cannot_be_used_are_refused(tmp_path, case, suffix):
    changes, message = FLAT[case]
    flat = {name: flat_arrays("dones")[name] for name in ("observations", "actions")} | changes
    flat = {name: array for name, array in flat.items() if array is not None}
    if suffix == ".npz":
        np.savez(tmp_path / "a.npz", **flat)
    else:
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            for name, array in flat.items():
                file[name] = array.astype("S") if array.dtype.kind == "U" else array
    refused(tmp_path / f"a{suffix}", message)


def test_hdf5_without_ends_says_what_is_missing(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["observations"], file["actions"] = np.ones((4, 2)), np.ones((4, 1))
    refused(tmp_path / "a.hdf5", "does not say where episodes end; give an array terminals, .*it holds actions, observ")


def test_pickles_inside_an_imitation_file_are_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was run"), "w"))

    np.savez(tmp_path / "a.npz", **(imitation() | {"infos": np.array([Evil()] * 12, dtype=object)}))
    assert len(Demonstrations.load(tmp_path / "a.npz")) == 3
    np.savez(tmp_path / "b.npz", **(imitation() | {"acts": np.array([Evil()] * 12, dtype=object)}))
    refused(tmp_path / "b.npz", "acts")
    assert not (tmp_path / "was run").exists()


def test_a_minari_file_that_links_to_another_is_refused(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "arm")
    with h5py.File(tmp_path / "secret.hdf5", "w") as other:
        other["x"] = np.ones((50, 3))
    with h5py.File(tmp_path / "arm/data/main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        file["episode_0/observations"] = h5py.ExternalLink(tmp_path / "secret.hdf5", "x")
    refused(tmp_path / "arm", "observations in .* is a link")


@pytest.mark.parametrize("kind", ["npz", "zarr.zip", "hdf5"])
def test_files_that_unpack_to_far_more_than_they_weigh_are_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(arrays, "_SMALL", 10**6)
    monkeypatch.setattr(arrays, "_GREATEST_RATIO", 100)
    many, few = np.zeros((1000, 4000), np.float32), np.zeros((1000, 1), np.float32)
    path = tmp_path / f"a.{kind}"
    if kind == "npz":
        np.savez_compressed(path, observations=many, actions=few, episode_ends=[500, 1000])
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("observations", data=many, compression="gzip")
            file["actions"], file["episode_ends"] = few, [500, 1000]
    else:
        store = zarr.storage.ZipStore(path, mode="w")
        root = zarr.open_group(store, mode="w", zarr_format=2)
        root.create_group("data").create_array("state", data=many)
        root["data"].create_array("action", data=few)
        root.create_group("meta").create_array("episode_ends", data=np.array([500, 1000]))
        store.close()
    refused(path, "but would unpack to .* GB, which is no real data")


def files_below(path):
    return sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore")
def test_a_file_cut_short_or_changed_anywhere_never_gives_more_than_a_sentence(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    for file in files_below(path)[:6]:
        whole = file.read_bytes()
        damaged = [whole[: len(whole) * part // 7] for part in range(7)]
        for part in range(1, 7):
            changed = bytearray(whole)
            changed[len(whole) * part // 7] ^= 0x55
            damaged.append(bytes(changed))
        for content in damaged:
            file.write_bytes(content)
            with contextlib.suppress(InputError):  # what is changed may still be numbers
                Demonstrations.load(path)
        file.write_bytes(whole)
    assert len(Demonstrations.load(path)) == len(LENGTHS)


@pytest.mark.parametrize(("kind", "package"), [("csv", "pyarrow"), ("LeRobot 3", "pyarrow"), ("zarr", "zarr")])
def test_a_package_that_is_missing_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch, kind, package):
    path = MAKERS[kind](tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    refused(path, rf"needs {package}; install it with pip install 'manyways\[formats\]'")


@pytest.mark.parametrize(("name", "format"), [("a.parquet", None), ("a", "csv"), ("a.hdf5", None)])
def test_what_could_not_be_written_leaves_nothing(tmp_path, demonstrations, monkeypatch, name, format):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for place in ("pyarrow.parquet.write_table", "pyarrow.csv.write_csv", "h5py.Group.create_group"):
        monkeypatch.setattr(place, full)
    with pytest.raises(WriteError, match="the disk is full"):
        demonstrations.save(tmp_path / name, format=format)
    assert list(tmp_path.iterdir()) == []


def test_names_of_episodes_cannot_write_outside_the_folder(tmp_path, demonstrations):
    named = demonstrations.select(np.arange(3))
    object.__setattr__(named, "identities", ("../../evil", "/etc/passwd", "a\0b"))
    named.save(tmp_path / "in" / "csv", format="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list((tmp_path / "in" / "csv").glob("*.csv"))) == 4  # and attributes.csv
    assert {"../../evil", "/etc/passwd"} < set(Demonstrations.load(tmp_path / "in" / "csv").identities)


def test_digits_of_any_kind_may_stand_in_names(tmp_path):
    path = MAKERS["folder of csv"](tmp_path)
    (path / "trial_3.csv").rename(path / "1²3.csv")
    assert set(Demonstrations.load(path).identities) == {"trial_2", "1²3", "trial_10"}


def test_sizes_of_flat_arrays_are_checked_before_their_ends_are_read(tmp_path):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name, shape, kind in (("observations", (4 * 10**9, 1), "f4"), ("actions", (4 * 10**9, 1), "f4")):
            file.create_dataset(name, shape, kind, chunks=(1024, 1))
        file.create_dataset("terminals", (4 * 10**9,), "u1", chunks=(1024,))
    refused(tmp_path / "a.hdf5", "actions of .* GB, which is no real data|actions of .* would need .* of memory")


def test_entries_of_flat_files_that_are_not_read_are_named_and_may_be_chosen(tmp_path):
    path = MAKERS["d4rl"](tmp_path)
    with pytest.warns(UserWarning, match="also holds infos/qpos, which are not used"):
        Demonstrations.load(path)
    chosen = Demonstrations.load(path, observations=["infos/qpos"], episodes="2,0")
    np.testing.assert_array_equal(chosen.observations, joined([BOTH[2], BOTH[0]]))
    some = Demonstrations.load(path, observations=["infos/qpos.3", "observations.0", "rewards"])
    np.testing.assert_array_equal(some.observations[:, :2], joined(BOTH)[:, [3, 0]])
    with pytest.raises(InputError, match="has no observations 'terminals'"):
        Demonstrations.load(path, observations=["terminals"])


def test_entries_of_an_npz_that_are_not_read_may_be_chosen(tmp_path):
    forces = RNG.normal(size=(12, 3))
    flat = {"observations": joined(BOTH), "actions": joined(ACTIONS), "force": forces, "infos": np.ones(7)}
    np.savez(tmp_path / "a.npz", **flat, lengths=LENGTHS)
    with pytest.warns(UserWarning, match="also holds force, infos, which are not used"):
        np.testing.assert_array_equal(Demonstrations.load(tmp_path / "a.npz").observations, joined(BOTH))
    chosen = Demonstrations.load(tmp_path / "a.npz", observations=["force.2", "observations.1"], episodes="1:")
    np.testing.assert_allclose(chosen.observations, np.c_[forces[5:, 2], joined(BOTH)[5:, 1]], rtol=1e-6)
    with pytest.raises(
        InputError,
        match=r"infos in .* holds no numbers and no pictures .*, one a step, so it is not read; choose among",
    ):
        Demonstrations.load(tmp_path / "a.npz", observations=["infos"])
    padded = {name: flat[name].reshape(3, 4, -1) for name in ("observations", "actions", "force")}
    np.savez(tmp_path / "b.npz", **padded)
    chosen = Demonstrations.load(tmp_path / "b.npz", observations=["force"])
    np.testing.assert_allclose(chosen.observations, forces, rtol=1e-6)


@pytest.mark.parametrize("name", ["terminals", "dones", "episode_starts"])
def test_flags_that_mark_no_end_are_pointed_out(tmp_path, name):
    path = tmp_path / "a.npz"
    np.savez(path, observations=joined(BOTH), actions=joined(ACTIONS), **{name: np.zeros(12, bool)})
    with pytest.warns(UserWarning, match=f"{name} in .* mark no end, so its 12 steps are one trajectory"):
        assert Demonstrations.load(path).lengths.tolist() == [12]


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.hdf5", "a"])
def test_what_is_no_file_and_no_folder_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "is no file and no folder, but a pipe or a device, say; copy its data to a file")


@pytest.mark.parametrize("kind", ["folder of csv", "npy", "LeRobot 3"])
def test_a_pipe_in_a_folder_is_not_opened(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    file = files_below(path)[-1] if kind != "LeRobot 3" else next(path.glob("data/**/*.parquet"))
    file.unlink()
    os.mkfifo(file)
    refused(path, "is a pipe or a device, not a file; copy its data to a file")


def test_a_name_that_is_too_long_is_one_sentence(tmp_path):
    refused("x" * 300, r"^x{100}\.\.\. cannot be a path or cannot be looked at .*; check it$")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.zip", "is no zip archive, or is cut short"),
        ("a.npy", "is a single array; give the folder with actions.npy"),
        ("a.pkl", "may be a pickle, which could run code and is not read"),
        ("a.json", "is of no format that is read, or is cut short; give an NPZ, HDF5, CSV or Parquet file"),
    ],
)
def test_a_file_of_no_format_is_called_what_it_is(tmp_path, name, message):
    (tmp_path / name).write_text("hello")
    refused(tmp_path / name, message)


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../evil.txt", "hello")
    refused(tmp_path / "a.zip", "evil")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
