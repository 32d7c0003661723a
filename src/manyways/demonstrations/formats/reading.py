"""What the readers share: damaged files become one sentence, links do not lead out, packages may be missing."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from manyways.errors import InputError, ManywaysError


@contextmanager
def input_errors(path: Path, kind: str) -> Iterator[None]:
    """Turn what libraries raise on damaged data into one sentence.

    Args:
        path: what is read.
        kind: what it should be, such as "Minari data set".

    Raises:
        InputError: the block raised it, or another error that says that the data is damaged.
    """
    try:
        yield
    except ManywaysError:
        raise
    except ImportError as error:
        raise InputError(f"{path} needs a package that is not installed ({error}); install it with pip") from error
    # HDF5, Arrow, zarr and JSON raise all of these; for the user each means damaged data.
    except (
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        LookupError,
        TypeError,
        AssertionError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        EOFError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} is a damaged {kind} ({reason}); restore it or make it anew") from error


def require_package(name: str, path: Path | str, extra: str = "formats") -> Any:
    """Import a package of an extra.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise InputError(f"{path} needs {package}; install it with pip install 'manyways[{extra}]'") from error


def require_inside(folder: Path, path: Path) -> Path:
    """Return `path`, which must lie in `folder` once links are followed.

    Raises:
        InputError: it leads out of the folder.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} leads out of the folder {folder}; copy the folder with what its links stand for")
    return path


def files_in(folder: Path, pattern: str = "**/*") -> list[Path]:
    """Return the files in a folder that fit the pattern, sorted; hidden ones are left out.

    Raises:
        InputError: one of them is a link that leads out of the folder, or no plain file.
    """
    found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
    return [_require_plain(require_inside(folder, path)) for path in found if not path.is_dir()]


def _require_plain(path: Path) -> Path:
    """Return `path`, unless it is a pipe or a device, which may never end."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is a pipe or a device, not a file; copy its data to a file")
    return path


def stored_size(folder: Path) -> int:
    """Return how many bytes the files of a folder have.

    Raises:
        InputError: a link leads out of the folder, or a file is no plain one.
    """
    size = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            if path.is_symlink():
                require_inside(folder, path)
            if name in files:
                size += _require_plain(path).stat().st_size
    return size
