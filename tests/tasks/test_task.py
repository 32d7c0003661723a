import sys

import gymnasium as gym
import numpy as np
import pytest

from manyways import Demonstrations, InputError
from manyways.tasks import Base, Picture, Task, get_task, register_task, velocities
from manyways.tasks.collect import collect
from manyways.tasks.task import _TASKS

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
    rewards=lambda step, wanted: -abs(step.observation[:, 2:] - wanted),
    scripted_expert=lambda observations, modes: (2.0 * modes - 1)[:, None],
)
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_tasks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_tasks:SWING"
    for name in ("swing", "own_tasks:SWING"):
        _TASKS.pop(name, None)
    gym.registry.pop("own/Swing-v0", None)
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


def test_a_task_without_an_expert_says_how_to_get_one():
    task = Task(
        name="nobody",
        environment="own/Nobody-v0",
        modes=velocities((1.0,)),
        episode_steps=10,
        demonstrations=1,
        picture=Picture(lambda observations: observations, ("", "")),
        base=Base("Pendulum-v1", in_envpool=False),
        rewards=lambda step, wanted: np.zeros((len(step.action), 1)),
    )
    register_task(task)
    with pytest.raises(InputError, match="nobody has no expert; train one with `manyways expert train nobody`"):
        task.expert(np.zeros((1, 3)), np.zeros(1, int))
    _TASKS.pop("nobody")
    gym.registry.pop("own/Nobody-v0")
