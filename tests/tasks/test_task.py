import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from manyways import Demonstrations, InputError
from manyways.tasks import Base, Picture, Task, get_task, velocities
from manyways.tasks.collect import collect
from manyways.tasks.expert import Expert
from manyways.tasks.rollouts import roll_out

OWN = """
from manyways.tasks import Base, Picture, Task, velocities

SWING = Task(
    name="swing",
    environment="own/Swing-v0",
    modes=velocities((-1.0, 1.0)),
    episode_steps=40,
    demonstrations=6,
    picture=Picture(lambda observations: observations[:, :2], ("cos", "sin")),
    base=Base("Pendulum-v1", in_envpool=False),
    rewards=lambda step, modes: -abs(step.observation[:, 2:] - modes),
    scripted_expert=lambda observations, modes: (2.0 * modes - 1)[:, None],
)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_tasks:SWING"
    sys.modules.pop("own_tasks", None)


def test_a_task_of_one_s_own_works_like_the_others(own_module, tmp_path):
    task = get_task(own_module)
    assert get_task("swing") is task
    environment = task.make_vec(2, np.array([0, 1]))
    environment.reset(seed=0)
    _, rewards, _, _, info = environment.step(np.zeros((2, 1), np.float32))
    np.testing.assert_allclose(rewards, np.stack(list(info["mode_rewards"]))[[0, 1], [0, 1]])
    environment.close()
    collect(task, 6, tmp_path / "data")
    assert Demonstrations.load(tmp_path / "data").lengths.tolist() == [40] * 6


def test_a_task_of_one_s_own_can_be_trained_and_evaluated(own_module, tmp_path, command, monkeypatch):
    monkeypatch.setenv("MANYWAYS_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    code, _, error = command("train", "--task", own_module, "--out", run, "--iterations", 5, "--hidden", 8)
    assert code == 0, error
    code, output, error = command("evaluate", run, "--episodes", 4)
    assert code == 0, error
    assert "-1 m/s" in output


def test_what_is_no_task_is_refused(own_module):
    with pytest.raises(InputError, match="there is no task 'squares'; the tasks are circles, circles-images"):
        get_task("squares")
    with pytest.raises(InputError, match="No module named"):
        get_task("nowhere:TASK")
    with pytest.raises(InputError, match="own_tasks:OWN"):
        get_task("own_tasks:OWN")
    with pytest.raises(InputError, match="is a function, not a"):
        get_task("own_tasks:velocities")


@pytest.fixture
def declare():
    """Return a function that declares a task over an environment of Gymnasium's own; it is forgotten afterwards."""

    def task(base, rewards=lambda step, modes: -abs(step.observation[:, :1] - modes), **others):
        settings = {"name": "own", "modes": velocities((-1.0, 1.0)), "episode_steps": 30, "demonstrations": 4}
        settings["picture"] = Picture(lambda observations: observations[:, :2], ("", ""))
        return Task(environment="own/Own-v0", base=base, rewards=rewards, **(settings | others))

    return task


def test_a_task_without_an_expert_says_how_to_get_one(declare, own_module):
    task = declare(Base("Pendulum-v1"), name="nobody")
    assert not task.has_expert
    with pytest.raises(InputError, match="nobody has no expert; train one with `manyways expert train nobody`"):
        task.expert(np.zeros((1, 3)), np.zeros(1, int))
    for name in ("circles", "ant-dir-6"):
        assert get_task(name).has_expert
    # As it was asked for, which is how the advice works.
    swing = replace(get_task(own_module), scripted_expert=None)
    with pytest.raises(InputError, match="`manyways expert train own_tasks:SWING` and give its folder as --weights"):
        swing.require_expert()


def test_weights_are_another_expert_and_part_of_what_is_advised(own_module, tmp_path):
    layers = {"weight.0": np.ones((1, 5), np.float32), "bias.0": np.zeros(1, np.float32)}
    Expert(layers | {"action_scale": np.full(1, 2, np.float32)}, {}).save(tmp_path / "my experts", "swing")
    task = get_task(own_module, tmp_path / "my experts")
    assert task.has_expert
    np.testing.assert_allclose(task.expert(np.zeros((1, 3)), np.array([0])), [[2 * np.tanh(1)]], rtol=1e-6)
    assert task.as_argument == f"own_tasks:SWING --weights '{tmp_path / 'my experts'}'"
    assert get_task(own_module).as_argument == "own_tasks:SWING"
    assert get_task(own_module).scripted_expert is not None  # the others have their own expert still
    with pytest.raises(InputError, match=r"swing\.json does not exist"):
        get_task(own_module, tmp_path)


def test_a_task_registers_itself_on_first_use_and_again_when_it_is_declared_otherwise(declare):
    task = declare(Base("Pendulum-v1", in_envpool=False))
    assert task.environment not in gym.registry
    environment = task.make()
    environment.reset(seed=0)
    _, reward, *_ = environment.step(np.zeros(1, np.float32))
    other = replace(task, rewards=lambda step, modes: -abs(step.observation[:, :1] - modes) - 100)
    environment = other.make()
    environment.reset(seed=0)
    assert environment.step(np.zeros(1, np.float32))[1] == pytest.approx(reward - 100)


@pytest.mark.parametrize("in_envpool", [True, False])
def test_rewards_of_one_dimension_are_one_sentence(declare, in_envpool):
    task = declare(Base("Pendulum-v1", in_envpool=in_envpool), lambda step, wanted: -abs(step.observation[:, 0]))
    environment = task.make_vec(3)
    environment.reset(seed=0)
    with pytest.raises(InputError, match=r"rewards have shape \((3|1),\); return one for each environment and mode"):
        environment.step(np.zeros((3, 1)))
    environment.close()


def test_observation_and_goal_can_be_joined_and_a_dictionary_can_be_kept(declare):
    pytest.importorskip("gymnasium_robotics")
    fetch = get_task("fetch-reach").base
    task = declare(replace(fetch, observation_keys=("desired_goal", "observation"), show_mode=None))
    kept = declare(
        replace(fetch, observation_keys=None, show_mode=None),
        lambda step, modes: step.observation["achieved_goal"][:, :1] * modes,
    )
    for form in ("fastest", "gymnasium"):
        environment = task.make_vec(2, vector_form=form)
        assert environment.single_observation_space.shape == (13,)
        assert environment.reset(seed=0)[0].shape == (2, 13)
        environment.close()
        environment = kept.make_vec(2, vector_form=form)
        observations, _ = environment.reset(seed=0)
        assert observations["observation"].shape == (2, 10)
        rewards = environment.step(np.zeros((2, 4)))[4]["mode_rewards"]
        assert rewards.shape == (2, 2)
        np.testing.assert_allclose(rewards[:, 0], -rewards[:, 1])
        environment.close()
    rollouts = roll_out(kept.make_vec(2), lambda observations, info: np.zeros((2, 4)), seed=0)
    assert rollouts.observations["desired_goal"].shape == (2, 31, 3)
    assert {name: array.shape for name, array in rollouts.observations_of(1).items()} == {
        "observation": (31, 10),
        "achieved_goal": (31, 3),
        "desired_goal": (31, 3),
    }


def test_policies_of_another_task_are_refused():
    task = get_task("circles")
    task.require_spaces(*task.spaces, "it")
    with pytest.raises(InputError, match=r"an observation of the data is .*\(3,\).* but of circles .*\(10,\)"):
        task.require_spaces(gym.spaces.Box(-1, 1, (3,)), task.spaces[1], "the data")


def test_the_share_of_actions_outside_the_space_is_reported():
    observations, actions = np.zeros((1, 8, 10)), np.zeros((1, 8, 2))
    actions[0, :2, 1] = [3.0, -1.6]
    demonstrations = Demonstrations.from_arrays([(observations[0], actions[0])])
    assert get_task("circles").actions_outside(demonstrations) == 0.25
