from dataclasses import replace

import gymnasium as gym
import minari
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from manyways import Demonstrations, InputError, load_modes
from manyways.tasks import Base, Picture, Task, get_task, velocities
from manyways.tasks.collect import collect


def test_the_same_seed_collects_the_same(tmp_path, circles_folder):
    collect(get_task("circles"), 30, tmp_path / "again", seed=0)
    collect(get_task("circles"), 30, tmp_path / "other", seed=1)
    first, again, other = map(Demonstrations.load, (circles_folder, tmp_path / "again", tmp_path / "other"))
    np.testing.assert_array_equal(again.observations, first.observations)
    np.testing.assert_array_equal(again.actions, first.actions)
    assert not np.array_equal(other.observations, first.observations)


def test_the_number_of_threads_makes_no_difference(tmp_path):
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            collect(get_task("halfcheetah-vel"), 100, tmp_path / str(threads))
    first, again = (Demonstrations.load(tmp_path / name) for name in "12")
    np.testing.assert_array_equal(again.actions, first.actions)


def test_the_data_set_holds_what_happened(circles_folder):
    dataset = minari.MinariDataset(circles_folder / "data")
    modes = load_modes(circles_folder)
    assert set(modes) == {0, 1, 2}
    for episode, mode in zip(dataset, modes, strict=True):
        assert len(episode) == 1000
        assert episode.observations.shape == (1001, 10)
        assert episode.truncations[-1]
        # The reward recorded is that of the episode's own mode, and a next position is where the action led.
        assert episode.rewards.sum() == pytest.approx(998.3, abs=4)
        moved = episode.observations[1:, -2:] - episode.observations[:-1, -2:] - episode.actions
        assert moved.std() == pytest.approx(0.15, rel=0.1)
        assert mode in (0, 1, 2)


def test_minari_makes_the_environment_again(circles_folder):
    environment = minari.MinariDataset(circles_folder / "data").recover_environment()
    assert environment.spec.id == "manyways/Circles-v0"
    assert environment.reset(seed=0)[0].shape == (10,)


def test_no_episodes_and_an_occupied_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="0 episodes are no demonstrations"):
        collect(get_task("circles"), 0, tmp_path / "none")
    (tmp_path / "here").write_text("")
    with pytest.raises(InputError, match="holds something already"):
        collect(get_task("circles"), 5, tmp_path)


def test_noise_is_on_the_executed_actions_and_not_on_the_recorded_ones(tmp_path):
    task = get_task("halfcheetah-vel")
    collect(task, 3, tmp_path / "noisy", seed=0, noise=0.2)
    collect(task, 3, tmp_path / "again", seed=0, noise=0.2)
    collect(task, 3, tmp_path / "quiet", seed=0, noise=0.0)
    noisy, modes = Demonstrations.load(tmp_path / "noisy"), load_modes(tmp_path / "noisy")
    np.testing.assert_array_equal(Demonstrations.load(tmp_path / "again").observations, noisy.observations)
    expected = np.concatenate(
        [task.expert(states, np.tile(mode, (len(states), 1))) for (states, _), mode in zip(noisy, modes, strict=True)]
    )
    np.testing.assert_allclose(noisy.actions, expected, atol=1e-5)
    # Both begin alike, and then the disturbed one goes elsewhere.
    quiet = Demonstrations.load(tmp_path / "quiet")
    np.testing.assert_array_equal(noisy.observations[0], quiet.observations[0])
    assert np.abs(noisy.observations[1:50] - quiet.observations[1:50]).max() > 0.1
    with pytest.raises(InputError, match=r"the noise is -1.0; give 0 or more"):
        collect(task, 1, tmp_path / "negative", noise=-1.0)


def reeling(times: int):
    """Return an expert that falls at once in its first so many episodes at once, and then is the real one."""
    task, begun = get_task("hopper-vel-6"), 0

    def act(observations, modes):
        nonlocal begun
        begun += observations[0, 0] > 1.2 and np.abs(observations[0, 5:]).max() < 0.01
        return np.full((len(modes), 3), -1.0) if begun <= times else task.expert(observations, modes)

    return act


def test_an_episode_in_which_the_expert_fails_is_repeated(tmp_path):
    task = replace(get_task("hopper-vel-6"), scripted_expert=reeling(1))
    collect(task, 2, tmp_path / "once", seed=0, noise=0.0)
    data, modes = Demonstrations.load(tmp_path / "once"), load_modes(tmp_path / "once")
    assert list(data.lengths) == [1000, 1000]
    assert list(modes) == list(task.modes.sample(2, np.random.default_rng(0)))
    collect(replace(task, scripted_expert=reeling(1), termination_fails=False), 2, tmp_path / "kept", noise=0.0)
    assert max(Demonstrations.load(tmp_path / "kept").lengths) < 100
    with pytest.raises(InputError, match=r"2 of 2 episodes of hopper-vel-6 ended early 10 times each"):
        collect(replace(task, scripted_expert=reeling(10)), 2, tmp_path / "never", noise=0.0)
    assert not (tmp_path / "never").exists()


BALANCE = Task(
    name="balance",
    environment="own/Balance-v0",
    modes=velocities((-1.0, 1.0)),
    episode_steps=40,
    demonstrations=4,
    picture=Picture(lambda observations: observations[:, :2], ("x (m)", "v (m/s)")),
    base=Base("CartPole-v1"),
    rewards=lambda step, modes: step.observation[:, 1:2] * modes + 0.0 * step.action[:, None],
    scripted_expert=lambda observations, modes: (
        observations[:, 2] + observations[:, 3] + 0.1 * (2 * modes - 1) > 0
    ).astype(int),
)


@pytest.fixture
def balance():
    return BALANCE


@pytest.mark.parametrize("in_envpool", [True, False])
def test_discrete_actions_are_rolled_out_and_collected_with_some_at_random(balance, tmp_path, in_envpool):
    task = replace(balance, base=Base("CartPole-v1", in_envpool=in_envpool))
    collect(task, 4, tmp_path / "plain", seed=0)
    collect(task, 4, tmp_path / "noisy", seed=0, noise=0.3)
    plain, noisy = (list(minari.MinariDataset(tmp_path / name / "data")) for name in ("plain", "noisy"))
    modes = load_modes(tmp_path / "noisy")
    for episode, mode in zip(noisy, modes, strict=True):
        assert episode.actions.dtype.kind == "i"
        # The intended action is recorded, not the one that was taken: the pole was pushed the other way now and then.
        meant = task.expert(episode.observations[:-1].astype(np.float64), np.full(40, mode))
        np.testing.assert_array_equal(episode.actions, meant)
        pushed = np.diff(episode.observations[:, 1]) > 0
        assert 0.02 < (pushed != episode.actions).mean() < 0.4
    for episode in plain:
        np.testing.assert_array_equal(np.diff(episode.observations[:, 1]) > 0, episode.actions)
    demonstrations = Demonstrations.load(tmp_path / "noisy")
    assert demonstrations.action_space == gym.spaces.Discrete(2)
    assert demonstrations.actions.dtype == np.int64
    task.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data")
    assert task.actions_outside(demonstrations) == 0


def test_dictionaries_are_collected_as_they_are(balance, tmp_path):
    pytest.importorskip("gymnasium_robotics")
    fetch = get_task("fetch-reach")

    def reach(observations, modes):
        return np.pad(10 * (observations["observation"][:, :3] * 0 + modes), ((0, 0), (0, 1)))

    task = replace(
        balance,
        modes=fetch.modes,
        episode_steps=20,
        base=replace(fetch.base, observation_keys=None),
        rewards=lambda step, goals: step.observation["observation"][:, :1],
        scripted_expert=reach,
    )
    collect(task, 3, tmp_path / "data", seed=0)
    demonstrations = Demonstrations.load(tmp_path / "data")
    shapes = {name: array.shape for name, array in demonstrations.observations.items()}
    assert shapes == {"observation": (60, 10), "achieved_goal": (60, 3), "desired_goal": (60, 3)}
    modes = np.repeat(load_modes(tmp_path / "data"), 20, axis=0)
    np.testing.assert_allclose(demonstrations.actions[:, :3], np.clip(10 * modes, -1, 1), atol=1e-6)


def test_values_that_are_not_finite_are_never_written(balance, tmp_path):
    def broken(observations, modes):
        return np.where(observations[:, -2:] == 0, 1.0, np.nan)

    task = replace(get_task("circles"), scripted_expert=broken)
    with pytest.raises(InputError, match="the actions of circles are not finite at step 1; mend"):
        collect(task, 2, tmp_path / "data", seed=0)
    infinite = replace(balance, rewards=lambda step, modes: step.observation[:, :1] * modes / 0.0)
    with pytest.raises(InputError, match="the rewards of balance are not finite at step 0"), np.errstate(all="ignore"):
        collect(infinite, 2, tmp_path / "data", seed=0)
    assert not list(tmp_path.iterdir())


class Unbounded(gym.ActionWrapper):
    def __init__(self, environment):
        super().__init__(environment)
        self.action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def action(self, action):
        return action


def test_actions_without_bounds_are_collected_without_noise_and_noise_is_refused(balance, tmp_path):
    gym.register("own/Free-v0", entry_point=lambda **_: Unbounded(gym.make("Pendulum-v1")))
    task = replace(
        balance,
        base=Base("own/Free-v0"),
        rewards=lambda step, modes: step.observation[:, 1:2] * modes,
        scripted_expert=lambda observations, modes: (2.0 * modes - 1)[:, None],
    )
    try:
        collect(task, 2, tmp_path / "data", seed=0)
        assert np.isfinite(Demonstrations.load(tmp_path / "data").actions).all()
        with pytest.raises(InputError, match="the actions of balance have no bounds"):
            collect(task, 2, tmp_path / "noisy", seed=0, noise=0.1)
    finally:
        gym.registry.pop("own/Free-v0")


def test_without_an_expert_nothing_is_rolled_out(balance, tmp_path):
    steps = []
    with pytest.raises(InputError, match="balance has no expert; train one with `manyways expert train balance`"):
        collect(replace(balance, scripted_expert=None), 2, tmp_path / "data", on_step=lambda: steps.append(1))
    assert not steps
