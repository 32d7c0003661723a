"""Damaged, foreign and hostile zarr stores: one sentence, nothing run, nothing read from elsewhere."""

import json
import os
import shutil

import numpy as np
import pytest
import zarr
from data_sets import LENGTHS, refused, replay_buffer

from manyways import Demonstrations, InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*not used")


def header(path, name, **changes):
    place = path / name / ".zarray"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def store_led_out(path):
    shutil.move(path / "data/arm/0.0", path.parent / "outside")
    (path / "data/arm/0.0").symlink_to(path.parent / "outside")


ZARR = {
    "no ends": (lambda p: shutil.rmtree(p / "meta"), "has no meta/episode_ends"),
    "ends out of order": (
        lambda p: zarr.open_array(p / "meta/episode_ends", mode="a").set_basic_selection(0, 9),
        "in order",
    ),
    "rows that are missing": (
        lambda p: zarr.open_array(p / "meta/episode_ends", mode="a").set_basic_selection(2, 14),
        "data/action of .* has 12 rows, but the last episode ends at 14",
    ),
    "ends that are pickled": (
        lambda p: header(p, "meta/episode_ends", filters=[{"id": "pickle"}]),
        "are no plain numbers",
    ),
    "ends of objects": (lambda p: header(p, "meta/episode_ends", dtype="|O"), "are no plain numbers .the type |O."),
    "actions that are pickled": (
        lambda p: header(p, "data/action", compressor={"id": "pickle"}),
        "which columns are act",
    ),
    "a chunk cut short": (lambda p: (p / "data/arm/0.0").write_bytes(b"\x02\x01"), "is a damaged zarr store"),
    "more than memory": (lambda p: header(p, "data/arm", shape=[12, 10**13]), "would need .* of memory"),
    "chunks of more than memory": (lambda p: header(p, "data/arm", chunks=[10**13, 3]), "would need .* of memory"),
    "a link that leads out": (store_led_out, "leads out of the folder"),
    "no JSON": (lambda p: (p / "data/arm/.zarray").write_text("{"), "is a damaged zarr store"),
}


@pytest.mark.parametrize("case", ZARR)
def test_a_zarr_store_that_cannot_be_used_is_refused(tmp_path, case):
    change, message = ZARR[case]
    path = replay_buffer(tmp_path)
    change(path)
    refused(path, message)


def header3(path, name, **changes):
    place = path / name / "zarr.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | changes))


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": shape}}


def sharded(inner):
    return [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": inner}], "index_codecs": []}}]


ZARR_3 = {
    "no ends": (lambda p: shutil.rmtree(p / "meta"), "has no meta/episode_ends"),
    "ends of an unknown codec": (
        lambda p: header3(p, "meta/episode_ends", codecs=[{"name": "numcodecs.pickle"}]),
        "are no plain numbers .the codec numcodecs.pickle",
    ),
    "an unknown codec within another": (
        lambda p: header3(p, "meta/episode_ends", codecs=sharded("numcodecs.pickle")),
        "the codec numcodecs.pickle",
    ),
    "ends of an unknown type": (
        lambda p: header3(p, "meta/episode_ends", data_type={"name": "numpy.datetime64"}),
        "are no plain numbers .the type",
    ),
    "actions of an unknown type": (lambda p: header3(p, "data/action", data_type="string"), "which columns are act"),
    "rows that are missing": (
        lambda p: zarr.open_array(p / "meta/episode_ends", mode="a").set_basic_selection(2, 14),
        "data/action of .* has 12 rows, but the last episode ends at 14",
    ),
    "a chunk cut short": (lambda p: (p / "data/arm/c/0/0").write_bytes(b"\x02\x01"), "is a damaged zarr store"),
    "more than memory": (lambda p: header3(p, "data/arm", shape=[12, 10**13]), "would need .* of memory"),
    "chunks of more than memory": (
        lambda p: header3(p, "data/arm", chunk_grid=grid(10**13, 3)),
        "would need .* of memory",
    ),
    "another version": (lambda p: header3(p, "data/arm", zarr_format=4), "is a damaged zarr store"),
    "no JSON": (lambda p: (p / "data/arm/zarr.json").write_text("{"), "is a damaged zarr store"),
    "a long header": (lambda p: (p / "data/arm/zarr.json").write_text(" " * 2**21), "more than a megabyte"),
}


@pytest.mark.parametrize("case", ZARR_3)
def test_a_zarr_3_store_that_cannot_be_used_is_refused(tmp_path, case):
    change, message = ZARR_3[case]
    path = replay_buffer(tmp_path, version=3)
    change(path)
    refused(path, message)


def test_zarr_3_stores_of_shards_are_read(tmp_path):
    path = replay_buffer(tmp_path, version=3, shards="auto")
    assert len(Demonstrations.load(path)) == len(LENGTHS)


@pytest.mark.parametrize("version", [2, 3])
def test_chunks_that_are_not_there_are_counted(tmp_path, version):
    path = replay_buffer(tmp_path, version=version)
    (path / ("data/arm/0.0" if version == 2 else "data/arm/c/0/0")).unlink()
    with pytest.warns(UserWarning, match="1 of 3 chunks of data/arm in .* are not there and are read as 0"):
        Demonstrations.load(path)


@pytest.mark.parametrize("name", ["buffer.zarr", "buffer.zarr.zip"])
@pytest.mark.parametrize("settings", [{"version": 2}, {"version": 3}, {"version": 3, "shards": "auto"}])
def test_whole_stores_have_no_holes(tmp_path, name, settings, recwarn):
    Demonstrations.load(replay_buffer(tmp_path, name, **settings))
    assert not [each for each in recwarn if "are not there" in str(each.message)]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_arrays_in_deeper_groups_are_named(tmp_path, version, zipped):
    path = replay_buffer(tmp_path, version=version)
    zarr.open_group(path, mode="a").create_array("data/obs/x", data=np.ones(3))
    if zipped:
        path = shutil.make_archive(tmp_path / "deep", "zip", path)
    with pytest.warns(UserWarning, match="also holds obs/x, image, which are not used"):
        Demonstrations.load(path)


def test_a_pickled_zarr_array_is_not_run(tmp_path):
    path = replay_buffer(tmp_path)
    header(path, "data/arm", dtype="|O", filters=[{"id": "pickle"}], fill_value=None)
    (path / "data/arm/0.0").write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(tmp_path / "was run") + b"'\ntR.")
    with pytest.warns(UserWarning, match="arm, image, which are not used"):
        Demonstrations.load(path)
    with pytest.raises(InputError, match=r"arm in .* not read"):
        Demonstrations.load(path, observations=["arm"])
    assert not (tmp_path / "was run").exists()
