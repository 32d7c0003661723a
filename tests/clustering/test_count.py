import json

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.clustering.count import _first_actions, _select_partition, _separated_groups, _separation
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


def test_few_modes_are_counted_on_parts_of_many_trajectories():
    result = manyways.count_modes(Motions(kinds=3, per_kind=80).draw(seed=0)[0])
    assert result.best == 3
    assert max(result.description_length) <= 30  # half of a part, not of the whole


def test_ten_trajectories_of_each_mode_are_enough_if_all_parts_agree():
    result = manyways.count_modes(Motions(kinds=5, per_kind=40, noise=0.02).draw(seed=0)[0])
    assert (result.best, result.sureness) == (5, 1)
    assert max(result.description_length) <= 30  # half of 60, less than 20 of each


def test_halves_of_one_line_count_as_one_and_separate_lines_as_two():
    rng = np.random.default_rng(0)
    line = np.stack([np.linspace(-3, 3, 200), rng.normal(size=200)], axis=1).astype(np.float32)
    # The centres are 3 apart, the variance of each half is a little above 3/4.
    assert _separation(line[:100], line[100:]) == pytest.approx(3.4, abs=0.2)
    halves = (np.arange(200) >= 100).astype(np.int64)
    assert _separated_groups(line, halves) == 1
    assert _separated_groups(line + 9 * halves[:, None].astype(np.float32), halves) == 2


def test_first_actions_separate_modes_that_chance_mixes_later():
    rng = np.random.default_rng(0)
    modes = np.arange(120) % 4
    gaits = rng.integers(9, size=120)  # chance; modes 0 and 2 lead to the same gaits, 1 and 3 to others
    places = rng.normal(size=(9, 5))
    points = 40 * np.eye(5)[modes % 2] + places[gaits] + 0.05 * rng.normal(size=(120, 5))
    firsts = np.eye(4)[modes] + 0.01 * rng.normal(size=(120, 4))
    others = np.eye(4)[rng.permutation(modes)] + 0.01 * rng.normal(size=(120, 4))

    def count(firsts):
        return _select_partition(points.astype(np.float32), firsts.astype(np.float32), 40, seed=0).modes

    assert count(firsts) == 4
    assert count(others) == 2  # groups that cross those of the trajectories do not count
    assert count(np.zeros((120, 4))) > 4  # without them the gaits count as modes


def test_first_actions_are_less_a_linear_fit_to_the_first_state():
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(1000, 3))
    modes = np.tile([-1.0, 1.0], 500)
    actions = np.stack([starts[:, 0] + modes, 2 * starts[:, 1]], axis=1)
    steps = [(np.stack([start] * 2), np.stack([action] * 2)) for start, action in zip(starts, actions, strict=True)]
    own = _first_actions(manyways.Demonstrations.from_arrays(steps)) * actions.std(axis=0)[0]
    np.testing.assert_allclose(np.abs(own[:, 0]), 1, atol=0.2)
    np.testing.assert_allclose(own[:, 1], 0, atol=0.2)


def test_equal_first_actions_are_zero(demonstrations):
    trajectories = [(states, np.concatenate([0 * actions[:1], actions[1:]])) for states, actions in demonstrations]
    assert not _first_actions(manyways.Demonstrations.from_arrays(trajectories)).any()


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
