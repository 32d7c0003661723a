"""Angles and quaternions: what is learned of them has no jump, and what comes back is what the user gave."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import manyways
from manyways import Demonstrations, InputError, Selection
from manyways.demonstrations.rotations import Angle, Rotations, Turning


def unit(count, seed=0):
    """Return quaternions (count, 4)."""
    q = np.random.default_rng(seed).standard_normal((count, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def turning(trajectories=6, steps=40, turn=2 * np.pi, seed=0):
    """Return demonstrations that see (x, angle) and give (quaternion, angle, y), all of which turn round and round."""
    rng, pairs = np.random.default_rng(seed), []
    for _ in range(trajectories):
        phase = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.uniform(0.1, 0.3, steps))
        wrapped = ((phase + np.pi) % (2 * np.pi) - np.pi) * turn / (2 * np.pi)
        spin = np.stack([np.cos(phase / 2), 0 * phase, np.sin(phase / 2), 0 * phase], axis=1)
        spin *= rng.choice([-1, 1], (steps, 1))
        observed = np.stack([rng.standard_normal(steps), wrapped], axis=1)
        pairs.append((observed, np.column_stack([spin, wrapped, rng.standard_normal(steps)])))
    return Demonstrations.from_arrays(pairs)


def test_an_angle_is_learned_as_sine_and_cosine_and_comes_back_within_its_turn():
    degrees = Turning(2, None, (Angle(1, 360.0, 0.0),))
    raw = np.array([[5.0, 90.0], [6.0, 359.0], [7.0, 0.0]])
    sines = [[5, 1, 0], [6, -np.sin(np.pi / 180), np.cos(np.pi / 180)], [7, 0, 1]]
    np.testing.assert_allclose(degrees.encode(raw), sines, atol=1e-12)
    np.testing.assert_allclose(degrees.decode(degrees.encode(raw)), raw, atol=1e-9)
    around = Turning(1, None, (Angle(0, 2 * np.pi, -np.pi),))
    np.testing.assert_allclose(
        around.decode(around.encode(np.array([[3.5], [-3.5]])))[:, 0], [3.5 - 2 * np.pi, -3.5 + 2 * np.pi]
    )
    # The mean of what is learned of π - 0.1 and -π + 0.1 is west, where the mean of the angles is east.
    mean = around.encode(np.array([[np.pi - 0.1], [-np.pi + 0.1]])).mean(axis=0)
    assert abs(around.decode(mean)[0]) == pytest.approx(np.pi)


def test_a_quaternion_is_learned_as_its_rotation_whatever_its_sign_and_comes_back_with_length_1():
    q = unit(500)
    columns = Turning(4, quaternions=(0,))
    matrices = Rotation.from_quat(np.roll(q, -1, axis=1)).as_matrix()
    learned = columns.encode(q)
    np.testing.assert_allclose(learned, np.concatenate([matrices[:, :, 0], matrices[:, :, 1]], axis=1), atol=1e-12)
    np.testing.assert_allclose(columns.encode(-q), learned, atol=1e-12)
    back = columns.decode(1.7 * learned)  # a network's output is not exactly a rotation
    np.testing.assert_allclose(np.abs((back * q).sum(axis=1)), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), 1, atol=1e-12)
    assert (np.take_along_axis(back, np.abs(back).argmax(axis=1)[:, None], axis=1) > 0).all()
    assert np.isfinite(columns.decode(np.zeros((1, 6)))).all()


def test_the_order_of_the_components_does_not_matter():
    shuffled, columns = unit(200)[:, [3, 1, 0, 2]], Turning(4, quaternions=(0,))
    back = columns.decode(columns.encode(shuffled))
    np.testing.assert_allclose(np.abs((back * shuffled).sum(axis=1)), 1, atol=1e-12)


def test_what_is_not_declared_stays_as_it_is(demonstrations):
    assert demonstrations.encoded is demonstrations
    assert demonstrations.with_rotations().rotations is None
    told = turning().with_rotations(["observations.1", "actions.4"], ["actions.0"])
    learned = told.encoded
    np.testing.assert_array_equal(learned.observations[:, 0], told.observations[:, 0])
    np.testing.assert_array_equal(learned.actions[:, 0], told.actions[:, 5])
    assert learned.encoded is learned
    assert learned.names["observations"] == ("observations.0", "sin observations.1", "cos observations.1")
    assert learned.actions.shape == (240, 1 + 2 + 6)
    assert told.select(np.array([1])).encoded.rotations == learned.rotations
    # Within trajectories nothing jumps any more.
    within = np.diff(learned.actions[:40, 1:], axis=0)
    assert np.abs(np.diff(told.actions[:40, 4])).max() > 5
    assert np.abs(within).max() < 0.5


def test_columns_are_found_by_their_names_in_all_arrays(tmp_path):
    made = turning(turn=360.0)
    path = tmp_path / "data"
    path.mkdir()
    for number, (seen, done) in enumerate(made):
        rows = np.concatenate([seen, done], axis=1)
        head = "observation.x,observation.yaw,action.q.0,action.q.1,action.q.2,action.q.3,action.yaw,action.y"
        np.savetxt(path / f"{number}.csv", rows, delimiter=",", header=head, comments="")
    loaded = Demonstrations.load(path, angles=["observation.yaw=360", "action.yaw=360"], quaternions=["action.q"])
    arrays = loaded.rotations.arrays
    assert arrays["observations"].angles == (Angle(1, 360.0, -180.0),)
    assert arrays["actions"].quaternions == (0,)
    assert loaded.encoded.names["actions"][:3] == ("action.y", "sin action.yaw", "cos action.yaw")
    hints = Demonstrations.load(path).undeclared
    assert hints.angles == ("observation.yaw=360", "action.yaw=360")
    assert hints.quaternions == ("action.q",)
    assert loaded.undeclared.sentences() == []


def test_only_what_comes_round_looks_so():
    found = turning().undeclared
    assert found.angles == ("observations.1", "actions.4")
    assert found.quaternions == ("actions.0",)
    rng = np.random.default_rng(0)
    noise = rng.uniform(-np.pi, np.pi, (5, 50, 2))  # changes of all sizes
    switch = np.where(rng.random((5, 50, 1)) < 0.5, -180.0, 180.0)
    choice = np.eye(4)[rng.integers(0, 4, (5, 50))]
    clipped = np.clip(9 * rng.standard_normal((5, 50, 1)), -np.pi, np.pi)
    every = np.concatenate([noise, switch, choice, clipped, 0.9 * noise], axis=2)
    plain = Demonstrations.from_arrays(zip(every, noise, strict=True))
    assert plain.undeclared.sentences() == []


def test_quaternions_are_recognised_by_both_signs():
    rng = np.random.default_rng(0)
    poses = Rotation.from_rotvec(rng.uniform(-1, 1, (20, 30, 3)).reshape(-1, 3)).as_quat().reshape(20, 30, 4)
    poses *= np.sign(poses[..., 3:])
    by_trajectory = np.where(np.arange(20) % 2, 1, -1)[:, None, None] * np.repeat(poses[:10], 2, axis=0)
    spinning = unit(1) * np.cos(np.linspace(0, 9, 600))[:, None] + unit(1, 1) * np.sin(np.linspace(0, 9, 600))[:, None]
    spinning = spinning / np.linalg.norm(spinning, axis=1, keepdims=True)
    jumping = (np.sign(spinning[:, :1]) * spinning).reshape(20, 30, 4)
    anyhow = unit(600).reshape(20, 30, 4)  # directions of four dimensions, whose sign means something
    for values, signed in ((poses, False), (by_trajectory, True), (jumping, True), (anyhow, False)):
        found = Demonstrations.from_arrays(zip(values, values, strict=True))
        assert found.undeclared.quaternions == ("observations.0", "actions.0")
        assert found.undeclared.signed == (found.undeclared.quaternions if signed else ())
        assert found.encoded.observations.shape[1] == (6 if signed else 4)
        assert found.with_rotations(quaternions=["none"]).encoded.observations.shape[1] == 4
        assert ("are learned as quaternions" in " ".join(found.undeclared.sentences())) == signed


@pytest.mark.parametrize(
    ("angles", "quaternions", "words"),
    [
        (["heading"], [], "no column 'heading' to be an angle"),
        (["observations.1=0"], [], "'observations.1=0' has no turn"),
        (["observations.1=west"], [], "'observations.1=west' has no turn"),
        ([], ["actions.1"], "is declared a quaternion, but its four columns have the length"),
        ([], ["actions.4"], "only 2 columns begin at 'actions.4'"),
        (["actions.2"], ["actions.0"], "a column is declared twice"),
        ("observations.1", [], "is the text"),
    ],
)
def test_a_wrong_declaration_is_refused_in_a_sentence(angles, quaternions, words):
    with pytest.raises(InputError, match=words):
        turning().with_rotations(angles, quaternions)


def test_parts_with_other_declarations_are_not_joined():
    told = turning().with_rotations(["observations.1"])
    assert Demonstrations.concatenate([told, told]).rotations == told.rotations
    with pytest.raises(InputError, match="other angles or quaternions"):
        Demonstrations.concatenate([told, turning()])


def test_a_selection_keeps_them():
    selection = Selection(angles=("yaw",), quaternions=("q",))
    assert Selection.from_json(selection.to_json()) == selection
    assert selection.columns() == selection


def test_a_damaged_declaration_is_no_declaration():
    good = Rotations({"actions": Turning(6, None, (Angle(4, 6.28, 0.0),), (0,))})
    assert Rotations.from_json(good.to_json()) == good
    assert Rotations.from_json(None) is None
    for change in ({"size": 10**9}, {"size": 4}, {"quaternions": [1]}, {"names": ["a"]}, {"quaternions": [-1]}):
        with pytest.raises(ValueError, match="columns"):
            Rotations.from_json({"actions": good.to_json()["actions"] | change})


def test_modes_are_counted_on_what_is_learned():
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(24):  # all head west, half of them past a buoy's other side
        aside = (-1) ** number * np.sin(np.linspace(0, np.pi, 30))[:, None]
        heading = (0.2 * rng.standard_normal((30, 1))) % (2 * np.pi) - np.pi  # near ±π
        pairs.append((np.concatenate([aside, np.linspace(1, -1, 30)[:, None]], axis=1), heading))
    told = Demonstrations.from_arrays(pairs).with_rotations(["actions.0"])
    assert manyways.count_modes(told).best == 2
