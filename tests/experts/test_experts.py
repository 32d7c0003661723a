from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from manyways import InputError
from manyways.experts import CrossQ, ModePPO, Phase, read_progress, train_expert
from manyways.experts import train as train_module
from manyways.files import read_tensors, write_tensors
from manyways.rl.settings import PPO
from manyways.tasks import Picture, Task, get_task, register_task, velocities
from manyways.tasks.expert import Expert, TargetReturn

MODES = velocities((-0.5, 0.5))


class Line(gym.Env):
    """A point that moves by its action; rewarded near the mode's place."""

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
        target_return=TargetReturn(-2.0, least=(-2.0, -2.0)),
    )
    register_task(task)
    small = CrossQ(
        environments=4, random_steps=80, batch=32, buffer=2000, hidden=32, steps_per_update=2, averaging=0.98
    )
    monkeypatch.setitem(train_module._SETTINGS, "line", small)
    monkeypatch.setattr(train_module, "_EPISODES", 8)
    monkeypatch.setattr(train_module, "_SECONDS_BETWEEN_EVALUATIONS", 0.3)
    monkeypatch.setattr(train_module, "_EVALUATIONS_SHARE", 0.5)
    return task


def test_an_expert_learns_every_mode_and_stops_at_its_floor(line, tmp_path):
    expert = train_expert(line, tmp_path / "run", command="manyways expert train line", hours=0.02)
    assert expert.card["target_reached"], read_progress(tmp_path / "run")
    assert min(expert.card["returns"]) >= -2.0
    assert expert.card["command"] == "manyways expert train line"
    trained = line.with_expert(Expert.load(tmp_path / "run", "line"))
    actions = trained.expert(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0, 1]))
    assert actions[0, 0] < 0
    assert actions[1, 0] > 0
    # A run that has reached its target_return has nothing left to do, and one of other settings is refused.
    with pytest.raises(InputError, match="the training of another expert or with other settings"):
        train_expert(line, tmp_path / "run", command="", seed=1)


def test_training_goes_on_where_it_stopped(line, tmp_path, monkeypatch):
    monkeypatch.setitem(line.__dict__, "target_return", TargetReturn(100.0))
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
    write_tensors(tmp_path / "checkpoint.safetensors", training.state_dict())
    restored = settings.start(line)
    restored.load_state_dict(read_tensors(tmp_path / "checkpoint.safetensors"))
    old, new = training.state_dict(), restored.state_dict()
    assert old.keys() == new.keys()
    for name, tensor in old.items():
        torch.testing.assert_close(new[name], tensor, rtol=0, atol=0, msg=name)


def test_the_step_that_resets_is_not_remembered(line):
    training = train_module._SETTINGS["line"].start(line)
    for _ in range(20):
        training.step()
    state = training.state_dict()
    moved = (state["memory.next_observations"] - state["memory.observations"])[:, 0]
    wanted = (state["memory.observations"][:, 0] + 0.5 * state["memory.actions"][:, 0]).clamp(-1, 1)
    torch.testing.assert_close(state["memory.observations"][:, 0] + moved, wanted, atol=1e-5, rtol=0)
    # Ends count as ends only where the point left, not where time ran out.
    left = state["memory.next_observations"][:, 0] > 0.95
    torch.testing.assert_close(state["memory.continues"], (~left).float())


@pytest.fixture
def by_ppo(line, monkeypatch):
    ppo = PPO(steps_per_update=20, minibatch=64, hidden=16, log_std=-0.5)
    phases = tuple(Phase(steps=10_000, learning_rate=3e-3, environments=4) for _ in range(2))
    settings = ModePPO(ppo=ppo, phases=phases, costs=(0.5,), costly_steps=800)
    monkeypatch.setitem(train_module._SETTINGS, "line", settings)
    return settings


def test_ppo_learns_every_mode_too_and_ends_where_its_steps_are_taken(line, by_ppo, tmp_path, monkeypatch):
    # To stand still is worth -5. When it is evaluated depends on the clock, so the target is one that it stays above.
    monkeypatch.setitem(line.__dict__, "target_return", TargetReturn(-2.5, least=(-4.5, -4.5)))
    expert = train_expert(line, tmp_path / "run", command="", hours=0.05)
    assert expert.card["target_reached"], read_progress(tmp_path / "run")
    assert min(expert.card["returns"]) >= -4.5
    monkeypatch.setitem(line.__dict__, "target_return", TargetReturn(100.0))
    few = replace(by_ppo, phases=(replace(by_ppo.phases[0], steps=1600),))
    monkeypatch.setitem(train_module._SETTINGS, "line", few)
    monkeypatch.setattr(train_module, "_SECONDS_BETWEEN_EVALUATIONS", 0.0)
    assert train_expert(line, tmp_path / "few", command="").card["environment_steps"] <= 1600 + 8 * 20
    assert not Expert.load(tmp_path / "few", "line").card["target_reached"]


def modes_ppo(**settings):
    ppo = PPO(steps_per_update=32, minibatch=64, hidden=16)
    phases = (Phase(steps=40_000, learning_rate=3e-3, environments=4),)
    return ModePPO(**({"ppo": ppo, "phases": phases} | settings))


def test_a_checkpoint_of_ppo_holds_everything(line):
    training = modes_ppo().start(line)
    for _ in range(3):
        training.step()
    restored = modes_ppo().start(line)
    restored.load_state_dict(training.state_dict())
    assert (restored.steps, restored.updates) == (training.steps, training.updates)
    assert training.updates > 0
    old, new = training.layers(), restored.layers()
    assert old.keys() == new.keys()
    for name, layer in old.items():
        np.testing.assert_array_equal(new[name], layer, err_msg=name)


def test_steps_cost_what_they_shall_and_less_and_less(line, monkeypatch):
    training = modes_ppo(costs=(0.5,), costly_steps=500).start(line)
    modes = torch.arange(2).repeat_interleave(4)
    rollouts = []
    learn = training._ppo.learn
    monkeypatch.setattr(training._ppo, "learn", lambda rollout: (rollouts.append(rollout), learn(rollout))[1])
    for _ in range(4):
        before = training.steps
        training.step()
        rollout = rollouts[-1]
        wanted = -(rollout.observations[1:, :, 0] - torch.tensor(MODES.values)[modes]).abs()
        costs = (wanted - rollout.rewards)[rollout.valid]
        of_first = (modes == 0).expand_as(rollout.valid)[rollout.valid]
        cost = 0.5 * max(0.0, 1 - before / 500)
        torch.testing.assert_close(costs, torch.where(of_first, cost, 0.0), atol=1e-5, rtol=0)
    assert training.steps > 500 > rollouts[0].valid.sum()


def test_a_phase_goes_on_from_the_networks_of_the_one_before(line):
    # Two updates of 4 x 2 x 32 steps, but for resets, end the first.
    first = Phase(steps=400, learning_rate=3e-3, environments=4)
    second = Phase(steps=1000, environments=(1, 3), noise=(0.2, 0.05), copy_mode=((0, 1),))
    settings = modes_ppo(phases=(first, second))
    training = settings.start(line)
    for _ in range(2):
        training.step()
    before = training.state_dict()
    assert 400 <= before["steps"] == training.steps
    assert not training.finished
    alone = modes_ppo(phases=(first,)).start(line)
    alone.load_state_dict(before)
    assert alone.finished

    training.step()
    learned = training.state_dict()
    assert learned["phase"] == 1
    assert training.steps == before["steps"] + learned["steps"]
    assert training._ppo._collector.environment.num_envs == 4
    assert learned["optimizer.0.step"] == training.updates - before["gradient_steps"]
    # It began with the networks of the first, noise aside, and the first mode with the way of the second.
    torch.testing.assert_close(
        learned["network.actor.state.2.weight"], before["network.actor.state.2.weight"], atol=0.02, rtol=0
    )
    of_modes = learned["network.actor.code.weight"], before["network.actor.code.weight"]
    torch.testing.assert_close(of_modes[0], of_modes[1][:, [1, 1]], atol=0.02, rtol=0)
    assert (of_modes[1][:, 0] - of_modes[1][:, 1]).abs().max() > 0.1
    torch.testing.assert_close(learned["network.log_std"].exp(), torch.full((1,), 0.2), atol=0.01, rtol=0)

    again = settings.start(line)
    again.load_state_dict(learned)
    assert (again.steps, again.updates) == (training.steps, training.updates)
    assert again._ppo._collector.environment.num_envs == 4
    while not again.finished:
        again.step()
    assert again.state_dict()["network.log_std"].exp().max() <= 0.07
    assert 1000 <= again.steps - before["steps"] <= 1000 + 4 * 32


def test_the_layers_are_ppos_policy(line):
    training = modes_ppo().start(line)
    for _ in range(3):
        training.step()
    inputs = torch.randn(16, 4)
    inputs[:, 1] = 1  # it never varies, and so is in units of next to nothing
    inputs[:, 2:] = torch.eye(2).repeat(8, 1)
    network = training._ppo.network
    with torch.no_grad():
        mean = network.means(network.actor.observations(inputs[:, :2]), inputs[:, 2:]).numpy().clip(-1, 1) * 2
    assert np.ptp(mean) > 0
    np.testing.assert_allclose(Expert(training.layers(), {})(inputs.numpy()), mean, atol=1e-3)


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


def test_a_target_asks_for_every_mode():
    assert TargetReturn(10.0).reached(np.array([11.0, 12.0]))
    assert not TargetReturn(10.0).reached(np.array([20.0, 12.0]))  # below 80% of the best
    assert not TargetReturn(10.0).reached(np.array([9.0, 9.0]))
    assert TargetReturn(10.0, least=(5.0, 20.0)).reached(np.array([6.0, 21.0]))
    assert not TargetReturn(10.0, least=(5.0, 20.0)).reached(np.array([6.0, 19.0]))


def test_a_damaged_expert_is_refused(line, tmp_path):
    train_expert(line, tmp_path, command="", hours=0.4 / 3600)
    (tmp_path / "line.safetensors").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"line\.safetensors"):
        Expert.load(tmp_path, "line")
