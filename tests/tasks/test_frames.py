import numpy as np

from manyways.tasks import ObservationFrame, angles, velocities
from manyways.tasks.frames import EgocentricAnt, EgocentricHumanoid
from manyways.tasks.task import get_task


def test_the_plain_frame_puts_the_mode_beside_the_observation():
    inputs = ObservationFrame().inputs(np.zeros((2, 3)), np.array([1, 0]), velocities((-1.0, 2.0)))
    np.testing.assert_array_equal(inputs, [[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]])


def _inputs_while_acting(task, frame, modes, count, steps=60):
    """Return the expert's inputs in each mode while its actions are the same, (steps, modes, inputs)."""
    mode = np.arange(len(modes))
    environment = task.make_vec(len(modes), 0, reset_noise_scale=0.0)
    observations, _ = environment.reset(seed=0)
    rng = np.random.default_rng(0)
    inputs = []
    for _ in range(steps):
        inputs.append(frame.inputs(observations, mode, modes))
        actions = np.repeat(rng.uniform(-1, 1, (1, count)), len(modes), axis=0)
        observations, *_ = environment.step(frame.actions(actions, mode, modes))
    environment.close()
    return np.stack(inputs)


def test_the_ant_is_the_same_in_all_four_quarters():
    inputs = _inputs_while_acting(get_task("ant-dir-6"), EgocentricAnt(), angles(4), count=8)
    assert np.abs(np.diff(inputs[:, 0], axis=0)).max() > 0.1  # it moved
    for quarter in (1, 2, 3):
        # An orientation and its negative are the same.
        sign = np.sign((inputs[:, quarter, 1:5] * inputs[:, 0, 1:5]).sum(axis=1))[:, None]
        inputs[:, quarter, 1:5] *= sign
        np.testing.assert_allclose(inputs[:, quarter], inputs[:, 0], atol=1e-3)


def test_the_humanoid_sees_opposite_modes_as_in_a_mirror():
    inputs = _inputs_while_acting(get_task("humanoid-dir-6"), EgocentricHumanoid(), angles(6), count=17, steps=3)
    assert np.abs(np.diff(inputs[:, 1], axis=0)).max() > 0.1  # it moved
    for left, right in ((1, 5), (2, 4)):
        # Its two sides differ by a fiftieth of a percent, which grows.
        np.testing.assert_allclose(inputs[:3, right], inputs[:3, left], atol=0.025)
    assert np.abs(inputs[:3, 0] - inputs[:3, 1]).max() > 0.1


def _facing(degrees):
    """Return an observation of a humanoid that stands upright and faces this way, (1, 45)."""
    observation = np.zeros((1, 45))
    observation[0, [1, 4]] = np.cos(np.radians(degrees) / 2), np.sin(np.radians(degrees) / 2)
    observation[0, 22:24] = 1.0, 2.0
    return observation


def test_the_humanoid_turns_back_by_stages_of_120_degrees_to_one_side():
    frame, modes = EgocentricHumanoid(), angles(6)
    forward, back = np.array([0]), np.array([3])
    # It shall walk to 120° from where it faces, until it faces within 120° of straight back.
    for facing in (-10, 0, 20, 60):
        np.testing.assert_allclose(frame.inputs(_facing(facing), back, modes)[:, 1:5], _facing(-120)[:, 1:5], atol=1e-6)
    for facing, left in ((90, -90), (170, -10), (190, 10), (240, 60)):
        np.testing.assert_allclose(frame.inputs(_facing(facing), back, modes)[:, 1:5], _facing(left)[:, 1:5], atol=1e-6)
    # In all other modes the direction at the start is the mode's own.
    for mode in (0, 1, 2):
        inputs = frame.inputs(_facing(0), np.array([mode]), modes)
        np.testing.assert_allclose(inputs[:, 1:5], _facing(-60 * mode)[:, 1:5], atol=1e-6)
        mirrored = frame.inputs(_facing(0), np.array([(6 - mode) % 6]), modes)
        np.testing.assert_allclose(mirrored[:, 1:5], inputs[:, 1:5], atol=1e-6)
    # Velocities turn with the direction.
    np.testing.assert_allclose(frame.inputs(_facing(90), back, modes)[:, 22:24], [[-1, -2]], atol=1e-6)
    np.testing.assert_allclose(frame.inputs(_facing(0), forward, modes)[:, 22:24], [[1, 2]], atol=1e-6)
