import json

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.clustering.count import _described
from manyways.demonstrations.synthetic import Motions


@pytest.mark.parametrize(
    "motions",
    [Motions(kinds=3, per_kind=8), Motions(kinds=6, per_kind=8, shared=0.5)],
    ids=["three", "shared"],
)
def test_kinds_are_counted(motions):
    result = manyways.count_modes(motions.draw(seed=0)[0], most=9)
    assert result.best == motions.kinds
    assert result.sureness > 0.5
    assert result.runner_up != result.best
    assert sum(result.votes.values()) == pytest.approx(1)


def test_one_mode_is_one():
    rng = np.random.default_rng(0)
    observations = [rng.normal(size=(40, 2)) for _ in range(20)]
    alike = manyways.Demonstrations.from_arrays([(states, 0.5 * states[:, :1]) for states in observations])
    assert manyways.count_modes(alike, most=5).best == 1


def test_equal_trajectories_are_one_mode():
    same = manyways.Demonstrations.from_arrays([(np.ones((5, 2)), np.ones((5, 1)))] * 6)
    assert manyways.count_modes(same).best == 1


def test_a_mishap_far_from_everything_is_no_mode():
    trajectories, _ = Motions(kinds=3, per_kind=10).draw(seed=0)
    mishap = (trajectories.observations[:40] + 20, -5 * trajectories.actions[:40])
    assert manyways.count_modes(manyways.Demonstrations.from_arrays([*trajectories, mishap]), most=9).best == 3


def walks(rng, count, last=None):
    """Return random walks of different lengths, shifted so that each ends where it is said."""
    pairs = []
    for number in range(count):
        strides = rng.normal(size=(rng.integers(20, 60), 2))
        path = np.cumsum(strides, axis=0)
        shift = 0 if last is None else last[number] - path[-1]
        pairs.append((path - strides + shift, strides))
    return manyways.Demonstrations.from_arrays(pairs)


def test_modes_that_differ_in_one_property_alone_are_counted_and_the_property_is_named():
    rng = np.random.default_rng(0)
    places = np.array([(0, 0), (30, 0), (0, 30)])[np.arange(60) % 3] + rng.normal(size=(60, 2))
    result = manyways.count_modes(walks(rng, 60, places))
    assert result.best == 3
    assert [split["by"].split()[0] for split in result.splits] == ["end", "end"]
    assert sum(result.splits[0]["sizes"]) == 60
    assert result.chances[2] < 0.05 > result.chances[3]
    assert result.chances[4] > 0.05


def test_a_range_is_one_mode():
    rng = np.random.default_rng(0)
    places = np.stack([rng.uniform(-30, 30, 80), np.zeros(80)], axis=1)
    assert manyways.count_modes(walks(rng, 80, places)).best == 1


def test_many_modes_that_hide_each_others_gaps_are_counted_by_their_description():
    result = manyways.count_modes(Motions(kinds=26, per_kind=7, noise=0.02, speeds=0.15, cut=0.25).draw(seed=0)[0])
    assert abs(result.best - 26) <= 1
    assert len(result.splits) < 13


def test_no_more_modes_are_counted_than_allowed_and_parts_are_told():
    told = []
    result = manyways.count_modes(Motions(kinds=6, per_kind=10).draw(seed=0)[0], most=4, callback=told.append)
    assert result.best == 4
    assert told == list(range(1, 11))


def test_a_few_trajectories_of_many_are_a_mode_if_they_are_alike_and_mishaps_are_none():
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(8, 2)) + 60])
    assert manyways.count_modes(walks(rng, 208, places)).best == 2
    few = np.concatenate([rng.normal(size=(400, 2)), rng.normal(size=(4, 2)) + 60])
    assert manyways.count_modes(walks(rng, 404, few)).best == 1


def test_too_few_trajectories_and_modes_are_refused(demonstrations):
    with pytest.raises(InputError, match="3 trajectories are too few to count the modes"):
        manyways.count_modes(manyways.Demonstrations.from_arrays([demonstrations[i] for i in range(3)]))
    with pytest.raises(InputError, match="at most 0 modes cannot be counted"):
        manyways.count_modes(demonstrations, most=0)


def test_a_run_counts_its_modes_once_and_goes_on_with_them(command, demonstrations, tmp_path):
    demonstrations.save(tmp_path / "two.npz")
    train = ("train", "sog-bc", tmp_path / "two.npz", "--modes", "auto", "--iterations", 2, "--out", tmp_path / "run")
    code, out, err = command(*train)
    assert code == 0, err
    assert "2 modes counted" in out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["prior"]["size"] == config["mode_count"]["best"] == 2
    config["mode_count"]["sureness"] = 0.125
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    code, out, err = command(*train)
    assert code == 0, err
    assert "the count is only 12% sure, so it may be far off; train with --modes" in " ".join((out + err).split())
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["mode_count"]["sureness"] == 0.125


@pytest.mark.parametrize(("size", "described"), [(10, 20), (30, None)])
def test_small_groups_hide_their_gaps_and_large_ones_do_not(size, described):
    rng = np.random.default_rng(0)
    points = np.repeat(8 * rng.normal(size=(20, 6)), size, axis=0) + 0.3 * rng.normal(size=(20 * size, 6))
    assert _described(points, by_gaps=5, most=60, seed=0) == described


def four_ends(per_mode=12):
    """Return trajectories that end in one of four corners, and which."""
    rng, modes = np.random.default_rng(0), np.repeat(np.arange(4), per_mode)
    pairs = []
    for mode in modes:
        end = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])[mode] + 0.05 * rng.normal(size=2)
        states = np.linspace(0, 1, 20)[:, None] * end + 0.02 * rng.normal(size=(20, 2))
        pairs.append((states, np.broadcast_to(end, (20, 2)) + 0.02 * rng.normal(size=(20, 2))))
    return manyways.Demonstrations.from_arrays(pairs), modes


def test_groups_that_labels_or_pairs_say_are_one_do_not_count_as_two():
    demonstrations, _ = four_ends()
    assert manyways.count_modes(demonstrations, most=9).best == 4
    labelled = demonstrations.with_labels({0: 0, 1: 0, 12: 0, 24: 1})  # the first two corners are one way
    joined = manyways.count_modes(labelled, most=9)
    assert (joined.best, joined.least) == (3, 2)
    assert joined.to_json()["least"] == 2
    paired = demonstrations.with_pairs(same=[(0, 12), (12, 24)], different=[(0, 36)])
    assert manyways.count_modes(paired, most=9).best == 2


def test_modes_that_only_labels_or_pairs_tell_apart_count_and_the_count_is_half_sure():
    demonstrations, _ = four_ends()
    for known in (
        demonstrations.with_labels({0: 0, 1: 1, 12: 2}),  # the first corner has two labels
        demonstrations.with_pairs(different=[(0, 1)]),
    ):
        counted = manyways.count_modes(known, most=9)
        assert counted.best == 5
        assert counted.sureness <= 0.5
    alike = manyways.Demonstrations.from_arrays([(np.ones((5, 2)), np.ones((5, 1)))] * 6)
    assert manyways.count_modes(alike.with_labels({0: 0, 1: 3})).best == 2
    assert manyways.count_modes(alike.with_pairs(different=[(0, 1), (1, 2), (0, 2)])).best == 3


def test_no_fewer_modes_are_counted_than_are_known():
    demonstrations, _ = four_ends()
    with pytest.raises(InputError, match="labels and pairs tell 3 modes apart, so at most 2"):
        manyways.count_modes(demonstrations.with_labels({0: 0, 1: 1, 2: 2}), most=2)
