import json
import zipfile

import minari
import numpy as np
import pytest
from data_sets import refused

from manyways import Demonstrations, InputError, load_modes
from manyways.demonstrations.formats import arrays, npz

RNG = np.random.default_rng(0)
OBSERVATIONS = RNG.normal(size=(4, 6, 3)).astype(np.float32)
ACTIONS = RNG.normal(size=(4, 6, 2)).astype(np.float32)


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def assert_same(a, b):
    np.testing.assert_array_equal(a.observations, b.observations)
    np.testing.assert_array_equal(a.actions, b.actions)
    np.testing.assert_array_equal(a.lengths, b.lengths)


def test_npz_of_equal_lengths(tmp_path):
    demonstrations = Demonstrations.load(write_npz(tmp_path / "a.npz", observations=OBSERVATIONS, actions=ACTIONS))
    np.testing.assert_array_equal(demonstrations.lengths, [6, 6, 6, 6])
    np.testing.assert_array_equal(demonstrations[2][0], OBSERVATIONS[2])


def test_npz_end_to_end_with_lengths_and_the_name_states(tmp_path):
    path = write_npz(
        tmp_path / "a.npz", states=OBSERVATIONS.reshape(24, 3), actions=ACTIONS.reshape(24, 2), lengths=[10, 2, 12]
    )
    demonstrations = Demonstrations.load(path)
    np.testing.assert_array_equal(demonstrations.lengths, [10, 2, 12])
    np.testing.assert_array_equal(demonstrations[1][1], ACTIONS.reshape(24, 2)[10:12])
    assert load_modes(path) is None


@pytest.mark.parametrize("name", ["again.npz", "again"])
def test_saved_demonstrations_and_labels_are_read_separately(tmp_path, demonstrations, labels, name):
    demonstrations.save(tmp_path / name, modes=labels)
    again = Demonstrations.load(tmp_path / name)
    assert_same(again, demonstrations)
    np.testing.assert_array_equal(load_modes(tmp_path / name), labels)
    assert not hasattr(again, "modes")


@pytest.mark.parametrize("name", ["arm.npz", "arm", "some/where/arm"])
def test_relative_paths_are_written_and_read(tmp_path, demonstrations, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    demonstrations.save(name)
    assert_same(Demonstrations.load(name), demonstrations)


def test_a_minari_data_set_is_found_by_its_id(tmp_path, demonstrations, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demonstrations.save(tmp_path / "lab" / "arm-v0")
    assert_same(Demonstrations.load("lab/arm-v0"), demonstrations)
    assert load_modes("lab/arm-v0") is None


def test_minari_itself_reads_what_is_written(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "arm")
    dataset = minari.MinariDataset(tmp_path / "arm" / "data")
    assert dataset.total_episodes == len(demonstrations)
    episode = dataset[3]
    np.testing.assert_array_equal(episode.observations[:-1], demonstrations[3][0])
    assert episode.truncations.tolist() == [False] * (len(episode) - 1) + [True]


def test_labels_that_are_words_are_numbered_in_sorted_order(tmp_path):
    path = write_npz(
        tmp_path / "a.npz", observations=OBSERVATIONS, actions=ACTIONS, modes=["turn", "lift", "turn", "push"]
    )
    np.testing.assert_array_equal(load_modes(path), [2, 0, 2, 1])


BROKEN = {
    "missing array": ({"observations": OBSERVATIONS}, "has no array actions; it holds observations"),
    "missing states": ({"actions": ACTIONS}, "has no array observations; it holds actions"),
    "one-dimensional": ({"observations": OBSERVATIONS.ravel(), "actions": ACTIONS.ravel()}, r"have shape \(72,\)"),
    "two-dimensional without lengths": ({"observations": OBSERVATIONS[0], "actions": ACTIONS[0]}, "with lengths"),
    "steps that differ": ({"observations": OBSERVATIONS, "actions": ACTIONS[:, 2:]}, "must be the same"),
    "lengths that do not add up": (
        {"observations": OBSERVATIONS[0], "actions": ACTIONS[0], "lengths": [2, 3]},
        "add up to 5 steps, but there are 6 rows",
    ),
    "lengths that are not whole": (
        {"observations": OBSERVATIONS[0], "actions": ACTIONS[0], "lengths": [2.0, 4.0]},
        "give whole numbers",
    ),
    "no trajectories": ({"observations": OBSERVATIONS[:0], "actions": ACTIONS[:0]}, "there are no trajectories"),
    "one step": ({"observations": OBSERVATIONS[:, :1], "actions": ACTIONS[:, :1]}, "trajectory 0 has length 1"),
    "negative length": (
        {"observations": OBSERVATIONS[0], "actions": ACTIONS[0], "lengths": [-2, 8]},
        "trajectory 0 has length -2",
    ),
    "words": ({"observations": OBSERVATIONS.astype(str), "actions": ACTIONS}, "not real numbers"),
    "no columns": ({"observations": OBSERVATIONS[..., :0], "actions": ACTIONS}, "have no columns"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_npz_that_cannot_be_used_is_refused(tmp_path, case):
    arrays, message = BROKEN[case]
    with pytest.raises(InputError, match=message):
        Demonstrations.load(write_npz(tmp_path / "a.npz", **arrays))


def test_an_npz_that_needs_pickle_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was run"), "w"))

    path = write_npz(tmp_path / "a.npz", observations=np.array([Evil(), 1], dtype=object), actions=ACTIONS)
    with pytest.raises(InputError, match="could run code; save plain numbers instead"):
        Demonstrations.load(path)
    assert not (tmp_path / "was run").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.npz does not exist"):
        Demonstrations.load(tmp_path / "nowhere.npz")
    with pytest.raises(InputError, match="nowhere is no file, no folder and no local Minari data set"):
        Demonstrations.load("nowhere")


def test_what_is_not_an_npz_is_refused(tmp_path):
    (tmp_path / "a.npz").write_text("hello")
    with pytest.raises(InputError, match="is not an NPZ file"):
        Demonstrations.load(tmp_path / "a.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder but no Minari data set, no LeRobot data set"):
        Demonstrations.load(tmp_path / "empty")


def test_an_npz_damaged_anywhere_is_refused(tmp_path):
    data = write_npz(tmp_path / "a.npz", observations=OBSERVATIONS, actions=ACTIONS).read_bytes()
    for cut in range(0, len(data) - 1, 37):
        (tmp_path / "a.npz").write_bytes(data[:cut])
        with pytest.raises(InputError):
            Demonstrations.load(tmp_path / "a.npz")
    flipped = bytearray(data)
    flipped[len(data) // 3] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(flipped)
    with pytest.raises(InputError, match="damaged"):
        Demonstrations.load(tmp_path / "a.npz")


def test_labels_that_do_not_fit_are_refused(tmp_path, demonstrations):
    with pytest.raises(InputError, match="give one a trajectory"):
        demonstrations.save(tmp_path / "a.npz", modes=[0, 1])
    assert list(tmp_path.iterdir()) == []
    path = write_npz(tmp_path / "b.npz", observations=OBSERVATIONS, actions=ACTIONS, modes=[1, 2])
    with pytest.raises(InputError, match="give one a trajectory"):
        load_modes(path)


def test_a_damaged_minari_data_set_is_refused(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "arm")
    main = tmp_path / "arm" / "data" / "main_data.hdf5"
    main.write_bytes(main.read_bytes()[:5000])
    with pytest.raises(InputError, match="is a damaged Minari data set"):
        Demonstrations.load(tmp_path / "arm")
    (tmp_path / "arm" / "data" / "metadata.json").write_text("{")
    with pytest.raises(InputError, match="is a damaged Minari data set"):
        Demonstrations.load(tmp_path / "arm")


def test_a_minari_data_set_without_spaces_is_refused(tmp_path, demonstrations):
    # Without spaces Minari imports and runs what the file's env_spec names.
    demonstrations.save(tmp_path / "arm")
    path = tmp_path / "arm" / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["action_space"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match="does not say its observation and action spaces"):
        Demonstrations.load(tmp_path / "arm")


def test_a_folder_that_holds_something_is_not_overwritten(tmp_path, demonstrations):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something already"):
        demonstrations.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_masks_remove_padding(tmp_path):
    lengths = np.array([6, 3, 2, 5])
    real = np.arange(6) < lengths[:, None]
    padded = {"observations": OBSERVATIONS * real[..., None], "actions": ACTIONS * real[..., None]}
    expected = Demonstrations.from_arrays(
        [(o[:n], a[:n]) for o, a, n in zip(OBSERVATIONS, ACTIONS, lengths, strict=True)]
    )
    for name, mask in (("masks", real), ("mask", real.astype(int)), ("valid", real.astype(float)), ("pad", ~real)):
        assert_same(Demonstrations.load(write_npz(tmp_path / f"{name}.npz", **padded, **{name: mask})), expected)
    with pytest.raises(InputError, match=r"masks in .* has shape \(4, 5\); give \(4, 6\), one a step"):
        Demonstrations.load(write_npz(tmp_path / "a.npz", **padded, masks=real[:, :5]))


def test_unknown_arrays_are_named_in_a_warning(tmp_path):
    path = write_npz(
        tmp_path / "a.npz", observations=OBSERVATIONS, actions=ACTIONS, rewards=np.zeros((4, 6)), mystery=[1]
    )
    with pytest.warns(UserWarning, match="also holds rewards, mystery, which are not used"):
        Demonstrations.load(path)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "claim.npz"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("observations", "actions"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match=r"observations in .* claims the shape \(1000000000000,\), but has"):
        Demonstrations.load(path)


def test_an_archive_is_checked_before_it_is_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, observations=np.zeros((2, 3_000_000), np.float32), actions=ACTIONS)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(npz.npy, "read_array", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(InputError, match=r"observations in .* have shape \(2, 3000000\); give \(trajectories"):
        Demonstrations.load(path)
    monkeypatch.setattr(arrays.os, "sysconf", lambda name: 1000)
    with pytest.raises(InputError, match=r"bomb.npz would need .* GB of memory, and this machine has"):
        Demonstrations.load(path)


@pytest.mark.parametrize("name", ["all.npz", "all"])
def test_dictionaries_images_and_choices_come_back(tmp_path, name):
    rng = np.random.default_rng(0)
    pairs = [
        (
            {
                "image": rng.integers(256, size=(n, 12, 10, 3), dtype=np.uint8),
                "robot0_eef.pos": rng.normal(size=(n, 3)),
            },
            rng.integers(4, size=n),
        )
        for n in (3, 5)
    ]
    demonstrations = Demonstrations.from_arrays(pairs, choices=(7,))
    assert demonstrations.action_space.n == 7
    demonstrations.save(tmp_path / name)
    again = Demonstrations.load(tmp_path / name)
    assert again.observations["image"].dtype == np.uint8
    assert again.action_space.n == 7
    for key, array in demonstrations.observations.items():
        np.testing.assert_array_equal(again.observations[key], array)
    np.testing.assert_array_equal(again.actions, demonstrations.actions)
    assert again.vectors().shape == (8, 3 + 8 * 8 * 3)
    assert again.action_vectors().sum(axis=1).tolist() == [1] * 8


def test_integers_of_two_dimensions_are_numbers_unless_choices_are_declared(tmp_path):
    actions = np.random.default_rng(0).integers(512, size=(4, 6, 2))
    demonstrations = Demonstrations.load(write_npz(tmp_path / "a.npz", observations=OBSERVATIONS, actions=actions))
    assert demonstrations.actions.dtype == np.float32
    parts = [(o, a) for o, a in zip(OBSERVATIONS, actions, strict=True)]
    assert Demonstrations.from_arrays(parts, choices=(512, 512)).action_space.nvec.tolist() == [512, 512]


def test_labels_of_some_episodes_only_are_minus_one_for_the_others(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "arm")
    storage = minari.dataset.minari_storage.MinariStorage.read((tmp_path / "arm" / "data").resolve())
    storage.update_episode_metadata([{"mode": 0}, {"mode": 1}, {"mode": 0}], [0, 1, 2])
    labels = load_modes(tmp_path / "arm")
    assert labels[3] == -1
    assert labels[:3].tolist() == [0, 1, 0]


def test_choices_of_a_file_are_whole_numbers(tmp_path):
    two = {"observations": np.zeros((2, 9, 1)), "actions": np.zeros((2, 9), int)}
    np.savez(tmp_path / "one.npz", **two, choices=3)
    assert Demonstrations.load(tmp_path / "one.npz").choices == (3,)
    for wrong in (2.5, [[2]], "two"):
        np.savez(tmp_path / "wrong.npz", **two, choices=wrong)
        refused(tmp_path / "wrong.npz", "give a whole number for each part of an action")
