import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from manyways import Demonstrations, load_modes
from manyways.tasks import get_task
from manyways.tasks.circles_images import draw, positions
from manyways.tasks.collect import collect

TASK = get_task("circles-images")


def histories(points, velocities):
    """Return observations of Circles (n, 10) of points that came with these velocities."""
    return np.stack([points - age * velocities for age in range(4, -1, -1)], axis=1).reshape(len(points), 10)


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space")
@pytest.mark.filterwarnings("error")
def test_it_passes_gymnasiums_checker():
    check_env(gym.make(TASK.environment, render_mode="rgb_array").unwrapped)


def test_the_position_can_be_read_from_the_picture():
    rng = np.random.default_rng(0)
    points = rng.uniform([-21, -20], [21, 40], (500, 2))
    images = draw(histories(points, rng.normal(size=(500, 2))))
    assert images.shape == (500, 64, 64, 1)
    assert images.dtype == np.uint8
    np.testing.assert_allclose(positions(images), points, atol=0.1)


def test_a_picture_shows_where_the_point_came_from():
    origin = np.zeros((1, 2))
    left, right = (draw(histories(origin, np.array([[speed, 0.0]])))[0, ..., 0] for speed in (1.2, -1.2))
    row = left.sum(axis=1).argmax()
    assert left[row, :31].max() > 100 > left[row, 35:].max()  # it came from the left: the tail is there
    np.testing.assert_array_equal(right, left[:, ::-1])
    up = draw(histories(origin, np.array([[0.0, 1.2]])))[0, ..., 0]
    assert up.sum(axis=1).argmax() > row - 3
    assert up[row + 3 :].sum() > 2 * up[: row - 2].sum()  # y points up, so the tail of a rising point is below


def test_a_point_outside_the_picture_is_drawn_at_its_border():
    images = draw(histories(np.array([[0.0, 55.0], [0.0, -55.0]]), np.zeros((2, 2))))
    np.testing.assert_allclose(positions(images), [[0.0, 41.0], [0.0, -21.0]], atol=0.5)


def test_the_vector_form_does_what_single_environments_do():
    modes = [0, 1, 2]
    fast = TASK.make_vec(3, modes)
    single = SyncVectorEnv([lambda mode=mode: TASK.make(mode) for mode in modes])
    assert fast.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert fast.observation_space == single.observation_space
    (a, info_a), (b, info_b) = fast.reset(seed=3), single.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(60):  # long enough that the first ones leave the field and start anew
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(info_a["state"], info_b["state"])
        actions = rng.uniform([0.5, -1.5], [1.5, 1.5], (3, 2)).astype(np.float32)
        a, rewards_a, *ends_a, info_a = fast.step(actions)
        b, rewards_b, *ends_b, info_b = single.step(actions)
        np.testing.assert_array_equal(rewards_a, rewards_b)
        np.testing.assert_array_equal(ends_a, ends_b)


def test_it_is_circles_but_for_the_picture(tmp_path):
    circles, modes = get_task("circles"), np.arange(3)
    plain, pictured = circles.make_vec(3, modes), TASK.make_vec(3, modes)
    states, (_, info) = plain.reset(seed=5)[0], pictured.reset(seed=5)
    for _ in range(20):
        np.testing.assert_array_equal(info["state"], states)
        actions = circles.expert(states, modes)
        np.testing.assert_array_equal(TASK.expert(None, modes, info), actions)
        states, rewards, *_ = plain.step(actions)
        observations, pictured_rewards, *_, info = pictured.step(actions)
        np.testing.assert_array_equal(pictured_rewards, rewards)
    np.testing.assert_allclose(TASK.picture.points(observations), states[:, -2:], atol=0.1)


def test_its_expert_demonstrates_on_pictures(tmp_path):
    import minari

    collect(TASK, 3, tmp_path / "data", seed=1)
    episodes = list(minari.MinariDataset(tmp_path / "data" / "data"))
    assert [episode.observations.shape for episode in episodes] == [(301, 64, 64, 1)] * 3
    assert episodes[0].observations.dtype == np.uint8
    assert min(episode.rewards.sum() for episode in episodes) > 297
    demonstrations = Demonstrations.load(tmp_path / "data")
    assert demonstrations.observations.dtype == np.uint8
    np.testing.assert_array_equal(demonstrations.observations[:300], episodes[0].observations[:-1])
    TASK.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data")
    # The picture on the page is drawn from the demonstrations: the circle of the episode's mode.
    points = TASK.picture.points(demonstrations.observations[:300])
    radius = TASK.modes.values[load_modes(tmp_path / "data")[0]]
    np.testing.assert_allclose(np.linalg.norm(points - [0, radius], axis=1), abs(radius), atol=1.0)
