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
    counted = manyways.count_modes(motions.draw(seed=0)[0], most=9)
    assert counted.best == motions.kinds
    assert counted.sureness > 0.5
    assert counted.runner_up != counted.best
    assert sum(counted.votes.values()) == pytest.approx(1)


def test_one_way_is_one():
    rng = np.random.default_rng(0)
    observations = [rng.normal(size=(40, 2)) for _ in range(20)]
    alike = manyways.Demonstrations.from_arrays([(seen, 0.5 * seen[:, :1]) for seen in observations])
    assert manyways.count_modes(alike, most=5).best == 1


def test_trajectories_that_are_all_the_same_are_one_way():
    same = manyways.Demonstrations.from_arrays([(np.ones((5, 2)), np.ones((5, 1)))] * 6)
    assert manyways.count_modes(same).best == 1


def test_a_mishap_far_from_everything_is_no_way():
    shown, _ = Motions(kinds=3, per_kind=10).draw(seed=0)
    mishap = (shown.observations[:40] + 20, -5 * shown.actions[:40])
    assert manyways.count_modes(manyways.Demonstrations.from_arrays([*shown, mishap]), most=9).best == 3


def test_few_ways_are_counted_on_parts_of_many_trajectories():
    counted = manyways.count_modes(Motions(kinds=3, per_kind=80).draw(seed=0)[0])
    assert counted.best == 3
    assert max(counted.description_length) <= 30  # half of a part, not of the whole


def test_ten_trajectories_of_each_way_are_enough_if_all_parts_agree():
    counted = manyways.count_modes(Motions(kinds=5, per_kind=40, noise=0.02).draw(seed=0)[0])
    assert (counted.best, counted.sureness) == (5, 1)
    assert max(counted.description_length) <= 30  # half of 60, less than 20 of each


def test_halves_of_one_line_count_as_one_and_lines_with_room_between_them_as_two():
    rng = np.random.default_rng(0)
    line = np.stack([np.linspace(-3, 3, 200), rng.normal(size=200)], axis=1).astype(np.float32)
    assert _separation(line[:100], line[100:]) == pytest.approx(
        3.4, abs=0.2
    )  # 3 apart, each of variance 3/4 and a little
    halves = (np.arange(200) >= 100).astype(np.int64)
    assert _separated_groups(line, halves) == 1
    assert _separated_groups(line + 9 * halves[:, None].astype(np.float32), halves) == 2


def test_first_actions_tell_ways_apart_that_chance_mixes_later():
    rng = np.random.default_rng(0)
    ways = np.arange(120) % 4
    gaits = rng.integers(9, size=120)  # chance; ways 0 and 2 lead to the same gaits, 1 and 3 to others
    places = rng.normal(size=(9, 5))
    points = 40 * np.eye(5)[ways % 2] + places[gaits] + 0.05 * rng.normal(size=(120, 5))
    firsts = np.eye(4)[ways] + 0.01 * rng.normal(size=(120, 4))
    others = np.eye(4)[rng.permutation(ways)] + 0.01 * rng.normal(size=(120, 4))

    def count(firsts):
        return _select_partition(points.astype(np.float32), firsts.astype(np.float32), 40, seed=0).modes

    assert count(firsts) == 4
    assert count(others) == 2  # what is not within the groups of trajectories says nothing of them
    assert count(np.zeros((120, 4))) > 4  # nothing tells the gaits from ways


def test_first_actions_are_counted_from_the_answer_to_the_first_state():
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(1000, 3))
    ways = np.tile([-1.0, 1.0], 500)
    actions = np.stack([starts[:, 0] + ways, 2 * starts[:, 1]], axis=1)
    steps = [(np.stack([start] * 2), np.stack([action] * 2)) for start, action in zip(starts, actions, strict=True)]
    own = _first_actions(manyways.Demonstrations.from_arrays(steps)) * actions.std(axis=0)[0]
    np.testing.assert_allclose(np.abs(own[:, 0]), 1, atol=0.2)
    np.testing.assert_allclose(own[:, 1], 0, atol=0.2)


def test_first_actions_that_are_all_the_same_say_nothing(demonstrations):
    shown = [(states, np.concatenate([0 * actions[:1], actions[1:]])) for states, actions in demonstrations]
    assert not _first_actions(manyways.Demonstrations.from_arrays(shown)).any()


def test_too_few_trajectories_and_ways_are_refused(demonstrations):
    with pytest.raises(InputError, match="3 trajectories are too few to count the ways"):
        manyways.count_modes(manyways.Demonstrations.from_arrays([demonstrations[i] for i in range(3)]))
    with pytest.raises(InputError, match="at most 0 ways cannot be counted"):
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
    assert "12% sure" in out
