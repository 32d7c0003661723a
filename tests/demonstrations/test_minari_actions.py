"""Minari's actions beyond one box: dictionaries of numbers, choices that begin elsewhere; and what is refused of it."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from data_sets import RNG, refused
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from manyways import Demonstrations

STEPS = 4
OBSERVATIONS = gym.spaces.Dict({"vel": gym.spaces.Box(-1, 1, (2,), np.float32)})


def made(folder, space, actions, observations=OBSERVATIONS):
    """Made by Minari itself: two episodes with the same `actions`."""
    folder.mkdir()
    storage = MinariStorage.new(folder, observations, space, data_format="hdf5")
    seen = {"vel": np.zeros((STEPS + 1, 2), np.float32)}
    flags = np.arange(STEPS) == STEPS - 1
    storage.update_episodes(
        EpisodeBuffer(
            id=index,
            observations=seen if isinstance(observations, gym.spaces.Dict) else seen["vel"],
            actions=actions,
            rewards=np.zeros(STEPS),
            terminations=flags,
            truncations=np.zeros(STEPS, bool),
        )
        for index in range(2)
    )
    return folder


def box(size):
    return gym.spaces.Box(-1, 1, (size,), np.float32)


def numbers(*shape):
    return RNG.uniform(-1, 1, (STEPS, *shape)).astype(np.float32)


def test_dictionaries_of_numbers_become_columns_of_a_vector(tmp_path):
    space = gym.spaces.Dict({"arm": gym.spaces.Dict({"turn": box(3)}), "grip": box(1)})
    actions = {"arm": {"turn": numbers(3)}, "grip": numbers(1)}
    path = made(tmp_path / "arm", space, actions)
    found = Demonstrations.load(path)
    assert found.names["actions"] == ("arm.turn.0", "arm.turn.1", "arm.turn.2", "grip")
    np.testing.assert_array_equal(found[1][1], np.concatenate([actions["arm"]["turn"], actions["grip"]], axis=1))
    chosen = Demonstrations.load(path, actions=["grip", "arm.turn.2"])
    np.testing.assert_array_equal(chosen[0][1][:, 1], actions["arm"]["turn"][:, 2])
    assert set(chosen.observations) == {"vel"}


def test_actions_called_as_an_observation_are_told_apart(tmp_path):
    actions = numbers(2)
    found = Demonstrations.load(made(tmp_path / "arm", gym.spaces.Dict({"vel": box(2)}), {"vel": actions}))
    assert found.names["actions"] == ("actions.vel.0", "actions.vel.1")
    np.testing.assert_array_equal(found[0][1], actions)
    assert not found.observations["vel"].any()


def test_actions_that_are_neither_numbers_nor_choices_alone_are_named(tmp_path):
    space = gym.spaces.Dict({"arm": box(2), "tool": gym.spaces.Discrete(3)})
    path = made(tmp_path / "arm", space, {"arm": numbers(2), "tool": np.arange(STEPS) % 3})
    refused(
        path, r"the actions of .* hold tool Discrete\(3\); only choices alone, and numbers alone or in dictionaries"
    )


@pytest.mark.parametrize(
    ("space", "start"),
    [(gym.spaces.Discrete(3, start=-1), -1), (gym.spaces.MultiDiscrete([3, 2], start=[2, 5]), [2, 5])],
)
def test_choices_that_begin_elsewhere_are_counted_from_0(tmp_path, space, start):
    counted = np.array([[0, 1], [1, 0], [2, 1], [0, 0]])
    counted = counted[:, 0] if isinstance(space, gym.spaces.Discrete) else counted
    path = made(tmp_path / "lake", space, counted + start)
    with pytest.warns(
        UserWarning, match=r"the choices of .* begin at .*-?\d.*; here they begin at 0: add that for the"
    ):
        found = Demonstrations.load(path)
    np.testing.assert_array_equal(found[1][1], counted)
    assert found.choices == ((3,) if counted.ndim == 1 else (3, 2))


def edited(path, **changes):
    file = path / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


DAMAGED = {
    "a later version": (
        {"minari_version": "99.0"},
        "is of Minari's version 99.0, but only versions up to .* are read;",
    ),
    "another data format": ({"data_format": "weird"}, "is in the data format 'weird'; save it as hdf5 or arrow"),
    "no such space": ({"action_space": '{"type": "Evil"}'}, "action space in .* is none that Minari knows; restore it"),
    "half a space": ({"observation_space": "{}"}, "action space in .* is none that Minari knows; restore it"),
    "more episodes": ({"total_episodes": 3}, "says that it has 3 episodes, but not all are there; restore it"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_metadata_are_told_without_the_words_of_a_library(tmp_path, case):
    changes, message = DAMAGED[case]
    path = made(tmp_path / "arm", box(2), numbers(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Demonstrations.load(path)
    edited(path, **changes)
    refused(path, message)


def test_missing_data_are_told(tmp_path):
    path = made(tmp_path / "arm", box(2), numbers(2))
    (path / "main_data.hdf5").unlink()
    refused(path, "has no data beside metadata.json; download or copy it")
