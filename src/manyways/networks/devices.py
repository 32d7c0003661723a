"""Devices, and random generators."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from manyways.errors import InputError


def choose_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {name!r} here; give 'auto', 'cpu' or, with a GPU, 'cuda'") from error
    return device


def seeded_generator(seed: int, number: int) -> torch.Generator:
    """Return the generator of batch or iteration `number`, on the CPU."""
    return torch.Generator().manual_seed(_state(seed, number))


@contextmanager
def seeded_layers(seed: int, number: int, device: torch.device) -> Iterator[None]:
    """Let layers that draw, such as dropout, draw the same in iteration `number` whenever it is done.

    They take no generator, but PyTorch's own of their device. The user's draws are as if this had not been.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_state(seed, number))
        yield


def _state(seed: int, number: int) -> int:
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]) >> 1
