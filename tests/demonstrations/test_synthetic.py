import numpy as np
import pytest

from manyways import InputError
from manyways.demonstrations.synthetic import Motions, relations


def test_the_same_seed_gives_the_same_motions_and_another_does_not():
    motions = Motions(kinds=4, per_kind=5, noise=0.1, speeds=0.2, cut=0.3)
    (first, kinds), (again, _), (other, _) = (motions.draw(seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.observations, again.observations)
    assert first.observations.shape != other.observations.shape or (first.observations != other.observations).any()
    np.testing.assert_array_equal(np.bincount(kinds), [5, 5, 5, 5])


def test_actions_lead_from_one_state_to_the_next():
    demonstrations, _ = Motions(kinds=2, per_kind=2).draw(0)
    observations, actions = demonstrations[0]
    np.testing.assert_allclose(observations[:-1] + actions[:-1] / 60, observations[1:], atol=1e-5)


def test_kinds_that_share_a_stretch_begin_alike_and_end_apart():
    demonstrations, kinds = Motions(kinds=2, per_kind=3, noise=0, starts=0, shared=0.5).draw(3)
    one, other = (demonstrations[int(np.flatnonzero(kinds == kind)[0])][1] for kind in (0, 1))
    np.testing.assert_allclose(one[:29], other[:29], atol=1e-4)
    assert np.abs(one[40:] - other[40:]).max() > 0.5


def test_cuts_and_speeds_give_different_lengths_and_imbalance_different_counts():
    demonstrations, kinds = Motions(kinds=3, per_kind=20, speeds=0.3, cut=0.5, imbalance=9).draw(0)
    assert demonstrations.lengths.min() < 40 < 60 < demonstrations.lengths.max()
    counts = np.bincount(kinds)
    assert counts[0] / counts[2] == pytest.approx(9, rel=0.2)


def test_relations_are_what_they_say():
    demonstrations, kinds = relations(3, 4, seed=0, size=40)
    assert demonstrations.observation_space.shape == (40,)
    for kind, slope in enumerate((1, -1, 0)):
        observations, actions = demonstrations[int(np.flatnonzero(kinds == kind)[0])]
        assert np.polyfit(observations[:, 0], actions[:, 0], 1)[0] == pytest.approx(slope, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": 0}, "kinds is 0; give 1 or more"),
        ({"noise": -1}, "noise is -1"),
        ({"cut": 1}, "cut is 1; give a share from 0 to less than 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Motions(**({"kinds": 2, "per_kind": 2} | changes))


def test_more_relations_than_there_are_are_refused():
    with pytest.raises(InputError, match="kinds is 4; give 1 to 3"):
        relations(4, 2, seed=0)
