"""Every format beside NPZ and Minari: what is read of it, and what is chosen."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from data_sets import ACTIONS, ARM, BOTH, GRIP, LENGTHS, MAKERS, PICTURES, RNG, frame, joined, lerobot
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from manyways import Demonstrations, InputError, load_modes


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_every_format_gives_the_same_trajectories(kind, tmp_path):
    demonstrations = Demonstrations.load(MAKERS[kind](tmp_path))
    np.testing.assert_array_equal(demonstrations.lengths, LENGTHS)
    np.testing.assert_array_equal(demonstrations.observations, joined(BOTH))
    np.testing.assert_array_equal(demonstrations.actions, joined(ACTIONS))
    assert demonstrations.observations.dtype == np.float32


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_episodes_are_chosen_in_every_format(kind, tmp_path):
    path = MAKERS[kind](tmp_path)
    demonstrations = Demonstrations.load(path, episodes="2,0:1")
    np.testing.assert_array_equal(demonstrations.observations, joined([BOTH[2], BOTH[0]]))
    np.testing.assert_array_equal(demonstrations.actions, joined([ACTIONS[2], ACTIONS[0]]))


IDENTITIES = {
    "robomimic": ("demo_0", "demo_2", "demo_10"),
    "LeRobot 2.1": ("episode_0", "episode_1", "episode_2"),
    "LeRobot 3": ("episode_0", "episode_1", "episode_2"),
    "csv": ("first", "second", "third"),
    "parquet": ("first", "second", "third"),
    "folder of csv": ("trial_2", "trial_3", "trial_10"),
    "folder of npz": ("trial_2", "trial_3", "trial_10"),
}


@pytest.mark.parametrize("kind", IDENTITIES)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_identities_are_kept_and_excluded(kind, tmp_path):
    path = MAKERS[kind](tmp_path)
    assert Demonstrations.load(path).identities == IDENTITIES[kind]
    rest = Demonstrations.load(path, exclude=[IDENTITIES[kind][1]])
    assert rest.identities == (IDENTITIES[kind][0], IDENTITIES[kind][2])
    np.testing.assert_array_equal(rest.actions, joined([ACTIONS[0], ACTIONS[2]]))
    with pytest.raises(InputError, match=f"has no episode 'nobody' to exclude; it has {IDENTITIES[kind][0]}"):
        Demonstrations.load(path, exclude=["nobody"])


COLUMNS = {
    "robomimic": ("arm.0", "arm.1", "arm.2", "grip"),
    "zarr": ("arm.0", "arm.1", "arm.2", "grip"),
    "LeRobot 3": ("observation.state.lift", "observation.state.turn", "observation.state.bend", "observation.grip"),
    "csv": ("arm.0", "arm.1", "arm.2", "grip"),
    "folder of csv": ("arm.0", "arm.1", "arm.2", "grip"),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_columns_have_names_by_which_they_are_chosen(kind, tmp_path):
    path, names = MAKERS[kind](tmp_path), COLUMNS[kind]
    demonstrations = Demonstrations.load(path)
    assert demonstrations.names["observations"] == names
    chosen = Demonstrations.load(path, observations=[names[3], names[1]], actions=[demonstrations.names["actions"][1]])
    np.testing.assert_array_equal(chosen.observations, joined(BOTH)[:, [3, 1]])
    np.testing.assert_array_equal(chosen.actions, joined(ACTIONS)[:, [1]])
    assert chosen.names["observations"] == (names[3], names[1])
    with pytest.raises(InputError, match="has no observations 'armm'; it has "):
        Demonstrations.load(path, observations=["armm"])


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("robomimic", "operator", ["ann", "bob", "ann"]),
        ("robomimic", "mask better", [True, False, True]),
        ("LeRobot 2.1", "task", ["lift", "turn", "lift"]),
        ("LeRobot 3", "task", ["lift", "turn", "lift"]),
        ("csv", "operator", ["ann", "bob", "ann"]),
        ("parquet", "operator", ["ann", "bob", "ann"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*not used")
def test_what_is_known_of_episodes_becomes_attributes(kind, name, values, tmp_path):
    assert Demonstrations.load(MAKERS[kind](tmp_path)).attributes[name].tolist() == values


@pytest.mark.parametrize(("kind", "part", "places"), [("robomimic", "better", [2, 0]), ("LeRobot 3", "train", [0, 1])])
@pytest.mark.filterwarnings("ignore:.*not used")
def test_a_part_that_the_file_declares_is_chosen_by_its_name(kind, part, places, tmp_path):
    path = MAKERS[kind](tmp_path)
    chosen = Demonstrations.load(path, episodes=part)
    np.testing.assert_array_equal(chosen.actions, joined([ACTIONS[place] for place in places]))
    with pytest.raises(InputError, match=f"has no part 'worse'; its parts are {part}: give one, or places such as"):
        Demonstrations.load(path, episodes="worse")


@pytest.mark.parametrize("kind", ["robomimic", "zarr"])
def test_images_are_left_out_with_a_warning_and_read_where_asked_for(kind, tmp_path):
    path = MAKERS[kind](tmp_path)
    with pytest.warns(UserWarning, match="also holds image, which are not used"):
        Demonstrations.load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = Demonstrations.load(path, observations=["image"])
        both = Demonstrations.load(path, observations=["image", "arm"])
    assert alone.observations.dtype == np.uint8
    np.testing.assert_array_equal(alone.observations, joined(PICTURES))
    np.testing.assert_array_equal(both.observations["arm"], joined(ARM))
    assert both.names["observations/arm"] == ("arm.0", "arm.1", "arm.2")


def test_a_data_set_of_pictures_alone_says_what_to_choose(tmp_path):
    path = lerobot(tmp_path / "lab", "v3.0")
    with pytest.warns(UserWarning, match=r"also holds observation.images.top, which are not used"):
        Demonstrations.load(path)
    info = json.loads((path / "meta/info.json").read_text())
    for name in ("observation.state", "observation.grip"):
        del info["features"][name]
    (path / "meta/info.json").write_text(json.dumps(info))
    message = r"only observation.images.top; choose among its entries with observations .* observation.images.top"
    with pytest.raises(InputError, match=message):
        Demonstrations.load(path)


def test_a_data_frame_is_read_by_the_names_of_its_columns():
    demonstrations = Demonstrations.from_dataframe(frame())
    np.testing.assert_array_equal(demonstrations.observations, joined(BOTH))
    assert demonstrations.identities == ("first", "second", "third")
    assert demonstrations.attributes["operator"].tolist() == ["ann", "bob", "ann"]
    other = frame().rename(columns={"episode": "take", "action.0": "push", "action.1": "pull"})
    chosen = Demonstrations.from_dataframe(other, observations=["grip"], actions=["pull"], episode="take")
    np.testing.assert_array_equal(chosen.actions, joined(ACTIONS)[:, [1]])
    cells = pd.DataFrame({"demo": np.repeat([0, 1, 2], LENGTHS), "state": list(joined(BOTH)), "action": 1})
    lists = Demonstrations.from_dataframe(cells)
    np.testing.assert_array_equal(lists.observations, joined(BOTH))
    assert lists.names["observations"] == ("state.0", "state.1", "state.2", "state.3")
    assert lists.action_space.n == 2  # whole numbers in one column are choices


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f.drop(columns="episode"),
            "the data frame does not say which rows are one episode; give it a column",
        ),
        (
            lambda f: f.drop(columns=["action.0", "action.1"]),
            "does not say which columns are actions; choose among step, arm",
        ),
        (lambda f: f.assign(episode=np.where(f.step == 0, np.nan, 1.0)), "does not name an episode in every row"),
        (lambda f: f[["episode", "operator"]], "has no columns of numbers, only operator"),
        (lambda f: pd.concat([f, f[["grip"]]], axis=1), "the data frame has two columns called 'grip'; rename one"),
        (lambda f: f.to_numpy(), "a ndarray is no data frame; give one of pandas or Polars"),
        (
            lambda f: f.assign(grip=np.where(f.step == 2, np.nan, 1)),
            r"observations have nan in trajectory 0 \(first\), step 2, column grip; .* in trajectory 1 \(second\)",
        ),
    ],
)
def test_a_data_frame_that_cannot_be_used_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Demonstrations.from_dataframe(change(frame()))


def test_episodes_of_a_data_frame_are_chosen_and_cleaned():
    holes = frame().assign(grip=np.where(frame()["episode"] == "second", np.nan, joined(GRIP)[:, 0]))
    with pytest.warns(UserWarning, match=r"left out of the data frame: .* trajectory 1 \(second\)"):
        found = Demonstrations.from_dataframe(holes, drop_bad=True, exclude=["third"], angles=["arm.0"])
    assert found.identities == ("first",)
    assert found.rotations is not None
    assert Demonstrations.from_dataframe(frame(), episodes="1:").identities == ("second", "third")


def test_a_last_row_without_an_action_is_left_out():
    steps = frame()
    ends = steps.groupby("episode").tail(1).assign(**{"action.0": np.nan, "action.1": np.nan})
    longer = pd.concat([steps, ends]).sort_values("episode", kind="stable")
    np.testing.assert_array_equal(Demonstrations.from_dataframe(longer).observations, joined(BOTH))


def test_rows_of_an_episode_may_lie_apart(tmp_path):
    mixed = frame().sort_values("step", kind="stable")
    np.testing.assert_array_equal(Demonstrations.from_dataframe(mixed).observations, joined(BOTH))


def test_labels_in_a_table_score_and_are_never_observed(tmp_path):
    frame().assign(mode=np.repeat([1, 0, 1], LENGTHS)).to_csv(tmp_path / "a.csv", index=False)
    demonstrations = Demonstrations.load(tmp_path / "a.csv")
    assert demonstrations.observation_space.shape == (4,)
    assert load_modes(tmp_path / "a.csv").tolist() == [1, 0, 1]
    frame().assign(mode=np.repeat([1, np.nan, 0], LENGTHS)).to_csv(tmp_path / "b.csv", index=False)
    assert load_modes(tmp_path / "b.csv").tolist() == [1, -1, 0]


def minari_set(folder, space, observation, steps=4, action_space=None):
    """Made by Minari itself: two episodes, in the second of which `observation` takes True."""
    action_space = action_space or gym.spaces.Discrete(3)
    folder.mkdir(parents=True)
    storage = MinariStorage.new(folder, space, action_space, data_format="hdf5")
    buffers = []
    for index in range(2):
        space.seed(index)
        buffers.append(
            EpisodeBuffer(
                id=index,
                observations=observation(index, steps + 1),
                actions=np.arange(steps) % 3,
                rewards=np.zeros(steps),
                terminations=np.zeros(steps, bool),
                truncations=np.arange(steps) == steps - 1,
            )
        )
    storage.update_episodes(buffers)
    return folder


def test_minari_dictionaries_choices_and_words(tmp_path):
    space = gym.spaces.Dict(
        {
            "arm": gym.spaces.Dict({"position": gym.spaces.Box(-1, 1, (2,), np.float32)}),
            "direction": gym.spaces.Discrete(4),
            "mission": gym.spaces.Text(30),
        }
    )
    positions = RNG.uniform(-1, 1, (5, 2)).astype(np.float32)

    def observation(index, steps):
        words = [("open the door", "fetch the key")[index]] * steps
        return {"arm": {"position": positions}, "direction": np.arange(steps) % 4, "mission": words}

    path = minari_set(tmp_path / "grid", space, observation)
    with pytest.warns(UserWarning, match="also holds mission, which are not used"):
        demonstrations = Demonstrations.load(path)
    assert set(demonstrations.observations) == {"arm.position", "direction"}
    np.testing.assert_array_equal(demonstrations.observations["direction"][:4], np.eye(4))
    np.testing.assert_array_equal(demonstrations.observations["arm.position"][:4], positions[:4])
    assert demonstrations.attributes["mission"].tolist() == ["open the door", "fetch the key"]
    assert demonstrations.action_space.n == 3
    assert demonstrations.identities == ("episode_0", "episode_1")
    assert demonstrations.names["observations/direction"][1] == "direction.1"


def test_minari_with_one_choice_or_words_alone(tmp_path):
    path = minari_set(tmp_path / "lake", gym.spaces.Discrete(16, start=1), lambda _, steps: 1 + np.arange(steps))
    np.testing.assert_array_equal(Demonstrations.load(path).observations[:4], np.eye(16)[:4])
    path = minari_set(tmp_path / "words", gym.spaces.Text(9), lambda _, steps: ["go"] * steps)
    with pytest.raises(InputError, match=r"has only words to observe \(observations\), no numbers"):
        Demonstrations.load(path)
