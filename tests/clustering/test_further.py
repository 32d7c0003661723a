"""Groups at sure gaps are split where policies of the halves explain actions better."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from manyways.clustering.competition import find_groups
from manyways.clustering.further import split_further
from manyways.clustering.regressions import Regressions
from manyways.demonstrations import Demonstrations

LABELS = np.repeat([0, 1], [35, 55])
RARE = np.arange(90) < 5


def embedded(rng):
    """Return points in which the rare mode stands a little apart, and the common ones vary more for no reason."""
    points = rng.normal(0, 0.1, (90, 2))
    points[LABELS == 1, 0] += rng.choice([-3, 3], 55)
    points[RARE, 1] += 1
    return points.astype(np.float32)


def regressions(rng):
    gain = np.where(RARE, -1.0, np.where(LABELS == 0, 1.0, 0.3))
    states = rng.normal(size=(90, 20, 1))
    actions = gain[:, None, None] * states + rng.normal(0, 0.1, (90, 20, 1))
    return Regressions.of(Demonstrations.from_arrays(list(zip(states, actions, strict=True))), 0)


def test_the_split_that_explains_actions_is_made_however_few_it_concerns():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(90, 2)).astype(np.float32)
    labels, used = split_further(LABELS, [noise, embedded(rng)], 3, regressions(rng), 0)
    assert used == {1}
    np.testing.assert_array_equal(labels == labels[0], RARE)
    assert len({*zip(labels[~RARE].tolist(), LABELS[~RARE].tolist(), strict=True)}) == 2  # the others are as they were


def test_what_cannot_be_split_stays():
    rng = np.random.default_rng(0)
    labels, used = split_further(LABELS, [np.zeros((90, 2), np.float32)], 3, regressions(rng), 0)
    np.testing.assert_array_equal(labels, LABELS)
    assert used == set()


def test_a_rare_mode_beside_a_large_one_is_found_where_a_gap_tells_only_the_large_one_apart():
    rng = np.random.default_rng(1)
    modes, trajectories = np.repeat([0, 1, 2], [6, 30, 54]), []
    for mode in modes:
        place = 8 * (mode == 2) + rng.normal(0, 0.3)
        slant = rng.choice([-1, 1]) if mode == 2 else 0  # the large mode varies, for no reason
        walk = np.cumsum(rng.normal(0, 0.2, (30, 2)), axis=0)
        walk[:, 0] += place
        walk[:, 1] += slant * np.linspace(0, 1, 30)
        trajectories.append((walk, (-1, 1, 0.5)[mode] * np.sin(walk) + rng.normal(0, 0.1, (30, 2))))
    demonstrations = Demonstrations.from_arrays(trajectories)
    found = find_groups(demonstrations, 3, 0)
    assert adjusted_rand_score(modes, found.relative_nll(demonstrations).argmin(axis=1)) > 0.95
    assert found.sure
