"""One training at a time in a folder.

The operating system holds the lock, so a process that dies gives it back; the file says who has it.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from manyways.errors import InputError
from manyways.files import write_error

LOCK = ".lock"
_BEYOND = 2**30  # Windows locks bytes so that nobody else reads them: one that nobody reads


@contextmanager
def training_in(folder: Path) -> Iterator[None]:
    """Hold the folder for one training; a folder that is empty in the end and was not there before is removed.

    Args:
        folder: of a run; made if it is not there.

    Raises:
        InputError: another process trains in this folder.
        WriteError: the system refused to write.
    """
    path = folder / LOCK
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _locked(path)
    except OSError as error:
        raise write_error(path, error) from error
    if file is None:
        raise InputError(
            f"{_holder(path)} is training in {folder}; wait for it to end, or give another folder with --out"
        )
    try:
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": time.strftime("%Y-%m-%d %H:%M:%S")}
        file.write(json.dumps(owner))
        file.flush()
        yield
    finally:
        if os.name != "nt":
            path.unlink(missing_ok=True)  # before it is given back, so that nobody else's is removed
        file.close()
        if os.name == "nt":
            with suppress(OSError):
                path.unlink()
        for place in missing:
            with suppress(OSError):
                place.rmdir()


def _locked(path: Path) -> IO[str] | None:
    """Return the lock's file, empty and locked; None where another process holds it."""
    while True:
        file = open(path, "a+")  # noqa: SIM115
        if not _lock(file):
            file.close()
            return None
        # The holder before may have removed this file between our opening and our locking it.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate(0)
                return file
        file.close()


def _lock(file: IO[str]) -> bool:
    """Lock a file if nobody else has; a file system without locks lets everybody in."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(_BEYOND)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def _holder(path: Path) -> str:
    """Return who holds the lock, in a few words."""
    try:
        owner = json.loads(path.read_text())
        return f"process {owner['pid']} on {owner['host']}, since {owner['started']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
