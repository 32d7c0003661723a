import numpy as np
import pytest

from manyways.tasks import ContinuousModes, DiscreteModes, angles, velocities


def test_angles_and_velocities_have_names():
    assert angles(4).names == ("0°", "90°", "180°", "270°")
    assert str(velocities((-1.5, 2))) == "-1.5 m/s, +2 m/s"


def test_discrete_modes_are_indices():
    modes = velocities((-1.0, 0.5, 1.0))
    assert len(modes) == 3
    assert modes.spread(5).tolist() == [0, 1, 2, 0, 1]
    assert set(modes.sample(100, np.random.default_rng(0))) == {0, 1, 2}
    assert modes.check(2, 3).tolist() == [2, 2, 2]
    rewards = np.arange(6.0).reshape(2, 3)
    assert modes.own(rewards, np.array([2, 0])).tolist() == [2.0, 3.0]
    for wrong in (3, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="mode"):
            modes.check(wrong, 3)


def test_continuous_modes_are_points():
    modes = ContinuousModes((0.0, -1.0), (1.0, 1.0), "a place")
    drawn, even = modes.sample(50, np.random.default_rng(0)), modes.spread(64)
    for points in (drawn, even):
        assert ((points >= modes.low) & (points <= modes.high)).all()
    # Each quarter of the box gets its share.
    quarters = (even > np.array([0.5, 0.0])) @ [1, 2]
    assert np.bincount(quarters).min() >= 14
    assert modes.check((0.5, 0.0), 2).tolist() == [[0.5, 0.0], [0.5, 0.0]]
    for wrong in ((2.0, 0.0), 0.5 * np.ones(3)):
        with pytest.raises(ValueError, match="mode"):
            modes.check(wrong, 2)


def test_no_modes_are_refused():
    with pytest.raises(ValueError, match="are no modes"):
        DiscreteModes((), ())
