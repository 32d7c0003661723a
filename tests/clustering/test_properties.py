import numpy as np
import pytest

from manyways import Demonstrations
from manyways.clustering.competition import find_groups
from manyways.clustering.groups import Groups
from manyways.clustering.properties import as_row, normalisation, on_lines, properties, property_names, tabulated
from manyways.evaluation.metrics import purity


def path(turn=0.1, stride=1.0, steps=60, first=0.0, noise=0.0, rng=None):
    headings = first + turn * np.arange(steps)
    actions = stride * np.stack([np.cos(headings), np.sin(headings)], axis=1)
    if rng is not None:
        actions = actions + noise * rng.normal(size=actions.shape)
    return np.cumsum(actions, axis=0) - actions, actions


def test_properties_are_what_their_names_say():
    states, actions = path(turn=0.1, stride=2.0)
    found = properties(states, actions, np.zeros(2))
    assert found["length"] == 60
    np.testing.assert_allclose(found["start"], states[:3].mean(axis=0))
    np.testing.assert_allclose(found["end"], states[-3:].mean(axis=0))
    np.testing.assert_allclose(found["effort"], np.log(2), rtol=1e-4)
    np.testing.assert_allclose(found["turn"], 60 * np.sin(0.1) * np.array([1, 1, 1, 1]), rtol=0.1)
    assert found["speed"][0] == pytest.approx(np.log(2 / np.sqrt(2)), abs=0.1)
    fast = properties(*path(turn=0.4, stride=2.0), np.zeros(2))
    assert (fast["rhythm"] - found["rhythm"])[0] == pytest.approx(np.log(4), abs=0.3)


def test_when_a_gripper_closes_changes_how_it_turns_without_a_jump():
    turns = []
    for closes in range(10, 70):
        actions = np.stack([np.full(80, 3.0), np.where(np.arange(80) < closes, 1.0, -1.0)], axis=1)
        turns.append(properties(actions, actions, np.zeros(2))["turn"])
    assert np.abs(np.diff(turns, axis=0)).max() < 0.1 * np.ptp(turns)


def test_a_column_that_each_trajectory_keeps_has_no_spread_and_no_rhythm_of_its_own():
    # As the place of a target: its mean is rounded, and so differs from it by some last bits in some trajectories.
    rng = np.random.default_rng(0)
    pairs = [(np.full((60, 1), place, np.float32), rng.normal(size=(60, 1))) for place in rng.normal(size=40)]
    demonstrations = Demonstrations.from_arrays(pairs)
    table = tabulated(demonstrations, *normalisation(demonstrations))
    kinds = [kind for kind, _ in property_names(demonstrations)]
    for kind in ("spread", "speed", "rhythm"):
        assert np.ptp(table[:, kinds.index(kind)]) == 0, kind


def test_a_crossing_is_the_height_where_the_other_column_passes_its_mean():
    along = np.linspace(-1, 1, 81)
    states = np.stack([along, 3 + 0.5 * along], axis=1)
    np.testing.assert_allclose(properties(states, states, np.zeros(2))["crossing"][0], 3, atol=1e-6)


def test_a_gesture_is_the_direction_of_the_greatest_actions_unless_there_are_several():
    rng = np.random.default_rng(0)
    still = 0.01 * rng.normal(size=(400, 2))
    once, twice = still.copy(), still.copy()
    once[100:110] += [0, 1]
    twice[100:110] += [0, 1]
    twice[200:210] -= [0, 1]
    np.testing.assert_allclose(properties(still, once, np.zeros(2))["gesture"], [0, 1], atol=0.05)
    assert np.linalg.norm(properties(still, twice, np.zeros(2))["gesture"]) < 0.5


def test_directions_around_a_circle_have_no_gap_where_the_angle_jumps():
    angles = np.linspace(-np.pi, np.pi, 100, endpoint=False)
    values = np.stack([np.cos(angles), np.sin(angles), angles], axis=1)
    lines = on_lines(values, ["gesture", "gesture", "other"])
    assert np.diff(np.sort(lines[:, 0])).max() < 0.07
    np.testing.assert_array_equal(lines[:, 2], angles)
    apart = on_lines(values[np.r_[45:55, 0:5, 95:100]], ["gesture", "gesture", "other"])
    assert np.diff(np.sort(apart[:, 0])).max() > 2.5  # from the right to the left, across the jump of the angle


@pytest.mark.parametrize("shapes", [(2, 2), (9, 3), (120, 9), (1, 1)])
def test_every_property_has_a_name(shapes):
    rng = np.random.default_rng(0)
    pairs = [tuple(rng.normal(size=(steps, size)) for size in shapes) for steps in (2, 5, 30)]
    demonstrations = Demonstrations.from_arrays(pairs)
    table = tabulated(demonstrations, *normalisation(demonstrations))
    assert table.shape == (3, len(property_names(demonstrations)))
    assert np.isfinite(table).all()


def test_groups_by_a_property_are_kept_with_the_policy():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pairs = [path(stride=1.6**label, turn=0.05, first=rng.uniform(0, 6), noise=0.05, rng=rng) for label in labels]
    demonstrations = Demonstrations.from_arrays(pairs)
    groups = find_groups(demonstrations, 3, seed=0)
    found = groups.relative_nll(demonstrations)
    assert purity(found.argmin(axis=1), labels) == 1
    again = Groups.from_tensors(groups.tensors())
    np.testing.assert_allclose(again.relative_nll(demonstrations), found, rtol=1e-3, atol=1e-2)


def test_units_and_offsets_change_no_property():
    states, actions = path()
    one, other = (
        Demonstrations.from_arrays([(scale * states + offset, actions)] * 2) for scale, offset in ((1, 0), (1000, 5e4))
    )
    rows = [as_row(*pairs[0], *normalisation(pairs)) for pairs in (one, other)]
    np.testing.assert_allclose(*rows, atol=1e-2)
