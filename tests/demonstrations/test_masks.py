"""Padded arrays: what is real is learned, and nothing else."""

import numpy as np
import pytest
from data_sets import refused

from manyways import Demonstrations

RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 3, 2, 5])
REAL = np.arange(6) < LENGTHS[:, None]
OBSERVATIONS = RNG.normal(size=(4, 6, 3)).astype(np.float32) * REAL[..., None]
ACTIONS = RNG.normal(size=(4, 6, 2)).astype(np.float32) * REAL[..., None]


def saved(folder, observations=OBSERVATIONS, actions=ACTIONS, **others):
    np.savez(folder / "a.npz", observations=observations, actions=actions, **others)
    return folder / "a.npz"


def assert_real(path):
    found = Demonstrations.load(path)
    np.testing.assert_array_equal(found.lengths, LENGTHS)
    np.testing.assert_array_equal(found.observations, OBSERVATIONS[REAL])
    np.testing.assert_array_equal(found.actions, ACTIONS[REAL])


@pytest.mark.parametrize("name", ["masks", "mask", "valid", "attention_mask"])
def test_what_is_real_may_be_marked(tmp_path, name):
    assert_real(saved(tmp_path, **{name: REAL.astype(np.int32)}))
    assert_real(saved(tmp_path, **{name: REAL[..., None]}))


@pytest.mark.parametrize("name", ["pad", "is_pad", "action_is_pad", "padding"])
def test_what_is_padding_may_be_marked(tmp_path, name):
    assert_real(saved(tmp_path, **{name: ~REAL}))


def robomimic(folder, **others):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "a.hdf5", "w") as file:
        for index in range(len(LENGTHS)):
            demo = file.create_group(f"data/demo_{index}")
            demo["obs/arm"], demo["actions"] = OBSERVATIONS[index], ACTIONS[index]
            for name, values in others.items():
                demo[name] = values[index]
    return folder / "a.hdf5"


@pytest.mark.parametrize(("name", "values"), [("mask", REAL), ("valid", REAL[..., None]), ("is_pad", ~REAL)])
def test_robomimics_demonstrations_may_be_padded(tmp_path, name, values):
    assert_real(robomimic(tmp_path, **{name: values}))


def test_robomimics_masks_are_checked(tmp_path):
    gap = REAL.copy()
    gap[0, 2] = False
    refused(robomimic(tmp_path, pad_mask=REAL), "demo_0/pad_mask")
    refused(robomimic(tmp_path, mask=2 * REAL), "demo_0/mask")
    refused(robomimic(tmp_path, mask=gap), "gap")
    refused(robomimic(tmp_path, mask=0 * REAL), "length 0")


def test_lengths_say_what_is_real(tmp_path):
    assert_real(saved(tmp_path, lengths=LENGTHS))
    longer = np.concatenate([OBSERVATIONS, OBSERVATIONS[:, :1]], axis=1)  # an observation after the last action
    assert_real(saved(tmp_path, observations=longer, lengths=LENGTHS))
    choices = RNG.integers(3, size=(4, 6))
    found = Demonstrations.load(saved(tmp_path, actions=choices, lengths=LENGTHS))
    np.testing.assert_array_equal(found.actions, choices[REAL])
    refused(saved(tmp_path, lengths=LENGTHS[:3]), "lengths in .* has 3 values, up to 6, for actions of 4 trajectories")
    refused(saved(tmp_path, lengths=LENGTHS + 1), "lengths in .* has 4 values, up to 7, for actions .* and 6 steps")


def test_rows_of_nan_at_the_end_are_padding(tmp_path):
    holes = [np.where(REAL[..., None], array, np.nan) for array in (OBSERVATIONS, ACTIONS)]
    assert_real(saved(tmp_path, *holes))
    after = np.arange(6) < LENGTHS[:, None] + 1  # the observation after the last action is there
    assert_real(saved(tmp_path, np.where(after[..., None], OBSERVATIONS, np.nan), holes[1]))
    refused(saved(tmp_path, RNG.normal(size=(4, 6, 3)), holes[1]), "actions have nan in trajectory 1")
    middle = ACTIONS.copy()
    middle[0, 2] = np.nan
    refused(saved(tmp_path, actions=middle), "actions have nan in trajectory 0, step 2")


@pytest.mark.parametrize("value", [np.nan, 2, 0.5, -1])
def test_a_mask_has_two_values(tmp_path, value):
    mask = np.where(REAL, 1, value)
    refused(saved(tmp_path, mask=mask), f"mask in .* has the value {value}.*; give 0 and 1 .or False and True. alone")


def test_a_mask_of_words_is_refused(tmp_path):
    refused(saved(tmp_path, mask=np.where(REAL, "yes", "no")), "mask in .* has the value yes; give 0 and 1")


@pytest.mark.parametrize("repeat", [False, True], ids=["zeros", "the last row again"])
def test_an_inverted_mask_is_refused(tmp_path, repeat):
    arrays = [OBSERVATIONS, ACTIONS]
    if repeat:
        place = np.minimum(np.arange(6), LENGTHS[:, None] - 1)
        arrays = [array[np.arange(4)[:, None], place] for array in arrays]
    assert_real(saved(tmp_path, *arrays, mask=REAL))
    refused(saved(tmp_path, *arrays, mask=~REAL), "mask in .* seems inverted: .*; turn it round")
    refused(saved(tmp_path, *arrays, pad=REAL), "pad in .* seems inverted")


def test_a_mask_with_a_gap_is_refused(tmp_path):
    mask = REAL.copy()
    mask[3, 2] = False
    refused(saved(tmp_path, mask=mask), "mask in .* has a gap in trajectory 3, and steps before and after it")


def test_masks_that_contradict_each_other_are_refused(tmp_path):
    assert_real(saved(tmp_path, mask=REAL, is_pad=~REAL))
    refused(saved(tmp_path, mask=REAL, is_pad=REAL), "mask and is_pad in .* contradict each other; leave out one")


@pytest.mark.parametrize("name", ["pad_mask", "padding_mask", "action_mask", "obs_is_pad"])
def test_a_mask_that_may_mean_either_is_refused(tmp_path, name):
    refused(saved(tmp_path, **{name: REAL}), f"{name} in .* may say where a step is real or .*; rename it to mask, 1")


@pytest.mark.filterwarnings("ignore:.*not used")
def test_what_only_sounds_like_a_mask_is_no_mask(tmp_path):
    found = Demonstrations.load(saved(tmp_path, gamepad=REAL, obs_mask=np.ones((4, 6, 3))))
    assert found.lengths.tolist() == [6] * 4


def test_lengths_whose_sum_wraps_are_refused(tmp_path):
    ends = {"observations": np.ones((24, 3)), "actions": np.ones((24, 2))}
    refused(
        saved(tmp_path, **ends, lengths=np.array([2**62] * 4 + [24])), "lengths in .* has 4,611,686,018,427,387,904"
    )
    refused(saved(tmp_path, **ends, lengths=np.array([2**64 - 2, 26], np.uint64)), "but there are 24 actions")
