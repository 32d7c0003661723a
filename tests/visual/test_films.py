import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest

from manyways import InputError
from manyways.tasks import get_task
from manyways.visual.films import film, pace

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")


def frames_of(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    header = next(reader)
    width, height = header["size"]
    return header, [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]


def test_a_film_shows_the_episode(tmp_path):
    task = get_task("circles")
    drawn = []
    film(
        task,
        task.expert_under(np.array([2])),
        tmp_path / "films" / "third.mp4",
        seconds=1.0,
        on_frame=lambda: drawn.append(1),
    )
    header, frames = frames_of(tmp_path / "films" / "third.mp4")
    assert header["fps"] == 25.0
    assert header["size"] == (480, 480)
    assert len(frames) == len(drawn) == 25
    assert np.abs(frames[-1].astype(int) - frames[0]).max() > 50  # something moved
    assert [path.name for path in (tmp_path / "films").iterdir()] == ["third.mp4"]


def test_simulated_time_runs_as_fast_as_real_time():
    class Environment:
        metadata = {"render_fps": 67}  # noqa: RUF012

    every, rate = pace(Environment())
    assert every == 3
    assert rate == pytest.approx(67 / 3)


def test_another_format_and_what_cannot_be_drawn_are_one_sentence(tmp_path, monkeypatch):
    task = get_task("circles")
    with pytest.raises(InputError, match=r"does not end in \.mp4"):
        film(task, still, tmp_path / "film.gif")

    def broken(self):
        raise RuntimeError("no display")

    monkeypatch.setattr("manyways.tasks.circles.CirclesEnv.render", broken)
    with pytest.raises(InputError, match=r"^this machine cannot draw circles \(RuntimeError: no display\)$"):
        film(task, still, tmp_path / "film.mp4")

    def without_pygame(self):
        raise gym.error.DependencyNotInstalled("pygame is not installed, run `pip install pygame`")

    monkeypatch.setattr("manyways.tasks.circles.CirclesEnv.render", without_pygame)
    with pytest.raises(InputError, match=r"^circles cannot be filmed: pygame is not installed, run") as raised:
        film(task, still, tmp_path / "film.mp4")
    assert "OSMesa" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def still(observations, info):
    return np.zeros((1, 2))


def test_a_film_shows_an_expert_that_acts_on_the_state_behind_the_picture(tmp_path):
    task = get_task("circles-images")
    film(task, task.expert_under(np.array([1])), tmp_path / "film.mp4", seconds=0.4)
    _, frames = frames_of(tmp_path / "film.mp4")
    assert len(frames) == 10


WITHOUT_OSMESA = """
import os, sys
os.environ["MUJOCO_GL"] = "osmesa"
os.environ.pop("PYOPENGL_PLATFORM", None)  # which MuJoCo sets
from OpenGL.platform import ctypesloader

load = ctypesloader.loadLibrary

def without(dlltype, name, mode=0):
    if "OSMesa" in str(name):
        raise OSError("there is none")
    return load(dlltype, name, mode)

ctypesloader.loadLibrary = without
from pathlib import Path
import numpy as np
from manyways import InputError
from manyways.tasks import get_task
from manyways.visual.films import film

task = get_task("ant-dir-6")
try:
    film(task, task.expert_under(np.array([0])), Path(sys.argv[1]), seconds=0.1)
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="OSMesa is what Linux draws with where there is no screen")
def test_without_osmesa_the_remedy_is_one_sentence_though_the_environment_cannot_even_be_made(tmp_path):
    pytest.importorskip("OpenGL")
    pytest.importorskip("mujoco")
    command = [sys.executable, "-c", WITHOUT_OSMESA, str(tmp_path / "film.mp4")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout.startswith("this machine cannot draw ant-dir-6 (")
    assert "apt install libosmesa6" in found.stdout
    assert found.stdout.count("\n") == 1
