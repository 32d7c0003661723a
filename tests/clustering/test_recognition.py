import numpy as np

from manyways import Demonstrations
from manyways.clustering.gaps import surest_gaps
from manyways.clustering.recognition import Recognition


def answers_to_a_cue(gains, steps=30, columns=3, seed=0):
    """Return trajectories in which the action is a gain of their own times the first column, and noise."""
    rng = np.random.default_rng(seed)
    pairs = []
    for gain in gains:
        cues = rng.normal(size=(steps, columns))
        pairs.append((cues, gain * cues[:, :2] + 0.3 * rng.normal(size=(steps, 2))))
    return Demonstrations.from_arrays(pairs)


def chances(gains, sides, seed=0, **shape):
    """Return the chance of a gap in what each family of policies says of splits, and what it says."""
    splits, ratios = Recognition.of(answers_to_a_cue(gains, **shape), seed).best(sides)
    return splits, np.exp(surest_gaps(ratios)[0]), ratios


def test_two_ways_are_told_apart_by_policies_that_began_with_a_poor_split():
    ways = np.arange(24) % 2 == 1
    rng = np.random.default_rng(1)
    poor = ways ^ (np.arange(24) % 8 == 0)  # three of 24 on the wrong side
    sides = np.stack([rng.random(24) < 0.5, poor], axis=1)
    splits, found, ratios = chances(np.where(ways, 1.0, -1.0), sides)
    assert (splits == 1).all()
    assert (found < 0.01).all()
    np.testing.assert_array_equal(ratios > 0, np.stack([ways, ways], axis=1))


def test_one_way_that_varies_has_no_gap_in_the_middle():
    gains = np.random.default_rng(0).uniform(-1, 1, 60)
    _, found, _ = chances(gains, (gains > 0)[:, None])
    assert (found > 0.05).all()


def test_what_policies_say_does_not_depend_on_which_side_is_which_nor_on_trajectories_that_are_left_out():
    ways = np.arange(24) % 2 == 1
    recognition = Recognition.of(answers_to_a_cue(np.where(ways, 1.0, -1.0)), 0)
    one, other = (recognition.best(sides[:, None])[1] for sides in (ways, ~ways))
    np.testing.assert_allclose(one, -other, rtol=1e-6, atol=1e-9)
    rows = np.arange(4, 24)
    half = recognition.select(rows)
    assert len(half.best(ways[rows, None])[1]) == 20


def test_wide_observations_and_short_trajectories_are_taken():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(steps, 60)), rng.normal(size=(steps, 30))) for steps in (2, 2, 9, 9, 9, 9, 9, 9)]
    _, ratios = Recognition.of(Demonstrations.from_arrays(pairs), 0).best((np.arange(8) % 2 == 1)[:, None])
    assert np.isfinite(ratios).all()
