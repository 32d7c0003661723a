from dataclasses import replace

import minari
import numpy as np
import pytest

from manyways import Demonstrations, InputError, load_modes
from manyways.tasks import get_task
from manyways.tasks.collect import collect


def test_the_same_seed_collects_the_same(tmp_path, circles_folder):
    collect(get_task("circles"), 30, tmp_path / "again", seed=0)
    collect(get_task("circles"), 30, tmp_path / "other", seed=1)
    first, again, other = map(Demonstrations.load, (circles_folder, tmp_path / "again", tmp_path / "other"))
    np.testing.assert_array_equal(again.observations, first.observations)
    np.testing.assert_array_equal(again.actions, first.actions)
    assert not np.array_equal(other.observations, first.observations)


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


def test_noise_disturbs_what_is_done_and_recorded_is_what_was_meant(tmp_path):
    task = get_task("halfcheetah-vel")
    collect(task, 3, tmp_path / "noisy", seed=0, noise=0.2)
    collect(task, 3, tmp_path / "again", seed=0, noise=0.2)
    collect(task, 3, tmp_path / "quiet", seed=0, noise=0.0)
    noisy, modes = Demonstrations.load(tmp_path / "noisy"), load_modes(tmp_path / "noisy")
    np.testing.assert_array_equal(Demonstrations.load(tmp_path / "again").observations, noisy.observations)
    wanted = np.concatenate(
        [task.expert(seen, np.tile(mode, (len(seen), 1))) for (seen, _), mode in zip(noisy, modes, strict=True)]
    )
    np.testing.assert_allclose(noisy.actions, wanted, atol=1e-5)
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


def test_an_episode_in_which_the_expert_fails_is_tried_again(tmp_path):
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
