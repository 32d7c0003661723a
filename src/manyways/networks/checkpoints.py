"""Networks and optimizers as named tensors, so that a checkpoint is a file that cannot run code."""

from collections.abc import Mapping

from torch import Tensor
from torch.optim import Optimizer


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
