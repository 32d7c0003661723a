"""TensorBoard events, written by the caller's own thread.

PyTorch's `SummaryWriter` writes from a thread of its own: when the disk is full, that thread dies with a traceback and
the caller learns of it later, or never. Here the error reaches the caller.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from manyways.files import write_error


class TensorBoard:
    """Appends scalars to a new events file in `folder`.

    Args:
        folder: of the run, for TensorBoard's `--logdir`.
        start: the first step that will come; TensorBoard forgets what earlier files say from there on.

    Raises:
        WriteError: the system refused to write; so do all methods.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads the files in the order of their names.
            self._file = open(folder / f"events.out.tfevents.{time.time():017.6f}.manyways", "xb")  # noqa: SIM115
        except OSError as error:
            raise write_error(folder, error) from error
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=start, session_log=SessionLog(status=SessionLog.START)))

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append the value of each tag at a step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        try:
            self._records.write(event.SerializeToString())
        except OSError as error:
            raise write_error(self._folder, error) from error

    def flush(self) -> None:
        """Put what was appended on the disk."""
        try:
            self._file.flush()
        except OSError as error:
            raise write_error(self._folder, error) from error

    def close(self) -> None:
        """End the file."""
        try:
            self._file.close()
        except OSError as error:
            raise write_error(self._folder, error) from error
