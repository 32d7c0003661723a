import os

import gymnasium as gym
import numpy as np
import pytest

from manyways import InputError
from manyways.tasks import Base, base

pytest.importorskip("envpool")


def test_an_id_that_envpool_lacks_falls_back_to_gymnasium():
    gym.register("own/Plain-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    try:
        assert not Base("own/Plain-v0").uses_envpool()
        assert Base("Pendulum-v1").uses_envpool()
        assert not Base("Pendulum-v1", in_envpool=False).uses_envpool()
    finally:
        gym.registry.pop("own/Plain-v0")


@pytest.mark.parametrize("unknown", ["Squares-v0", "nowhere/Squares-v0", "Pendulum-v99"])
def test_an_unknown_id_is_one_sentence(unknown):
    with pytest.raises(InputError, match=rf"Gymnasium has no environment '{unknown}' .*Base\(module=\.\.\.\)"):
        Base(unknown).make()


def test_a_missing_package_is_named_and_only_mujocos_get_that_extra():
    with pytest.raises(InputError, match=r"needs a package that is missing \(No module named 'not_there'\)$"):
        Base("Pendulum-v1", module="not_there").make()
    with pytest.raises(InputError, match=r"'gymnasium_robotics2'\); pip install manyways\[mujoco\]$"):
        Base("FetchReach-v4", module="gymnasium_robotics2").make()


def test_entries_of_a_dictionary_are_joined_or_all_kept():
    space = gym.spaces.Dict(
        position=gym.spaces.Box(-1, 1, (3,)), goal=gym.spaces.Box(-2, 2, (2,)), image=gym.spaces.Box(0, 1, (4, 4))
    )
    observation = {"position": np.arange(6.0).reshape(2, 3), "goal": np.ones((2, 2)), "image": np.zeros((2, 4, 4))}
    joined = Base("x", observation_keys=("goal", "position"), observed=3)
    assert joined.space(space) == gym.spaces.Box(np.float32([-2, -2, -1]), np.float32([2, 2, 1]))
    np.testing.assert_array_equal(joined.observe(observation), [[1, 1, 0], [1, 1, 3]])
    assert Base("x").space(space) == space
    assert Base("x").observe(observation) is observation
    for keys in (("image",), ("nothing",)):
        with pytest.raises(InputError, match=f"{keys[0]} are not all vectors; name entries that are in Base"):
            Base("x", observation_keys=keys).space(space)
    with pytest.raises(InputError, match="are not all vectors"):
        Base("x", observation_keys=("goal",)).space(space["goal"])


@pytest.mark.filterwarnings("error")
def test_envpool_runs_where_the_system_does_not_say_which_processors_there_are(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    pool = Base("Pendulum-v1").make_pool([0, 1], 10)
    assert pool.reset()[0].shape == (2, 3)
    pool.close()
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert base._processors() == 1
