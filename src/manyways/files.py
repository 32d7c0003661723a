"""Files that are written whole or not at all, and read with a clear sentence when they are damaged."""

import errno
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from manyways.errors import InputError, WriteError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor  # loaded where tensors are read or written: it takes seconds

_PARTIAL = ".partial"


def cache_folder() -> Path:
    """Return the folder of what can be made or downloaded again: $MANYWAYS_CACHE, or the system's for caches."""
    return Path(os.environ.get("MANYWAYS_CACHE") or platformdirs.user_cache_dir("manyways"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a sibling of `path` to write a file or folder to; it takes the name `path` when the block ends well.

    Args:
        path: the file or folder to be; a folder must not exist yet, or be empty.

    Raises:
        WriteError: the system refused to write (a full disk, say); what had stood at `path` is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_partial(path.parent)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        _remove(partial)


def write_error(path: Path, error: OSError) -> WriteError:
    """Return the error that tells the user why `path` could not be written and what to do."""
    if isinstance(error, WriteError):
        return error
    # HDF5 reports the errno only inside its text.
    if error.errno == errno.ENOSPC or "No space left on device" in str(error):
        return WriteError(f"cannot write {path}: the disk is full; free some space and run the same command again")
    reason = error.strerror or str(error)
    return WriteError(f"cannot write {path}: {reason}; choose another place or mend that, and run the command again")


def require_space(folder: Path, size: int) -> None:
    """Raise `OSError` unless `size` more bytes fit into one file in `folder`; for writers that cannot fail cleanly."""
    trial = folder / ".space"
    try:
        with open(trial, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            elif shutil.disk_usage(folder).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        trial.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what writers that were killed left behind in `folder`; those of living processes are left alone."""
    for leftover in filter(is_partial, list(folder.iterdir()) if folder.is_dir() else []):
        if not process_lives(int(leftover.name.split(".")[-2])):
            _remove(leftover)


def is_partial(path: Path) -> bool:
    """Return whether `path` is what `replacing` writes to."""
    return re.fullmatch(rf"\..+\.\d+{re.escape(_PARTIAL)}", path.name) is not None


def process_lives(process: int) -> bool:
    """Return whether there is a process of this number; it may be another one that came after it."""
    if sys.platform == "win32":  # where os.kill ends whatever it is asked about
        import ctypes

        query, still_active, code = 0x1000, 259, ctypes.c_ulong()
        handle = ctypes.windll.kernel32.OpenProcess(query, False, process)
        if not handle:
            return False
        ctypes.windll.kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
        ctypes.windll.kernel32.CloseHandle(handle)
        return code.value == still_active
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def require_empty(path: Path) -> None:
    """Raise `InputError` where `path` holds something that writing there would hide."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{path} holds something already; choose another place or remove it")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        path.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, on the disk before it takes the name."""
    with replacing(path) as partial, open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON that people can read."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or not JSON ({error}); restore it or make it anew") from error


def write_tensors(path: Path, tensors: "dict[str, Tensor]") -> None:
    """Write named tensors as safetensors, from whatever device they are on."""
    import safetensors.torch

    write_bytes(path, safetensors.torch.save({name: tensor.detach().cpu() for name, tensor in tensors.items()}))


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read named tensors from safetensors.

    Raises:
        InputError: the file is missing, truncated or damaged.
    """
    from safetensors.torch import load

    return _loaded(path, load)


def read_arrays(path: Path) -> "dict[str, NDArray[Any]]":
    """Read named tensors from safetensors as arrays, without PyTorch.

    Raises:
        InputError: the file is missing, truncated or damaged.
    """
    from safetensors.numpy import load

    return _loaded(path, load)


def _loaded(path: Path, load: "Callable[[bytes], dict[str, Any]]") -> dict[str, Any]:
    import safetensors

    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path") from None
    except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is damaged or truncated ({error}); restore it or make it anew") from error
