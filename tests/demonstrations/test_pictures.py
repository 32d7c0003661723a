"""LeRobot's pictures: in videos of versions 2.1 and 3.0, as LeRobot encodes them, and in Parquet files."""

import contextlib
import io
import json
import os
import sys

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from data_sets import BOTH, LENGTHS, joined, lerobot
from PIL import Image

from manyways import Demonstrations, InputError
from manyways.demonstrations import convert

pytestmark = pytest.mark.filterwarnings("ignore:.*not used")

TOP = "observation.images.top"
RATE = 10
SHAPE = (64, 80, 3)
# Each frame has a grey of its own, and a red corner that moves: enough to know it again after a lossy codec.
FRAMES = [np.full((n, *SHAPE), 30, np.uint8) for n in LENGTHS]
for _number, _frame in enumerate(frame for frames in FRAMES for frame in frames):
    _frame += np.uint8(15 * _number)
    _frame[:16, 4 * _number : 4 * _number + 16] = (255, 0, 0)


def encode(path, frames):
    """As LeRobot's `encode_video_frames` does: AV1 in yuv420p, a key frame every two frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with same_priority():
        write_video(path, frames)


@contextlib.contextmanager
def same_priority():
    """For root, the encoder makes this a real-time thread. A browser that a later test starts would then hang."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, *before)


def write_video(path, frames):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", RATE, options={"g": "2", "crf": "30", "svtav1-params": "lp=1"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", SHAPE[1], SHAPE[0]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def edit_info(folder, **changes):
    file = folder / "meta/info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_feature(folder, **changes):
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    features[TOP] |= changes
    edit_info(folder, features=features)


def with_videos(folder, version):
    lerobot(folder, version)
    edit_feature(folder, shape=list(SHAPE))
    if version == "v3.0":  # the first two episodes are in one file
        edit_info(folder, fps=RATE, video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4")
        for number, parts in enumerate((FRAMES[:2], FRAMES[2:])):
            encode(folder / f"videos/{TOP}/chunk-000/file-{number:03d}.mp4", joined(parts))
        rows = pa.parquet.read_table(folder / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
        for row, (file, start) in zip(rows, ((0, 0.0), (0, LENGTHS[0] / RATE), (1, 0.0)), strict=True):
            row |= {f"videos/{TOP}/chunk_index": 0, f"videos/{TOP}/file_index": file}
            row[f"videos/{TOP}/from_timestamp"] = start
        pa.parquet.write_table(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
    else:
        place = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
        edit_info(folder, fps=RATE, chunks_size=2, video_path=place)
        for number, frames in enumerate(FRAMES):
            encode(folder / f"videos/chunk-{number // 2:03d}/{TOP}/episode_{number:06d}.mp4", frames)
    return folder


def png(picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def with_pictures(folder, version, change=lambda content: content):
    """As `datasets` stores images: a structure of bytes and a path."""
    lerobot(folder, version)
    edit_feature(folder, shape=list(SHAPE), dtype="image")
    contents = [{"bytes": change(png(picture)), "path": "frame.png"} for picture in joined(FRAMES)]
    row = 0
    for file in sorted((folder / "data").rglob("*.parquet")):
        table = pa.parquet.read_table(file)
        column = pa.array(contents[row : row + len(table)], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        pa.parquet.write_table(table.append_column(TOP, column), file, row_group_size=2)
        row += len(table)
    return folder


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_videos_are_read_where_they_are_asked_for(version, tmp_path):
    path = with_videos(tmp_path / "lab", version)
    assert Demonstrations.load(path).observations.shape == (sum(LENGTHS), 4)
    alone = Demonstrations.load(path, observations=[TOP])
    assert alone.observations.dtype == np.uint8
    assert alone.observations.shape == (sum(LENGTHS), *SHAPE)
    assert np.abs(alone.observations.astype(int) - joined(FRAMES)).mean() < 3
    chosen = Demonstrations.load(path, observations=[TOP, "observation.state"], episodes="2,1")
    assert chosen.observations[TOP].dtype == np.uint8
    expected = joined([FRAMES[2], FRAMES[1]]).astype(int)
    assert np.abs(chosen.observations[TOP] - expected).mean() < 3
    np.testing.assert_array_equal(
        chosen.observations["observation.state"], joined([BOTH[2], BOTH[1]])[:, :3].astype(np.float32)
    )


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_pictures_in_parquet_are_read_where_they_are_asked_for(version, tmp_path):
    path = with_pictures(tmp_path / "lab", version)
    assert Demonstrations.load(path).observations.shape == (sum(LENGTHS), 4)
    found = Demonstrations.load(path, observations=[TOP, "observation.grip"], episodes="2,0:1")
    assert found.observations[TOP].dtype == np.uint8
    np.testing.assert_array_equal(found.observations[TOP], joined([FRAMES[2], FRAMES[0]]))


def test_axes_may_begin_with_the_channels(tmp_path):
    path = with_pictures(tmp_path / "lab", "v3.0")
    edit_feature(path, shape=[SHAPE[2], *SHAPE[:2]], names=["channels", "height", "width"])
    np.testing.assert_array_equal(Demonstrations.load(path, observations=[TOP]).observations, joined(FRAMES))


def test_videos_are_converted_into_a_folder_that_stays_on_the_disk(tmp_path, command):
    path = with_videos(tmp_path / "lab", "v3.0")
    code, _, error = command("convert", path, tmp_path / "out", "--format", "npy", "--observations", TOP)
    assert code == 0, error
    found = Demonstrations.load(tmp_path / "out")
    np.testing.assert_array_equal(found.observations, Demonstrations.load(path, observations=[TOP]).observations)
    convert(path, tmp_path / "again")
    assert Demonstrations.load(tmp_path / "again").observations.shape == (sum(LENGTHS), 4)


def video(path):
    return path / f"videos/{TOP}/chunk-000/file-000.mp4"


def cut(path, share):
    content = video(path).read_bytes()
    video(path).write_bytes(content[: int(len(content) * share)])


def led_out(path):
    video(path).rename(path.parent / "elsewhere.mp4")
    video(path).symlink_to(path.parent / "elsewhere.mp4")


def playlist(path):
    secret = path.parent / "secret.mp4"
    video(path).rename(secret)
    video(path).write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n")


VIDEOS = {
    "missing": (lambda p: video(p).unlink(), "file-000.mp4 with observation.images.top of episode 0 is not there"),
    "cut": (lambda p: cut(p, 0.5), "is a damaged video|has no (frame at|video)"),
    "empty": (lambda p: cut(p, 0), "is a damaged video"),
    "no video": (lambda p: video(p).write_bytes(b"hello " * 500), "is a damaged video"),
    "too few frames": (lambda p: encode(video(p), FRAMES[0]), "has no frame at 0.500 s"),
    "another size": (lambda p: edit_feature(p, shape=[32, 80, 3]), "has 64 x 80 pixels, but the data set says 32 x 80"),
    "a size beyond all": (lambda p: edit_feature(p, shape=[10**6, 10**6, 3]), "would need .* GB of memory"),
    "no fps": (lambda p: edit_info(p, fps=None), "has no fps"),
    "a link that leads out": (led_out, "leads out of the folder"),
    "a list of other files": (playlist, "is a damaged video"),
    "paths that leave": (lambda p: edit_info(p, video_path="videos/../../{video_key}.mp4"), "is not in videos/"),
    "absolute paths": (lambda p: edit_info(p, video_path="/etc/{video_key}.mp4"), "is not in videos/"),
    "other fields": (lambda p: edit_info(p, video_path="videos/{video_key.__class__}.mp4"), "is not in videos/"),
    "endless padding": (lambda p: edit_info(p, video_path="videos/{chunk_index:099999999d}.mp4"), "is not in videos/"),
    "no place": (lambda p: edit_info(p, video_path=None), "is not in videos/"),
    "depth": (
        lambda p: edit_feature(p, shape=[64, 80, 2]),
        "holds no numbers and no pictures of three colours, one a step",
    ),
}


@pytest.mark.parametrize("case", VIDEOS)
def test_videos_that_cannot_be_used_are_refused(case, tmp_path, command):
    path = with_videos(tmp_path / "lab", "v3.0")
    change, message = VIDEOS[case]
    change(path)
    with pytest.raises(InputError, match=message) as caught:
        Demonstrations.load(path, observations=[TOP])
    assert "\n" not in str(caught.value)
    options = ("--format", "npy", "--observations", TOP)
    assert command("convert", path, tmp_path / "out", *options)[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_video_damaged_anywhere_gives_no_more_than_a_sentence(tmp_path):
    path = with_videos(tmp_path / "lab", "v3.0")
    whole = video(path).read_bytes()
    for part in range(1, 40):
        changed = bytearray(whole)
        changed[len(whole) * part // 40] ^= 0x55
        video(path).write_bytes(changed)
        with contextlib.suppress(InputError):  # what is changed may still be a picture
            assert Demonstrations.load(path, observations=[TOP]).steps == sum(LENGTHS)


PICTURES = {
    "cut": (lambda content: content[:60], "picture 0 of observation.images.top of .* is damaged"),
    "empty": (lambda content: b"", "is damaged"),
    "no picture": (lambda content: b"hello" * 99, "is damaged"),
    "missing": (lambda content: None, "is not in the file"),
    "another size": (lambda content: png(np.zeros((9, 9, 3), np.uint8)), "has 9 x 9 pixels"),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_that_cannot_be_used_are_refused(case, tmp_path):
    change, message = PICTURES[case]
    path = with_pictures(tmp_path / "lab", "v3.0", change)
    with pytest.raises(InputError, match=message):
        Demonstrations.load(path, observations=[TOP])


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    path = with_videos(tmp_path / "lab", "v3.0")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"needs av; install it with pip install 'manyways\[video\]'"):
        Demonstrations.load(path, observations=[TOP])
