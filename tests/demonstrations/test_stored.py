"""Demonstrations that stay on the disk: the same as in memory, read in blocks."""

import json
import os
import warnings
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from data_sets import ACTIONS, BOTH, LENGTHS, MAKERS, PICTURES, joined

import manyways
from manyways import Demonstrations, InputError, Selection, WriteError, load_modes
from manyways.demonstrations import convert, stored, summarise
from manyways.demonstrations.columns import measure
from manyways.demonstrations.formats import opened, unpacked
from manyways.demonstrations.sampling import some_rows, some_trajectories
from manyways.demonstrations.stored import Stored, blocks, mapped, on_disk, stretches
from manyways.runs.provenance import data_fingerprint


@pytest.fixture
def small_blocks(monkeypatch):
    """Of a few rows, so that everything has several."""
    monkeypatch.setattr(stored, "_VALUES", 40)


def on_the_disk(demonstrations, folder, **about):
    demonstrations.save(folder, format="npy", **about)
    return Demonstrations.load(folder)


def test_rows_are_indexed_as_those_of_an_array(tmp_path):
    array = np.arange(60, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "a.npy", array)
    file = np.load(tmp_path / "a.npy", mmap_mode="r")
    starts, lengths = np.array([12, 0, 5]), np.array([4, 3, 5])
    expected = stretches(array, starts, lengths)
    found = stretches(file, starts, lengths)
    assert isinstance(found, Stored)
    assert not on_disk(expected)
    assert (found.shape, found.dtype, found.ndim, found.nbytes) == ((12, 3), np.float32, 2, 144)
    mask = np.arange(12) % 2 == 0
    places = [3, -1, slice(None), slice(2, 9, 3), slice(4, 4), slice(1, 3), mask, np.array([[0, 11], [5, -2]]), ...]
    for place in [*places, (4, 1), (slice(3, 8), [0, 2]), (np.array([[1, 2]]), slice(1, None))]:
        np.testing.assert_array_equal(found[place], expected[place])
    np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(stretches(found, np.array([6]), np.array([6]))[:], expected[6:])
    np.testing.assert_array_equal(mapped(lambda rows: 2 * rows[:, :1], found)[1:], 2 * expected[1:, :1])
    assert [start for start, _ in blocks(found, 5)] == [0, 5, 10]


def test_what_varies_little_far_from_the_origin_is_measured_in_blocks(tmp_path, small_blocks):
    values = (4.5e6 + np.random.default_rng(0).normal(0, 10, (1000, 2))).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    found = measure(np.load(tmp_path / "a.npy", mmap_mode="r"))
    double = values.astype(np.float64)
    np.testing.assert_allclose(found.std, double.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.mean, double.mean(axis=0), rtol=1e-14)
    np.testing.assert_array_equal(found.minimum, values.min(axis=0))
    assert found.varies.all()


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_every_format_is_written_in_parts(kind, tmp_path, small_blocks):
    convert(MAKERS[kind](tmp_path), tmp_path / "out")
    found = Demonstrations.load(tmp_path / "out")
    assert on_disk(found.observations)
    assert on_disk(found.actions)
    np.testing.assert_array_equal(found.lengths, LENGTHS)
    np.testing.assert_array_equal(found.observations[:], joined(BOTH))
    np.testing.assert_array_equal(found.actions[:], joined(ACTIONS))
    assert found.observations.dtype == np.float32


def test_pictures_names_identities_attributes_and_labels_are_kept(tmp_path, small_blocks):
    source = Demonstrations(
        {"arm": joined(BOTH), "top": joined(PICTURES)},
        joined(ACTIONS),
        np.array(LENGTHS),
        names={"observations/arm": tuple("abcd"), "actions": ("push", "pull")},
        identities=("one", "zwei", "três"),
        attributes={"operator": np.array(["ann", "bob", "ann"]), "score": np.array([1.0, 2.0, 3.0])},
    )
    found = on_the_disk(source, tmp_path / "all", modes=[1, 0, 1])
    assert found.names == source.names
    assert found.identities == source.identities
    assert found.observations["top"].dtype == np.uint8
    np.testing.assert_array_equal(found.observations["top"][:], joined(PICTURES))
    assert found.attributes["operator"].tolist() == ["ann", "bob", "ann"]
    np.testing.assert_array_equal(load_modes(tmp_path / "all"), [1, 0, 1])
    assert data_fingerprint(found) == data_fingerprint(source)
    assert str(found) == str(source)
    chosen = Demonstrations.load(tmp_path / "all", observations=["b", "d"], episodes="2,0:1", actions=["pull"])
    np.testing.assert_array_equal(chosen.observations["arm"][:], joined([BOTH[2], BOTH[0]])[:, [1, 3]])
    np.testing.assert_array_equal(chosen.actions[:], joined([ACTIONS[2], ACTIONS[0]])[:, [1]])
    assert on_disk(chosen.observations["arm"])


def test_an_unpacked_npz_is_one_and_saves_as_any_format(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as arrays:
        (tmp_path / "a").mkdir()
        for name, array in arrays.items():
            np.save(tmp_path / "a" / f"{name}.npy", array)
    found = Demonstrations.load(tmp_path / "a").select(np.arange(5, 9))
    for name, format in (("b.npz", None), ("c", "minari"), ("d", "csv"), ("e.parquet", None), ("f.h5", None)):
        found.save(tmp_path / name, format=format)
        again = Demonstrations.load(tmp_path / name)
        np.testing.assert_array_equal(again.observations, demonstrations.select(np.arange(5, 9)).observations)


def test_the_summary_is_the_same(tmp_path, demonstrations, small_blocks):
    one, other = summarise(demonstrations), summarise(on_the_disk(demonstrations, tmp_path / "d"))
    assert one == other


ALGORITHMS = {
    "sog-bc": lambda: manyways.SOGBC(prior=manyways.Categorical(2), iterations=60, hidden=16),
    "sog-bc of plans": lambda: manyways.SOGBC(
        prior=manyways.Categorical(2), iterations=30, hidden=16, history=2, horizon=4, network="residual"
    ),
    "sog-bc of a range": lambda: manyways.SOGBC(prior=manyways.Gaussian(1), iterations=30, hidden=16),
    "bc": lambda: manyways.BC(iterations=30, hidden=16),
    "diffusion": lambda: manyways.Diffusion(iterations=20, hidden=16),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_training_from_the_disk_gives_the_same_weights(name, tmp_path, demonstrations, small_blocks):
    weights = []
    for data in (demonstrations, on_the_disk(demonstrations, tmp_path / "d")):
        torch.manual_seed(0)  # of dropout
        policy = ALGORITHMS[name]().fit(data)
        policy.save(tmp_path / "policy")
        weights.append((tmp_path / "policy" / "policy.safetensors").read_bytes())
        losses = policy.losses(data) if policy.prior == manyways.Categorical(2) else np.zeros(1)
        weights.append(losses.tobytes())
    assert weights[:2] == weights[2:]


def test_rotations_are_encoded_on_demand(tmp_path, small_blocks):
    rng = np.random.default_rng(0)
    states = np.cumsum(rng.normal(size=(90, 2)), axis=0).astype(np.float32)
    states[:, 1] = (states[:, 1] + np.pi) % (2 * np.pi) - np.pi
    source = Demonstrations(states, rng.normal(size=(90, 1)).astype(np.float32), np.full(6, 15))
    turned = [one.with_rotations(["observations.1"]) for one in (source, on_the_disk(source, tmp_path / "d"))]
    assert on_disk(turned[1].encoded.observations)
    assert turned[0].rotations == turned[1].rotations
    np.testing.assert_array_equal(turned[0].encoded.observations, turned[1].encoded.observations[:])
    assert turned[0].ignored_columns == turned[1].ignored_columns


def test_double_precision_is_kept_where_it_is_needed(tmp_path, small_blocks):
    rng = np.random.default_rng(0)
    near, far = rng.normal(size=(60, 2)), 4.5e6 + rng.normal(size=(60, 2))
    for name, states, dtype in (("near", near, np.float32), ("far", far, np.float64)):
        np.savez(tmp_path / f"{name}.npz", observations=states, actions=near, lengths=np.full(6, 10))
        (tmp_path / name).mkdir()
        for array, values in (("observations", states), ("actions", near), ("lengths", np.full(6, 10))):
            np.save(tmp_path / name / f"{array}.npy", values)
        convert(tmp_path / f"{name}.npz", tmp_path / f"{name} again")
        memory = Demonstrations.load(tmp_path / f"{name}.npz")
        for folder in (name, f"{name} again"):
            found = Demonstrations.load(tmp_path / folder)
            assert found.observations.dtype == memory.observations.dtype == dtype
            np.testing.assert_array_equal(found.observations[:], memory.observations)
            assert found.actions.dtype == np.float32


def test_choices_are_read_and_learned(tmp_path, small_blocks):
    rng = np.random.default_rng(0)
    states = rng.normal(size=(120, 2)).astype(np.float32)
    source = Demonstrations(states, (states[:, 0] > 0).astype(np.int64), np.full(6, 20))
    found = on_the_disk(source, tmp_path / "d")
    assert found.action_space == source.action_space
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=10, hidden=8)
    np.testing.assert_array_equal(settings.fit(found).losses(found), settings.fit(source).losses(source))


def test_bad_trajectories_are_all_named_or_left_out(tmp_path, small_blocks):
    states = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    states[[15, 44]] = np.nan
    np.savez(tmp_path / "a.npz", observations=states, actions=states[:, :1] * 0, lengths=np.full(6, 10))
    with pytest.raises(InputError, match=r"trajectory 1, step 5.*trajectory 4, step 4"):
        convert(tmp_path / "a.npz", tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    with pytest.warns(UserWarning, match="left out"):
        convert(tmp_path / "a.npz", tmp_path / "d", Selection(drop_bad=True))
    found = Demonstrations.load(tmp_path / "d")
    assert found.identities == ("0", "2", "3", "5")
    np.testing.assert_array_equal(found.observations[10:20], states[20:30])


def test_a_part_of_a_large_set_is_drawn(demonstrations):
    assert len(some_trajectories(demonstrations, 10, 10**9, 0)) == 10
    assert some_trajectories(demonstrations, 10**5, 10**9, 0) is demonstrations
    size = 5 * demonstrations.steps // 2
    assert 8 < len(some_trajectories(demonstrations, 10**5, size, 0)) < 16
    labelled = demonstrations.with_labels({"3": 1, "17": 0})
    assert (some_trajectories(labelled, 5, 10**9, 0).labels >= 0).sum() == 2
    assert len(set(some_rows(np.random.default_rng(0), 10**9, 50).tolist())) == 50


def folder_of(tmp_path):
    return MAKERS["npy"](tmp_path)


def cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def claim(path, shape):
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)


def version(path):
    content = bytearray(path.read_bytes())
    content[6] = 9
    path.write_bytes(content)


def outside(path):
    path.rename(path.parents[1] / "elsewhere.npy")
    path.symlink_to(path.parents[1] / "elsewhere.npy")


BROKEN = {
    "cut": (lambda d: cut(d / "observations.npy"), r"observations.npy claims the shape \(12, 4\), 192 bytes, but has"),
    "claimed": (lambda d: claim(d / "actions.npy", (10**12, 2)), "actions.npy claims the shape"),
    "negative": (lambda d: claim(d / "actions.npy", (-4, 2)), "actions.npy is damaged"),
    "empty": (lambda d: (d / "actions.npy").write_bytes(b""), "actions.npy is damaged"),
    "no NPY": (lambda d: (d / "observations.npy").write_bytes(b"observations" * 20), "observations.npy is damaged"),
    "version": (lambda d: version(d / "actions.npy"), "unknown version 9.0 of NPY"),
    "pickle": (lambda d: np.save(d / "observations.npy", np.array([{}] * 12)), "Python objects"),
    "words": (lambda d: np.save(d / "observations.npy", np.full((12, 2), "a")), "not real numbers"),
    "missing": (lambda d: (d / "observations.npy").unlink(), "no array observations"),
    "lengths": (lambda d: (d / "lengths.npy").unlink(), "give .trajectories, steps, n."),
    "float lengths": (lambda d: np.save(d / "lengths.npy", np.ones(3)), "whole numbers"),
    "short": (lambda d: np.save(d / "lengths.npy", np.array([5, 3])), "add up to 8 steps"),
    "link": (lambda d: outside(d / "observations.npy"), "leads out of the folder"),
    "folder": (lambda d: (d / "more.npy").mkdir(), None),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_folder_that_cannot_be_used_is_refused_in_a_sentence(case, tmp_path, command):
    folder = folder_of(tmp_path)
    change, message = BROKEN[case]
    change(folder)
    if message is None:
        assert len(Demonstrations.load(folder)) == 3
        return
    with pytest.raises(InputError, match=message) as caught:
        Demonstrations.load(folder)
    assert "\n" not in str(caught.value)
    assert command("convert", folder, tmp_path / "out", "--format", "npy")[0] == 2
    assert not (tmp_path / "out").exists()


def test_names_cannot_write_outside_the_folder(tmp_path, demonstrations):
    for name in ("../evil", "/etc/evil", "a//b", "a\\b", "a\0b"):
        bad = replace(demonstrations, attributes={name: np.zeros(len(demonstrations))})
        with pytest.raises(InputError, match="cannot be the name of a file"):
            bad.save(tmp_path / "in", format="npy")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, demonstrations, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    demonstrations.save(tmp_path / "a.npz")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="the disk is full"):
        convert(tmp_path / "a.npz", tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_the_commands_work_on_a_folder(tmp_path, demonstrations, labels, command):
    source, folder, run = (tmp_path / name for name in ("a.npz", "d", "run"))
    demonstrations.save(source, modes=labels)
    assert command("convert", source, folder, "--format", "npy")[0] == 0
    assert command("inspect", folder)[0] == 0
    settings = ("--modes", 2, "--iterations", 60, "--hidden", 16)
    assert command("train", "sog-bc", folder, "--out", run, *settings)[0] == 0
    for name in ("modes", "report", "explore"):
        code, _, error = command(name, run)
        assert code == 0, error
    assert json.loads((run / "modes.json").read_text())["purity"] > 0.9


@pytest.fixture
def everything_is_large(monkeypatch, tmp_path):
    """So that what can be read in parts is unpacked into a folder of the test's own."""
    monkeypatch.setenv("MANYWAYS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(unpacked, "LARGE", 1)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore:.*not used")
@pytest.mark.filterwarnings("ignore:.*is large")
def test_a_large_set_of_any_format_is_the_same_as_in_memory(kind, tmp_path, everything_is_large, monkeypatch):
    source = MAKERS[kind](tmp_path)
    some = {"episodes": "1:", "drop_bad": True}
    large, of_some = Demonstrations.load(source), Demonstrations.load(source, **some)
    with opened(source) as contents:
        assert on_disk(large.observations) == on_disk(large.actions) == (contents.in_parts or contents.mapped)
    monkeypatch.setattr(unpacked, "LARGE", 2**30)
    for found, expected in ((large, Demonstrations.load(source)), (of_some, Demonstrations.load(source, **some))):
        assert data_fingerprint(found) == data_fingerprint(expected)
        assert (found.identities, found.names) == (expected.identities, expected.names)
        np.testing.assert_equal(found.attributes, expected.attributes)
        np.testing.assert_array_equal(found.lengths, expected.lengths)
        assert found.action_space == expected.action_space


@pytest.mark.filterwarnings("ignore:.*not used")
def test_a_large_set_is_unpacked_once_and_anew_when_its_files_change(tmp_path, everything_is_large):
    source = MAKERS["robomimic"](tmp_path)
    with pytest.warns(UserWarning, match="is large, so it is unpacked into .*, once; MANYWAYS_CACHE names another"):
        first = Demonstrations.load(source)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "is large")
        np.testing.assert_array_equal(Demonstrations.load(source).actions[:], first.actions[:])
    with h5py.File(source, "r+") as file:
        file["data/demo_0/actions"][0, 0] = 7
    os.utime(source, ns=(1, 1))
    with pytest.warns(UserWarning, match="is large"):
        changed = Demonstrations.load(source)
    assert 7 in changed.actions[:, 0]
    assert len(list((tmp_path / "cache" / "unpacked").glob("*/*"))) == 1  # the copy of what was there before is gone


@pytest.mark.filterwarnings("ignore:.*not used")
@pytest.mark.filterwarnings("ignore:.*is large")
def test_two_processes_may_unpack_the_same_set(tmp_path, everything_is_large, monkeypatch):
    source, write = MAKERS["robomimic"](tmp_path), unpacked.npy.write

    def write_after_another(folder, trajectories, modes):
        write(folder, trajectories, modes)
        write(folder, trajectories, modes)  # which finds that it is there

    monkeypatch.setattr(unpacked.npy, "write", write_after_another)
    found = Demonstrations.load(source)
    assert on_disk(found.actions)
    np.testing.assert_array_equal(found.actions[:], joined(ACTIONS))


@pytest.mark.filterwarnings("ignore:.*not used")
def test_a_large_set_that_cannot_be_unpacked_says_where_it_should_be(tmp_path, everything_is_large, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MANYWAYS_CACHE", str(tmp_path / "file"))
    source = MAKERS["robomimic"](tmp_path)
    with pytest.warns(UserWarning, match="MANYWAYS_CACHE"), pytest.raises(WriteError, match="cannot write"):
        Demonstrations.load(source)


@pytest.mark.filterwarnings("ignore:.*not used")
def test_a_large_set_for_which_there_is_no_room_is_refused(tmp_path, everything_is_large, monkeypatch):
    source = MAKERS["robomimic"](tmp_path)
    monkeypatch.setattr(unpacked.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(InputError, match=r"would take 0\.0 GB in .*cache, where .* are free; .* MANYWAYS_CACHE"):
        Demonstrations.load(source)
    assert not (tmp_path / "cache").exists()
