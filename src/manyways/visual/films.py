"""Moving pictures: one episode of a task as an MP4, rendered without a screen."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations.observations import apply
from manyways.errors import InputError
from manyways.files import replacing
from manyways.tasks import Task
from manyways.tasks.rollouts import Act
from manyways.tasks.spaces import within

_FRAMES_PER_SECOND = 25  # or near it: a whole number of steps passes between two frames


def film(
    task: Task,
    act: Act,
    path: Path,
    *,
    mode: ArrayLike | None = None,
    seconds: float = 8.0,
    seed: int = 0,
    on_frame: Callable[[], object] = lambda: None,
) -> None:
    """Write one episode, at the pace of the simulated time, to the MP4 `path`.

    Args:
        task: with an environment that renders.
        act: chooses the action (1, ...) from the observation (1, ...) and `info` of one environment.
        path: ends in .mp4.
        mode: of the environment.
        seconds: of simulated time at most.
        seed: of the environment.
        on_frame: called after every frame, for progress.

    Raises:
        InputError: rendering or writing films is not possible on this machine.
        WriteError: the system refused to write.
    """
    if path.suffix != ".mp4":
        raise InputError(f"{path} does not end in .mp4; films are written in that format")
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise InputError("films need imageio-ffmpeg; pip install manyways[film]") from error
    choose_renderer()
    environment = _rendering(task, lambda: task.make(mode, render_mode="rgb_array"))
    try:
        every, rate = pace(environment)
        observation, info = environment.reset(seed=seed)
        with replacing(path) as partial:
            writer = imageio_ffmpeg.write_frames(
                str(partial),
                _rendered(task, environment).shape[1::-1],
                fps=rate,
                quality=6,
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-f", "mp4"],  # which the name of a partial file does not tell
            )
            writer.send(None)
            space = environment.action_space
            for step in range(int(seconds * rate) * every):
                if step % every == 0:
                    writer.send(np.ascontiguousarray(_rendered(task, environment)))
                    on_frame()
                alone = {name: np.asarray(value)[None] for name, value in info.items()}
                action = within(space, act(apply(lambda array: np.asarray(array)[None], observation), alone))[0]
                observation, _, terminated, truncated, info = environment.step(action.astype(space.dtype))
                if terminated or truncated:
                    break
            writer.close()
    finally:
        environment.close()


def pace(environment: Any) -> tuple[int, float]:
    """Return how many steps of the environment pass from frame to frame, and how many frames a second that makes."""
    steps = environment.metadata.get("render_fps") or _FRAMES_PER_SECOND
    every = max(1, round(steps / _FRAMES_PER_SECOND))
    return every, steps / every


def _rendered(task: Task, environment: Any) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of the environment, both even as films need."""
    picture = np.asarray(_rendering(task, environment.render))
    height, width = (size - size % 2 for size in picture.shape[:2])
    return picture[:height, :width]


def _rendering(task: Task, draw: Callable[[], Any]) -> Any:
    """Return what `draw` returns.

    Raises:
        InputError: it cannot draw on this machine, for whatever reason.
    """
    try:
        return draw()
    except (InputError, DependencyNotInstalled, ModuleNotFoundError) as error:  # these say what to install
        raise InputError(f"{task.name} cannot be filmed: {error}") from error
    # OpenGL's parts fail in ways of their own where there is no screen and nothing to draw without one.
    except Exception as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        opengl = any("OpenGL" in file or "mujoco" in file for file in files)
        remedy = "; without a screen install OSMesa (Debian: apt install libosmesa6) or, with a GPU, set MUJOCO_GL=egl"
        raise InputError(
            f"this machine cannot draw {task.name} ({type(error).__name__}: {error}){remedy if opengl else ''}"
        ) from error


def choose_renderer() -> None:
    """Make MuJoCo draw in software where there is neither a screen nor a choice of the user's."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl" if Path("/dev/dri").exists() else "osmesa")
