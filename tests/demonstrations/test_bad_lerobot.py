"""Damaged, foreign and hostile LeRobot folders: one sentence, nothing read from elsewhere."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet
import pytest
from data_sets import lerobot, refused

from manyways import Demonstrations

pytestmark = pytest.mark.filterwarnings("ignore:.*not used")


def info(path, **changes):
    place = path / "meta/info.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def rewritten(path, change):
    file = path / "data/chunk-000/episode_000001.parquet"
    pa.parquet.write_table(change(pa.parquet.read_table(file)), file)


def with_column(table, name, cells):
    return table.set_column(table.column_names.index(name), name, cells)


def ragged(table):
    return with_column(table, "action", pa.array([[1.0, 2.0], [1.0], [3.0, 4.0]], pa.list_(pa.float32())))


def led_out(path):
    file = path / "data/chunk-000/episode_000001.parquet"
    shutil.move(file, path.parent / "outside.parquet")
    file.symlink_to(path.parent / "outside.parquet")


LEROBOT = {
    "an unknown version": (
        lambda p: info(p, codebase_version="v9.9"),
        "is of LeRobot's version 'v9.9'; only v2.0, v2.1",
    ),
    "no version": (lambda p: info(p, codebase_version=None), "version None"),
    "paths that leave the folder": (
        lambda p: info(p, data_path="../secret/{episode_index}.parquet"),
        "data_path '../sec",
    ),
    "absolute paths": (lambda p: info(p, data_path="/etc/{episode_index}.parquet"), "which is not in data/"),
    "a file less": (
        lambda p: (p / "data/chunk-000/episode_000001.parquet").unlink(),
        r"but has 2 .* \(episode 1 is miss",
    ),
    "no files": (lambda p: shutil.rmtree(p / "data"), "has no Parquet files in data/"),
    "no episodes": (lambda p: (p / "meta/episodes.jsonl").unlink(), "has no meta/episodes.jsonl"),
    "rows less": (lambda p: rewritten(p, lambda table: table.slice(1)), "episode 1 of .* has 2 rows, but meta/ says 3"),
    "ragged cells": (lambda p: rewritten(p, ragged), "the cells of action in .* differ in their number of values"),
    "a column less": (
        lambda p: rewritten(p, lambda table: table.drop_columns("action")),
        "episode_000001.parquet has no column action, which others have; download it anew",
    ),
    "another width in one file": (
        lambda p: rewritten(
            p, lambda table: with_column(table, "action", pa.array([[1.0]] * 3, pa.list_(pa.float32())))
        ),
        r"action in .*episode_000001.parquet is float32 of shape .1,., but float32 of shape .2,. in episode_000000",
    ),
    "another type in one file": (
        lambda p: rewritten(p, lambda table: with_column(table, "observation.grip", pa.array([1, 2, 3]))),
        "observation.grip in .* is int64 of shape .., but float32 of shape .. in episode_000000.parquet; download",
    ),
    "no numbers of episodes": (
        lambda p: rewritten(p, lambda table: table.drop_columns("episode_index")),
        "has no column episode_index; download it anew",
    ),
    "halves of episodes": (
        lambda p: rewritten(p, lambda table: with_column(table, "episode_index", pa.array([0.5] * 3))),
        "episode_index in .* is not a whole number in each row",
    ),
    "splits without names": (lambda p: info(p, splits=["0:2"]), "has the splits .'0:2'.; give places by name, such as"),
    "splits in words": (lambda p: info(p, splits={"train": "all"}), "has the splits .*; give places by name, such as"),
    "no features": (lambda p: info(p, features=None), "is a damaged LeRobot data set .meta/info.json has no features"),
    "a link that leads out": (led_out, "leads out of the folder .*; copy the folder with what its links stand for"),
    "no JSON": (lambda p: (p / "meta/info.json").write_text("{"), "is a damaged LeRobot data set"),
    "a list": (lambda p: (p / "meta/info.json").write_text("[]"), "is a damaged LeRobot data set"),
}


@pytest.mark.parametrize("case", LEROBOT)
def test_a_lerobot_folder_that_cannot_be_used_is_refused(tmp_path, case):
    change, message = LEROBOT[case]
    path = lerobot(tmp_path / "lab", "v2.1")
    change(path)
    refused(path, message)


def test_numbers_of_episodes_may_be_real(tmp_path):
    path = lerobot(tmp_path / "lab", "v2.1")
    for number in range(3):
        file = path / f"data/chunk-000/episode_{number:06d}.parquet"
        table = pa.parquet.read_table(file)
        cells = pa.array([float(number)] * len(table))
        pa.parquet.write_table(with_column(table, "episode_index", cells), file)
    assert Demonstrations.load(path).identities == ("episode_0", "episode_1", "episode_2")
