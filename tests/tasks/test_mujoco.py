import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from manyways import InputError
from manyways.tasks import DiscreteModes, base, get_task, task_names
from manyways.tasks.mode_rewards import EnvPoolModeRewards, Step
from manyways.tasks.mujoco import (
    GRIPPER_START,
    TASKS,
    ant,
    half_cheetah_direction,
    half_cheetah_velocity,
    humanoid,
    reach,
    walk_at_velocity,
)
from manyways.tasks.rollouts import roll_out_expert

pytest.importorskip("envpool")

NAMES = [task.name for task in TASKS]


def noiseless(task):
    return {} if task.name == "fetch-reach" else {"reset_noise_scale": 0.0}


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_agree(name):
    task = get_task(name)
    modes = task.modes.sample(3, np.random.default_rng(0))
    fast = task.make_vec(3, modes, **noiseless(task))
    plain = task.make_vec(3, modes, vector_form="gymnasium", **noiseless(task))
    assert isinstance(fast, EnvPoolModeRewards)
    assert fast.single_observation_space == plain.single_observation_space
    assert fast.single_action_space == plain.single_action_space
    assert fast.metadata["autoreset_mode"] == plain.metadata["autoreset_mode"]
    # FetchReach's reset lets the arm settle, which the two do to eight digits alike.
    tolerance = 1e-7 if name == "fetch-reach" else 0.0
    (observation, _), (expected, _) = fast.reset(seed=1), plain.reset(seed=1)
    np.testing.assert_allclose(observation, expected, rtol=0, atol=tolerance)
    rng = np.random.default_rng(1)
    space = fast.single_action_space
    ends = 0
    for _ in range(55):  # FetchReach's episodes end after 50, walkers fall
        actions = rng.uniform(space.low, space.high, (3, *space.shape)).astype(space.dtype)
        observation, reward, terminated, truncated, info = fast.step(actions)
        expected, its_reward, its_terminated, its_truncated, its_info = plain.step(actions)
        np.testing.assert_allclose(observation, expected, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(terminated, its_terminated)
        np.testing.assert_array_equal(truncated, its_truncated)
        np.testing.assert_allclose(reward, its_reward, rtol=0, atol=1e-12)
        moving = info["_mode_rewards"]
        assert info["mode_rewards"].shape == (3, len(task.modes))
        if moving.any():
            np.testing.assert_array_equal(moving, its_info["_mode_rewards"])
            its_rewards = np.stack(list(its_info["mode_rewards"]))
            np.testing.assert_allclose(info["mode_rewards"], its_rewards, rtol=0, atol=1e-12)
        ends += (terminated | truncated).sum()
    assert ends > 0 or task.episode_steps == 200
    fast.close()
    plain.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_single_form_is_a_gymnasium_environment(name):
    task = get_task(name)
    environment = task.make()
    check_env(environment.env, skip_render_check=True)
    environment.reset(seed=0)
    _, reward, _, _, info = environment.step(environment.action_space.sample())
    assert info["mode_rewards"].shape == (len(task.modes),)
    assert reward == info["mode_rewards"][0]
    environment.close()


def test_the_time_limit_ends_an_episode():
    environment = get_task("halfcheetah-fwd-back").make_vec(2)
    environment.reset(seed=0)
    for step in range(1, 202):
        _, rewards, terminated, truncated, info = environment.step(np.zeros((2, 6)))
        assert not terminated.any()
        assert truncated.all() == (step == 200)
    # The step after the end starts anew; its action and its reward count for nothing.
    assert not rewards.any()
    assert not info["mode_rewards"].any()
    assert not info["_mode_rewards"].any()
    environment.close()


def test_seeds_repeat_and_differ():
    environment = get_task("hopper-vel-6").make_vec(3)
    first, _ = environment.reset(seed=5)
    again, _ = environment.reset(seed=5)
    other, _ = environment.reset(seed=6)
    np.testing.assert_array_equal(again, first)
    np.testing.assert_array_equal(other[:2], first[1:])  # environment i has seed + i
    assert not np.array_equal(first[0], first[1])
    unseeded, _ = environment.reset()
    assert not np.array_equal(unseeded, other)
    environment.close()


def test_without_envpool_everything_still_works(monkeypatch):
    monkeypatch.setattr(base, "has_envpool", lambda: False)
    task = get_task("halfcheetah-fwd-back")
    environment = task.make_vec(2, np.array([0, 1]))
    assert not isinstance(environment, EnvPoolModeRewards)
    environment.reset(seed=0)
    _, rewards, _, _, info = environment.step(np.ones((2, 6)))
    np.testing.assert_allclose(rewards, np.stack(list(info["mode_rewards"]))[[0, 1], [0, 1]])
    environment.close()


def test_registered_environments_make_the_same():
    task = get_task("ant-dir-6")
    single = gym.make(task.environment, mode=2, reset_noise_scale=0.0)
    many = gym.make_vec(task.environment, 2, vectorization_mode="vector_entry_point", mode=2, reset_noise_scale=0.0)
    np.testing.assert_array_equal(single.reset(seed=0)[0], many.reset(seed=0)[0][0])
    action = np.full(8, 0.3)
    assert single.step(action)[1] == pytest.approx(many.step(np.stack([action, action]))[1][0], abs=1e-12)
    single.close()
    many.close()


def test_a_mode_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mode 6 is not one of 0 to 5"):
        get_task("ant-dir-6").make(6)
    with pytest.raises(ValueError, match=r"mode 3\.5 is not between"):
        get_task("halfcheetah-vel").make(3.5)


def step_of(n=1, info=None, action=None, observation=None, last=False):
    return Step(
        np.zeros((n, 3)) if observation is None else np.asarray(observation, float),
        np.zeros((n, 2)) if action is None else np.asarray(action, float),
        {key: np.asarray(value, float) for key, value in (info or {}).items()},
        np.full(n, last),
    )


def test_rewards_are_the_paper_s_formulas():
    info = {"x_velocity": [2.0], "y_velocity": [-1.0], "reward_contact": [-0.01]}
    step = step_of(info=info, action=[[0.6, 0.8]])  # the squares sum to 1
    right_angles = np.array([[0, np.pi / 2, np.pi]])
    np.testing.assert_allclose(ant(step, right_angles), np.array([[2, -1, -2]]) - 0.5 - 0.01 + 1)
    np.testing.assert_allclose(humanoid(step, right_angles), 1.25 * np.array([[2, -1, -2]]) - 0.1 - 0.01 + 5)
    np.testing.assert_allclose(half_cheetah_direction(step, np.array([[-1.0, 1.0]])), [[-2.05, 1.95]])
    np.testing.assert_allclose(half_cheetah_velocity(step, np.array([[1.5]])), [[-0.55]])
    np.testing.assert_allclose(walk_at_velocity(step, np.array([[-1.5, 2.0]])), [[1.5 - 3.5 + 0.999, 2 + 0.999]])


def test_a_goal_is_hit_at_the_last_step_only():
    at = GRIPPER_START + np.array([[0.1, 0.0, 0.03], [0.1, 0.0, 0.06]])
    goals = np.array([[[0.1, 0.0, 0.0]], [[0.1, 0.0, 0.0]]])
    np.testing.assert_array_equal(reach(step_of(2, observation=at, last=True), goals), [[1], [0]])
    np.testing.assert_array_equal(reach(step_of(2, observation=at), goals), [[0], [0]])


def test_the_gripper_starts_where_goals_are_measured_from():
    environment = get_task("fetch-reach").make()
    observation, _ = environment.reset(seed=0)
    np.testing.assert_allclose(observation[:3], GRIPPER_START, atol=1e-4)
    environment.close()


@pytest.mark.parametrize(
    ("name", "ends"),
    [("ant-dir-6", False), ("walker2d-vel-6", True), ("hopper-vel-6", True), ("humanoid-dir-6", True)],
)
def test_walkers_that_fall_end_and_halfway_does_not(name, ends):
    """With no torque the walkers fall within 200 steps, the ant stands."""
    task = get_task(name)
    environment = task.make_vec(1)
    environment.reset(seed=0)
    ended = [environment.step(np.zeros((1, *environment.single_action_space.shape)))[2][0] for _ in range(200)]
    assert any(ended) == ends
    environment.close()


def test_continuous_modes_have_no_list():
    assert isinstance(get_task("ant-dir-6").discrete_modes, DiscreteModes)
    with pytest.raises(InputError, match="no list of modes but a range"):
        _ = get_task("halfcheetah-vel").discrete_modes
    assert len(task_names()) == 10


def test_pictures_show_the_goal_of_the_mode():
    goal = np.array([0.1, -0.05, 0.02])
    environment = get_task("fetch-reach").make(goal)
    environment.reset(seed=0)
    np.testing.assert_allclose(environment.unwrapped.goal, GRIPPER_START + goal)
    environment.close()


def test_fetch_reachs_script_reaches_every_goal():
    task = get_task("fetch-reach")
    goals = task.modes.spread(20)
    assert roll_out_expert(task, goals, seed=0).rewards_under(task.modes, goals).sum(axis=1).tolist() == [1.0] * 20
