"""The two files of a policy."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyways.errors import InputError
from manyways.files import read_arrays, read_json, read_tensors, write_json, write_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

DESCRIPTION_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
FORMAT = 2


def write_files(folder: Path, description: dict[str, Any], tensors: "dict[str, Tensor]") -> None:
    """Write policy.json, with the fingerprint of the weights, and policy.safetensors.

    Raises:
        WriteError: the system refused to write.
    """
    write_tensors(folder / WEIGHTS_FILE, tensors)
    fingerprint = {"weights_sha256": _sha256(folder / WEIGHTS_FILE)}
    write_json(folder / DESCRIPTION_FILE, {"format": FORMAT} | description | fingerprint)


def read_files(folder: Path) -> "tuple[dict[str, Any], dict[str, Tensor]]":
    """Return the description and the tensors in a folder.

    Raises:
        InputError: there is no policy, a file of it is damaged, or the files do not belong together.
    """
    return _read(folder, read_tensors)


def read_arrays_of(folder: Path) -> "tuple[dict[str, Any], dict[str, NDArray[Any]]]":
    """Return the same with arrays for tensors, without PyTorch."""
    return _read(folder, read_arrays)


_LAYERS = ("blocks", "layers")
_SIZES = ("window", "chunk", "executed", "hidden", "details", "components", "bins", "heads")


def require_sizes(settings: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    """Raise `ValueError` where a network would be far larger than the tensors in its file.

    Args:
        settings: of the network, from its file.
        shapes: of the tensors.
    """
    largest = max((max(shape, default=1) for shape in shapes), default=1)
    for names, most in ((_LAYERS, len(shapes)), (_SIZES, largest)):
        for name in names:
            if int(settings.get(name, 0)) > most:
                raise ValueError(f"{name} is {settings[name]}, but the weights are of at most {most}")


def _read(folder: Path, read: "Callable[[Path], dict[str, Any]]") -> tuple[dict[str, Any], dict[str, Any]]:
    path, weights = folder / DESCRIPTION_FILE, folder / WEIGHTS_FILE
    description, tensors = read_json(path), read(weights)
    if not isinstance(description, dict) or not {"format", "weights_sha256"} <= set(description):
        raise InputError(f"{path} is damaged (it describes no policy); restore it or train again")
    if description["format"] != FORMAT:
        newer = isinstance(description["format"], int) and description["format"] > FORMAT
        remedy = "update manyways" if newer else "train again"
        raise InputError(f"{path} has format {description['format']}; this version reads {FORMAT}: {remedy}")
    if description["weights_sha256"] != _sha256(weights):
        raise InputError(f"{weights} is not what {path} describes; restore both or train again")
    return description, tensors


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
