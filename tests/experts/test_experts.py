from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from manyways import InputError
from manyways.experts import CrossQ, read_progress, train_expert
from manyways.experts import train as train_module
from manyways.files import read_tensors, write_tensors
from manyways.tasks import Picture, Task, get_task, register_task, velocities
from manyways.tasks.expert import Expert, Floor
from manyways.tasks.task import _TASKS

MODES = velocities((-0.5, 0.5))


class Line(gym.Env):
    """A point that goes where it is told; rewarded near the mode's place."""

    def __init__(self, mode=None):
        self.observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
        self.action_space = gym.spaces.Box(-2, 2, (1,), np.float32)
        self.mode = mode or 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.1, 0.1)
        return np.array([self.place, 1], np.float32), {}

    def step(self, action):
        self.place = float(np.clip(self.place + 0.25 * action[0], -1, 1))
        rewards = -np.abs(self.place - np.array(MODES.values))
        terminated = self.place > 0.95
        return (
            np.array([self.place, 1], np.float32),
            float(rewards[self.mode]),
            terminated,
            False,
            {"mode_rewards": rewards},
        )


def make_lines(num_envs, mode=None, max_episode_steps=10):
    modes = np.broadcast_to(0 if mode is None else mode, (num_envs,))
    makers = [lambda mode=mode: gym.wrappers.TimeLimit(Line(mode), max_episode_steps) for mode in modes]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.NEXT_STEP)


@pytest.fixture
def line(monkeypatch):
    task = Task(
        name="line",
        environment="own/Line-v0",
        modes=MODES,
        episode_steps=10,
        demonstrations=4,
        picture=Picture(lambda observations: observations, ("", "")),
        entry_point=(Line, make_lines),
        floor=Floor(-2.0, least=(-2.0, -2.0)),
    )
    register_task(task)
    small = CrossQ(
        environments=4, random_steps=80, batch=32, buffer=2000, hidden=32, steps_per_update=2, averaging=0.98
    )
    monkeypatch.setitem(train_module._SETTINGS, "line", small)
    monkeypatch.setattr(train_module, "_EPISODES", 8)
    monkeypatch.setattr(train_module, "_SECONDS_BETWEEN_PROBES", 0.3)
    monkeypatch.setattr(train_module, "_PROBES_SHARE", 0.5)
    yield task
    _TASKS.pop("line")
    gym.registry.pop("own/Line-v0")


def test_an_expert_learns_every_mode_and_stops_at_its_floor(line, tmp_path):
    expert = train_expert(line, tmp_path / "run", command="manyways expert train line", hours=0.02)
    assert expert.card["floor_reached"], read_progress(tmp_path / "run")
    assert min(expert.card["returns"]) >= -2.0
    assert expert.card["command"] == "manyways expert train line"
    trained = line.with_expert(Expert.load(tmp_path / "run", "line"))
    actions = trained.expert(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0, 1]))
    assert actions[0, 0] < 0
    assert actions[1, 0] > 0
    # A run that has reached its floor has nothing left to do, and one of other settings is refused.
    with pytest.raises(InputError, match="the training of another expert or with other settings"):
        train_expert(line, tmp_path / "run", command="", seed=1)


def test_training_goes_on_where_it_stopped(line, tmp_path, monkeypatch):
    monkeypatch.setitem(line.__dict__, "floor", Floor(100.0))
    train_expert(line, tmp_path, command="", hours=0.7 / 3600)
    first = read_progress(tmp_path)
    train_expert(line, tmp_path, command="", hours=1.4 / 3600)
    lines = read_progress(tmp_path)
    assert lines[: len(first)] == first
    assert lines[len(first)]["updates"] > first[-1]["updates"]
    assert lines[len(first)]["seconds"] > first[-1]["seconds"]


def test_a_checkpoint_holds_everything(line, tmp_path):
    settings = train_module._SETTINGS["line"]
    training = settings.start(line)
    for _ in range(60):
        training.step()
    write_tensors(tmp_path / "checkpoint.safetensors", training.state())
    restored = settings.start(line)
    restored.restore(read_tensors(tmp_path / "checkpoint.safetensors"))
    old, new = training.state(), restored.state()
    assert old.keys() == new.keys()
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, rtol=0, atol=0, msg=name)


def test_the_step_that_resets_is_not_remembered(line):
    training = train_module._SETTINGS["line"].start(line)
    for _ in range(20):
        training.step()
    state = training.state()
    moved = (state["memory.next_observations"] - state["memory.observations"])[:, 0]
    wanted = (state["memory.observations"][:, 0] + 0.5 * state["memory.actions"][:, 0]).clamp(-1, 1)
    torch.testing.assert_close(state["memory.observations"][:, 0] + moved, wanted, atol=1e-5, rtol=0)
    # Ends count as ends only where the point left, not where time ran out.
    left = state["memory.next_observations"][:, 0] > 0.95
    torch.testing.assert_close(state["memory.continues"], (~left).float())


def test_steps_cost_what_they_shall_and_only_at_first(line):
    settings = CrossQ(environments=4, random_steps=8, batch=8, buffer=400, hidden=4, steps_per_update=4)
    training = replace(settings, costs=(0.5,), costly_updates=3).start(line)
    seen = []
    while training.updates < 6:
        costly, written = training.updates < 3, training._written
        training.step()
        rows = slice(written, training._written)
        if training._written - written == len(training.environment.modes):  # none was reset
            places = training._memory["next_observations"][rows, 0].numpy()
            wanted = np.array(MODES.values)[training.environment.modes]
            cost = -np.abs(places - wanted) - training._memory["rewards"][rows].numpy()
            np.testing.assert_allclose(cost, np.where(costly & (training.environment.modes == 0), 0.5, 0.0), atol=1e-5)
            seen.append(costly)
    assert set(seen) == {True, False}


def test_the_learning_rate_halves():
    settings = CrossQ(learning_rate=0.01, constant_updates=10, half_life=5)
    assert [settings.learning_rate_at(update) for update in (0, 10, 15, 20)] == [0.01, 0.01, 0.005, 0.0025]
    assert CrossQ(learning_rate=0.01).learning_rate_at(10**6) == 0.01


def test_the_layers_are_the_averaged_policy(line):
    training = train_module._SETTINGS["line"].start(line)
    for _ in range(60):
        training.step()
    inputs = torch.randn(16, 4)
    with torch.no_grad():
        mean = training.averaged.eval()(inputs)[:, :1].tanh().numpy() * 2
    np.testing.assert_allclose(Expert(training.layers(), {})(inputs.numpy()), mean, atol=1e-5)


def test_what_needs_no_training_is_refused(tmp_path):
    with pytest.raises(InputError, match="scripted expert"):
        train_expert(get_task("circles"), tmp_path, command="")


def test_a_floor_asks_for_every_mode():
    assert Floor(10.0).reached(np.array([11.0, 12.0]))
    assert not Floor(10.0).reached(np.array([20.0, 12.0]))  # below 80% of the best
    assert not Floor(10.0).reached(np.array([9.0, 9.0]))
    assert Floor(10.0, least=(5.0, 20.0)).reached(np.array([6.0, 21.0]))
    assert not Floor(10.0, least=(5.0, 20.0)).reached(np.array([6.0, 19.0]))


def test_a_damaged_expert_is_refused(line, tmp_path):
    train_expert(line, tmp_path, command="", hours=0.4 / 3600)
    (tmp_path / "line.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"line\.safetensors"):
        Expert.load(tmp_path, "line")
