"""Pictures as arrays: from PNG and JPEG bytes by Pillow, from videos by PyAV. Nothing in them is run."""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.reading import require_package
from manyways.errors import InputError

_MODES = {1: "L", 3: "RGB"}  # Pillow's, by channels
_FORMATS = {1: "gray", 3: "rgb24"}  # PyAV's

Bytes = NDArray[np.uint8]


def channels_last(shape: tuple[int, ...], names: Iterable[str]) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of pictures of this shape, whose axes have these names; None for others."""
    if len(shape) != 3:
        return None
    first = [str(name).startswith("channel") for name in names][:1] == [True]
    height, width, channels = (*shape[1:], shape[0]) if first else shape
    return (height, width, channels) if channels in _MODES and height > 0 and width > 0 else None


def decoded(pictures: Iterable[Any], shape: tuple[int, ...], what: str) -> Bytes:
    """Return pictures from the bytes of PNG or JPEG files, (n, height, width, channels).

    Args:
        pictures: the bytes of each.
        shape: (height, width, channels) that all must have.
        what: what they are of, for an error.

    Raises:
        InputError: one is missing, damaged, or of another size.
    """
    from PIL import Image

    found = []
    for number, content in enumerate(pictures):
        if not isinstance(content, bytes):
            raise InputError(f"picture {number} of {what} is not in the file; save the pictures with the data")
        try:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
                _require_size((picture.height, picture.width), shape, f"picture {number} of {what}")
                found.append(np.asarray(picture.convert(_MODES[shape[2]])).reshape(shape))
        except InputError:
            raise
        except Exception as error:  # Pillow raises many kinds, even SyntaxError
            raise InputError(f"picture {number} of {what} is damaged ({error}); restore it") from error
    return np.stack(found) if found else np.zeros((0, *shape), np.uint8)


def frames(path: Path, start: float, count: int, rate: float, shape: tuple[int, ...]) -> Bytes:
    """Return frames of a video, (count, height, width, channels).

    Args:
        path: of an MP4 file.
        start: the time of the first of them, in seconds.
        count: how many.
        rate: frames in a second.
        shape: (height, width, channels) that they must have.

    Raises:
        InputError: the file is damaged, of another size, or does not have all these frames.
    """
    av = require_package("av", path, "video")
    found: Bytes = np.empty((count, *shape), np.uint8)
    there = np.zeros(count, bool)
    first = round(start * rate)
    try:
        # Only this file: a hostile one could name others, even on the network.
        with av.open(str(path), format="mp4", options={"protocol_whitelist": "file"}) as container:
            for time, frame in _decoded(container, start, path, shape):
                place = round(time * rate) - first
                if 0 <= place < count:
                    found[place] = frame.to_ndarray(format=_FORMATS[shape[2]]).reshape(shape)
                    there[place] = True
                if place >= count - 1:
                    break
    except (av.FFmpegError, ValueError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is a damaged video ({' '.join(str(error).split())}); download it anew") from error
    if not there.all():
        at = start + int(np.argmin(there)) / rate
        raise InputError(f"{path} has no frame at {at:.3f} s, which the data set needs; download it anew")
    return found


def _decoded(container: Any, start: float, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[float, Any]]:
    """Yield frames with their times, from a little before `start` on."""
    if not container.streams.video:
        raise InputError(f"{path} has no video; download it anew")
    stream = container.streams.video[0]
    _require_size((stream.height, stream.width), shape, str(path))
    if start > 0:
        container.seek(math.floor(start / stream.time_base), stream=stream)  # to the key frame before it
    for frame in container.decode(stream):
        if frame.pts is not None:
            _require_size((frame.height, frame.width), shape, str(path))
            yield float(frame.pts * stream.time_base), frame


def _require_size(size: tuple[int, int], shape: tuple[int, ...], what: str) -> None:
    if size != tuple(shape[:2]):
        raise InputError(
            f"{what} has {size[0]} x {size[1]} pixels, but the data set says {shape[0]} x {shape[1]}; make them alike"
        )
