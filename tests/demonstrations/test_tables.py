"""Tables that people keep by hand: a word among numbers, rows in another order. Nothing of it passes in silence."""

import re
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_sets import BOTH, LENGTHS, episodes, frame, joined, lerobot, refused

from manyways import Demonstrations, InputError


def with_cell(table, column, row, cell):
    cells = table[column].astype(object).tolist()
    cells[row] = cell
    return table.assign(**{column: pd.Series(cells, index=table.index, dtype=object)})


def csv(folder, table):
    table.to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def parquet(folder, table):
    words = {name: table[name].astype(str) for name in table if table[name].dtype == object}
    table.assign(**words).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize("cell", ["banana", "1,5", "-"])
@pytest.mark.parametrize("column", ["action.0", "grip", "observation.x"])
def test_a_cell_that_is_no_number_is_named_and_its_column_never_dropped(tmp_path, column, cell):
    table = frame()
    if column == "observation.x":
        table = table.assign(**{column: np.arange(12) / 7})
    broken = with_cell(table, column, 6, cell)
    remedy = "write it with a decimal point" if cell == "1,5" else "mend it"
    where = f"has '{cell}' in row 6, counted from 0, line 8, episode second, but numbers in most rows; {remedy}, or"
    refused(csv(tmp_path, broken), f"^{re.escape(column)} in .*a.csv {where}")
    refused(
        parquet(tmp_path, broken), f"^{re.escape(column)} in .*a.parquet has '{cell}' in row 6, .*, episode second,"
    )
    with pytest.raises(
        InputError, match=f"^{re.escape(column)} in the data frame has '{cell}' in row 6, .*second, but"
    ):
        Demonstrations.from_dataframe(broken)


def test_cells_that_are_no_numbers_are_counted(tmp_path):
    broken = with_cell(with_cell(frame(), "grip", 2, "lost"), "grip", 9, "lost")
    refused(csv(tmp_path, broken), r"has 'lost' in row 2, .*, episode first \(and 1 cells more\), but")


def test_lines_are_counted_with_those_that_are_empty(tmp_path):
    lines = csv(tmp_path, with_cell(frame(), "grip", 6, "lost")).read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n")
    refused(tmp_path / "a.csv", "in row 6, counted from 0, line 9, episode second")


def test_a_broken_column_hinders_nobody_who_chooses_others(tmp_path):
    path = csv(tmp_path, with_cell(frame(), "action.0", 6, "banana"))
    assert Demonstrations.load(path, actions=["action.1"]).names["actions"] == ("action.1",)
    with pytest.raises(InputError, match=r"action.0 in .* has 'banana' in row 6"):
        Demonstrations.load(path, actions=["action.0"])
    table = frame().rename(columns={f"arm.{i}": f"observation.{i}" for i in range(3)})
    with pytest.warns(UserWarning, match="also holds grip, which are not used"):
        Demonstrations.load(csv(tmp_path, with_cell(table, "grip", 6, "banana")))


def test_words_and_empty_cells_are_no_broken_numbers(tmp_path):
    words = frame().assign(state_name=["reach", "1", "grasp"] * 4, obs_by=np.repeat(["1", "2", "x"], LENGTHS))
    with pytest.warns(UserWarning, match="also holds state_name, which are not used"):
        found = Demonstrations.load(csv(tmp_path, words))
    assert found.attributes["obs_by"].tolist() == ["1", "2", "x"]
    assert found.observations.shape == (12, 4)
    refused(csv(tmp_path, with_cell(frame(), "grip", 6, None)), r"observations have nan in trajectory 1 \(second\)")


def test_numbers_written_as_words_are_no_words(tmp_path):
    frame().assign(**{"action.0": frame()["action.0"].astype(str)}).to_parquet(tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "action.0 in .* holds numbers as words; convert the column to numbers")


@pytest.mark.parametrize("name", ["trial_2", "trial_10"])
def test_a_cell_that_is_no_number_is_named_in_a_folder_too(tmp_path, name):
    path = episodes(tmp_path / "trials", ".csv")
    file = path / f"{name}.csv"
    csv(tmp_path, with_cell(pd.read_csv(file), "action.1", 1, "oops")).rename(file)
    message = (
        rf"action.1 in .*{name}.csv has 'oops' in row 1, counted from 0, line 3, but numbers in most rows; mend it"
    )
    refused(path, message)


def test_words_in_the_first_file_of_a_folder_drop_no_action(tmp_path):
    path = episodes(tmp_path / "trials", ".csv")
    first = pd.read_csv(path / "trial_2.csv")
    csv(tmp_path, first.assign(**{"action.1": ["a", "b", "c", "d", "e"]})).rename(path / "trial_2.csv")
    refused(path, "trial_2.csv has words in action.1, but trial_3.csv has numbers; mend or leave out that file")


def shuffled(table):
    return table.sample(frac=1, random_state=3)


CLOCKS = {
    "step": lambda table: table,
    "frame_index": lambda table: table.rename(columns={"step": "frame_index"}),
    "Timestamp": lambda table: table.assign(step=table.step / 30 + 1e6).rename(columns={"step": "Timestamp"}),
    "time": lambda table: table.assign(
        step=pd.Timestamp("2026-01-31 23:59:58") + pd.to_timedelta(table.step, "s")
    ).rename(columns={"step": "time"}),
    "timestamp beside a counter of laps": lambda table: table.assign(timestamp=table.step / 9, step=table.step % 2),
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("write", [csv, parquet, None], ids=["csv", "parquet", "data frame"])
def test_rows_out_of_order_are_sorted_within_their_episode(tmp_path, clock, write):
    table = shuffled(CLOCKS[clock](frame()))
    with pytest.warns(UserWarning, match=f"are not in the order of {clock.split(' ')[0]}; they were sorted by it"):
        found = Demonstrations.from_dataframe(table) if write is None else Demonstrations.load(write(tmp_path, table))
    order = [("first", "second", "third").index(name) for name in found.identities]
    np.testing.assert_array_equal(found.observations, joined([BOTH[place] for place in order]))


def test_rows_of_a_file_of_a_folder_are_sorted_too(tmp_path):
    path = episodes(tmp_path / "trials", ".csv")
    csv(tmp_path, shuffled(pd.read_csv(path / "trial_3.csv"))).rename(path / "trial_3.csv")
    with pytest.warns(
        UserWarning, match="the rows of the episode trial_3 in .* are not in the order of step; they were"
    ):
        found = Demonstrations.load(path)
    np.testing.assert_array_equal(found.observations, joined(BOTH))


def test_rows_whose_order_is_not_clear_are_refused():
    twice = frame().assign(step=frame().step % 3)
    message = "the rows of the episode first in the data frame are not in the order of step, and two of them .* step 0;"
    with pytest.raises(InputError, match=message):
        Demonstrations.from_dataframe(twice)


def test_a_clock_that_ticks_slowly_or_not_at_all_moves_no_row():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (frame().assign(step=frame().step // 2), frame().assign(step=7), frame().assign(t=["a"] * 12)):
            np.testing.assert_array_equal(Demonstrations.from_dataframe(table).observations, joined(BOTH))


def test_rows_that_lie_apart_without_a_clock_are_pointed_out():
    apart = frame().sort_values("step", kind="stable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Demonstrations.from_dataframe(apart)
    message = (
        "rows of the episodes first, second, third in the data frame lie apart, and no column such as step or time"
    )
    with pytest.warns(UserWarning, match=message):
        Demonstrations.from_dataframe(apart.drop(columns="step"))


def with_frames(path, change):
    """Give the rows of a LeRobot folder frames, and lay them otherwise."""
    for file in sorted(path.glob("data/**/*.parquet")):
        table = pa.parquet.read_table(file)
        frames = pa.array(table["timestamp"].to_numpy().astype(np.int64))
        pa.parquet.write_table(change(table.append_column("frame_index", frames)), file)
    return path


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
@pytest.mark.filterwarnings("ignore:.*not used")
def test_frames_of_lerobot_are_sorted_within_their_episode(tmp_path, version):
    reverse = lambda table: table.take(np.arange(len(table))[::-1])  # noqa: E731
    path = with_frames(lerobot(tmp_path / "lab", version), reverse)
    with pytest.warns(UserWarning, match="the episodes episode_0, episode_1, episode_2 in .* the order of frame_index"):
        found = Demonstrations.load(path)
    np.testing.assert_array_equal(found.observations, joined(BOTH))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = Demonstrations.load(path, episodes="2,0")
    np.testing.assert_array_equal(chosen.observations, joined([BOTH[2], BOTH[0]]))


def test_frames_of_lerobot_that_occur_twice_are_refused(tmp_path):
    def twice(table):
        frames = pa.array([(2, 1, 1, 0)[row % 4] for row in range(len(table))])
        return table.set_column(table.column_names.index("frame_index"), "frame_index", frames)

    refused(
        with_frames(lerobot(tmp_path / "lab", "v2.1"), twice), "episode 0 in .* has the frame_index . twice; downlo"
    )
