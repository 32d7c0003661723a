"""Groups at sure gaps are split where policies of the halves explain actions better."""

import numpy as np

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
