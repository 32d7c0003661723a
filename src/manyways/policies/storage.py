"""What every kind of policy has in common: its two files, and what it takes for an observation."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from manyways.errors import InputError
from manyways.files import read_json, read_tensors, write_json, write_tensors

DESCRIPTION_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
_FORMAT = 1

T = TypeVar("T")


def write_policy(folder: str | Path, description: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write policy.json, with the fingerprint of the weights, and policy.safetensors.

    Raises:
        WriteError: the system refused to write.
    """
    folder = Path(folder)
    write_tensors(folder / WEIGHTS_FILE, tensors)
    fingerprint = {"weights_sha256": _sha256(folder / WEIGHTS_FILE)}
    write_json(folder / DESCRIPTION_FILE, {"format": _FORMAT} | description | fingerprint)


def read_policy(folder: str | Path, build: Callable[[dict[str, Any], dict[str, Tensor]], T]) -> T:
    """Return what `build` makes of the description and the tensors in a folder.

    Raises:
        InputError: there is no policy, or a file of it is damaged; `build` may raise anything that damaged files cause.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION_FILE
    description = read_json(path)
    tensors = read_tensors(folder / WEIGHTS_FILE)
    try:
        if description["format"] != _FORMAT:
            raise InputError(f"{path} has format {description['format']}; this version reads {_FORMAT}")
        if description["weights_sha256"] != _sha256(folder / WEIGHTS_FILE):
            raise InputError(f"{folder / WEIGHTS_FILE} is not what {path} describes; restore both or train again")
        return build(description, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error!r}); restore it or train again") from error


def as_batch(observation: ArrayLike, size: int) -> tuple[NDArray[np.float32], bool]:
    """Return observations (environments, size), and whether a single one was given.

    Raises:
        InputError: they are neither (size,) nor (environments, size).
    """
    observations = np.asarray(observation, dtype=np.float32)
    if observations.ndim not in (1, 2) or observations.shape[-1] != size:
        raise InputError(
            f"the observation has shape {observations.shape}; this policy acts on ({size},) or (environments, {size})"
        )
    return np.atleast_2d(observations), observations.ndim == 1


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
