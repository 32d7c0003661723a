"""Networks and optimizers as named tensors, so that a checkpoint is a file that cannot run code."""

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor
from torch.optim import Optimizer

from manyways.errors import InputError


def add_prefix(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `name.` before their names."""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


def take_prefix(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `name.`, without that."""
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state, as PARAMETER.NAME."""
    return {
        f"{parameter}.{name}": value
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def load_moments(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Set an optimizer's state to what `moments` returned; its settings stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split(".")
        state.setdefault(int(parameter), {})[name] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def reason(error: Exception) -> str:
    """Return what went wrong when tensors were loaded, in one line; PyTorch puts a headline before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[1] if len(lines) > 1 and "loading state_dict" in lines[0] else repr(error)


@contextlib.contextmanager
def fitting_checkpoint() -> Iterator[None]:
    """Turn errors of a checkpoint that does not fit the settings into `InputError`."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the checkpoint does not fit the settings ({reason(error)}); start in another folder"
        ) from error
