import numpy as np
import pytest

from manyways import InputError
from manyways.tasks import get_task
from manyways.visual.films import film, pace

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def frames_of(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    told = next(reader)
    return told, [np.frombuffer(frame, np.uint8).reshape(told["size"][1], told["size"][0], 3) for frame in reader]


def test_a_film_shows_the_episode(tmp_path):
    task = get_task("circles")
    drawn = []
    film(
        task,
        lambda seen: task.expert(seen, np.array([2])),
        tmp_path / "films" / "third.mp4",
        seconds=1.0,
        on_frame=lambda: drawn.append(1),
    )
    told, frames = frames_of(tmp_path / "films" / "third.mp4")
    assert told["fps"] == 25.0
    assert told["size"] == (480, 480)
    assert len(frames) == len(drawn) == 25
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 50  # something moved
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["third.mp4"]


def test_simulated_time_runs_as_fast_as_real_time():
    class Environment:
        metadata = {"render_fps": 67}  # noqa: RUF012

    every, rate = pace(Environment())
    assert every == 3
    assert rate == pytest.approx(67 / 3)


def test_another_format_and_a_machine_that_cannot_render_are_told(tmp_path, monkeypatch):
    task = get_task("circles")
    with pytest.raises(InputError, match=r"does not end in \.mp4"):
        film(task, lambda seen: seen[:, :2], tmp_path / "film.gif")

    def broken(self):
        raise RuntimeError("no display")

    monkeypatch.setattr("manyways.tasks.circles.CirclesEnv.render", broken)
    with pytest.raises(InputError, match=r"cannot render .*libosmesa6"):
        film(task, lambda seen: seen[:, :2], tmp_path / "film.mp4")
    assert not list(tmp_path.iterdir())
