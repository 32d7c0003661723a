import numpy as np
import pytest

import manyways
from manyways.policies.start_gate import StartGate


def starts(informative, trajectories=120):
    """Return features (trajectories, 3) and codes of 3, one of which has no trajectory."""
    rng = np.random.default_rng(0)
    codes = 2 * (rng.random(trajectories) < 0.3).astype(int)
    features = rng.standard_normal((trajectories, 3))
    if informative:
        features[:, 1] += 4.0 * (codes == 2)
    return features, codes


def test_where_a_mode_starts_is_learned():
    features, codes = starts(informative=True)
    likely = StartGate.fit(features, codes, 3, seed=0).probabilities(features)
    np.testing.assert_allclose(likely.sum(axis=1), 1, rtol=1e-5)
    assert (likely.argmax(axis=1) == codes).mean() > 0.95
    assert likely[:, 1].max() < 0.03  # no trajectory has this code


def test_starts_that_say_nothing_give_the_shares():
    features, codes = starts(informative=False)
    gate = StartGate.fit(features, codes, 3, seed=0)
    assert not gate.weight.any()
    np.testing.assert_allclose(gate.probabilities(features)[:, 2], (codes == 2).mean(), atol=0.01)


def one_way_from_each_side(trajectories=60, steps=12):
    """Return demonstrations that go up from the left and down from the right."""
    rng = np.random.default_rng(0)
    sides = np.where(np.arange(trajectories) % 2, 1.0, -1.0)
    pairs = []
    for side in sides:
        heights = -side * np.arange(steps) / steps
        observations = np.stack([np.full(steps, side), heights], axis=1) + 0.02 * rng.standard_normal((steps, 2))
        pairs.append((observations, np.full((steps, 1), -side) + 0.02 * rng.standard_normal((steps, 1))))
    return manyways.Demonstrations.from_arrays(pairs), sides


def test_a_policy_starts_in_a_mode_that_is_possible_there(tmp_path):
    demonstrations, sides = one_way_from_each_side()
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=100, hidden=16).fit(demonstrations)
    first = demonstrations.observations[demonstrations.starts]
    codes = policy.losses(demonstrations).argmin(axis=1)
    policy.save(tmp_path)
    for one in (policy, manyways.load_policy(tmp_path)):
        likely = one.start_probabilities(first)
        assert (likely.argmax(axis=1) == codes).all()
        _, states = one.predict(np.repeat(first, 5, axis=0))
        assert (states.argmax(axis=1) == np.repeat(codes, 5)).mean() > 0.9
    assert len(set(codes[sides > 0])) == 1  # else the test shows nothing


def test_without_a_gate_all_codes_are_equally_likely():
    demonstrations, _ = one_way_from_each_side()
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=2, hidden=8).fit(demonstrations)
    policy.start_gate = None
    np.testing.assert_array_equal(policy.start_probabilities(demonstrations.observations[:3]), np.full((3, 2), 0.5))
    with pytest.raises(manyways.InputError, match="no codes"):
        manyways.MDN(iterations=1).fit(demonstrations).start_probabilities(demonstrations.observations[:3])
