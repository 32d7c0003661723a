import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import manyways  # noqa: F401 (registers the environments)
from manyways.tasks import get_task
from manyways.tasks.circles import EPISODE_STEPS, RADII, CirclesEnv, CirclesVectorEnv, expert_actions, mode_rewards
from manyways.tasks.rollouts import roll_out


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized space")  # metres, as in the paper
@pytest.mark.filterwarnings("error")
def test_it_passes_gymnasiums_checker():
    check_env(gym.make("manyways/Circles-v0", render_mode="rgb_array").unwrapped)


def test_rewards_by_hand():
    positions = np.array([[0.0, 0.0], [0.0, -20.0], [10.0, 20.0]])
    rewards = mode_rewards(positions)
    np.testing.assert_allclose(rewards[0], 1)  # the origin lies on all three circles
    # 20 m under the origin: on the lower circle; 30 m from (0, 10), 20 m off; 40 m from (0, 20), 20 m off.
    np.testing.assert_allclose(rewards[1], [1, np.exp(-10 * 2**2), np.exp(-10 * 1**2)])
    off = np.hypot(10, 10) - 10
    np.testing.assert_allclose(rewards[2, 1], np.exp(-10 * (off / 10) ** 2))


def test_an_observation_is_the_last_five_positions_oldest_first():
    environment = CirclesEnv()
    observation, _ = environment.reset(seed=0)
    np.testing.assert_array_equal(observation, np.zeros(10))
    observations = [observation]
    for _ in range(7):
        observation, *_ = environment.step(np.array([1.0, 0.5], np.float32))
        np.testing.assert_array_equal(observation[:-2], observations[-1][2:])
        observations.append(observation)
    assert 7 - 3 < observations[-1][-2] < 7 + 3


def test_actions_are_clipped_and_noise_has_its_size():
    environments = CirclesVectorEnv(20_000)
    environments.reset(seed=0)
    observations, *_ = environments.step(np.tile([100.0, -1.0], (20_000, 1)))
    np.testing.assert_allclose(observations[:, -2:].mean(axis=0), [1.5, -1.0], atol=0.005)
    np.testing.assert_allclose(observations[:, -2:].std(axis=0), 0.15, rtol=0.02)


def test_an_episode_ends_outside_and_after_1000_steps():
    environment = gym.make("manyways/Circles-v0")
    environment.reset(seed=0)
    steps, terminated = 0, False
    while not terminated:
        observation, _, terminated, truncated, _ = environment.step(np.array([1.5, 0.0], np.float32))
        steps += 1
    assert abs(observation[-2]) > 30
    assert not truncated
    environment.reset(seed=0)
    ends = [environment.step(np.zeros(2, np.float32))[2:4] for _ in range(EPISODE_STEPS)]
    assert ends == [(False, False)] * (EPISODE_STEPS - 1) + [(False, True)]


def test_the_vector_form_does_what_single_environments_do():
    modes = [0, 1, 2]
    fast = gym.make_vec("manyways/Circles-v0", 3, vectorization_mode="vector_entry_point", mode=modes)
    single = SyncVectorEnv([lambda mode=mode: gym.make("manyways/Circles-v0", mode=mode) for mode in modes])
    assert fast.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    rng = np.random.default_rng(0)
    a, b = fast.reset(seed=7)[0], single.reset(seed=7)[0]
    ends = 0
    for _ in range(200):  # fast enough in one direction that episodes end and start anew
        np.testing.assert_array_equal(a, b)
        actions = rng.uniform([0.5, -1.5], [1.5, 1.5], (3, 2)).astype(np.float32)
        (a, *rest_a, info_a), (b, *rest_b, info_b) = fast.step(actions), single.step(actions)
        for x, y in zip(rest_a, rest_b, strict=True):
            np.testing.assert_array_equal(x, y)
        moving = info_b.get("_mode_rewards", np.zeros(3, bool))
        if moving.any():
            np.testing.assert_array_equal(info_a["mode_rewards"][moving], info_b["mode_rewards"][moving])
        ends += int(rest_a[1].sum())
    assert ends > 3


def test_the_reward_is_that_of_the_mode():
    environments = CirclesVectorEnv(3, mode=[0, 1, 2])
    environments.reset(seed=0)
    _, rewards, _, _, info = environments.step(np.ones((3, 2)))
    np.testing.assert_array_equal(rewards, info["mode_rewards"].diagonal())


def test_a_mode_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="mode 3 is not one of 0 to 2"):
        gym.make("manyways/Circles-v0", mode=3)
    with pytest.raises(ValueError, match="not one of 0 to 2"):
        CirclesVectorEnv(2, mode=[0, -1])


def test_the_expert_returns_what_the_papers_does():
    task = get_task("circles")
    modes = np.arange(60) % 3
    rollouts = roll_out(task.make_vec(60, modes), task.expert_under(modes), seed=0)
    own = rollouts.returns[np.arange(60), modes]
    assert own.mean() == pytest.approx(998.3, abs=0.3)  # Table 1
    assert rollouts.lengths.tolist() == [EPISODE_STEPS] * 60
    for mode, radius in enumerate(RADII):
        positions = rollouts.observations[modes == mode][:, 1:, -2:]
        errors = np.linalg.norm(positions - [0, radius], axis=-1) - abs(radius)
        assert errors.std() == pytest.approx(0.15, rel=0.05)  # one step's noise: the expert leaves no error standing


def test_the_expert_stays_in_the_action_box_with_its_direction():
    rng = np.random.default_rng(0)
    observations = np.tile(rng.uniform([-30, -60], [30, 60], (300, 2)), 5)
    modes = rng.integers(3, size=300)
    actions = expert_actions(observations, modes)
    assert np.abs(actions).max() <= 1.5 + 1e-12
    far = np.zeros((1, 10))
    far[0, -2:] = [0, -50]  # 40 m straight under the lower circle's centre: back up, along the turned ray
    (x, y), turn = expert_actions(far, np.array([0]))[0], 2 * np.pi / 100
    target = np.array([0, -10]) + 10 * np.array([np.sin(turn), -np.cos(turn)]) - far[0, -2:]
    assert y == pytest.approx(1.5)
    assert x / y == pytest.approx(target[0] / target[1])


def test_it_renders_the_path():
    environment = gym.make("manyways/Circles-v0", render_mode="rgb_array")
    environment.reset(seed=0)
    before = environment.render()
    for _ in range(20):
        environment.step(np.array([1.0, 1.0], np.float32))
    after = environment.render()
    assert before.shape == after.shape == (480, 480, 3)
    assert before.dtype == np.uint8
    assert (before != after).any()
