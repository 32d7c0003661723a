"""Devices, and random generators."""

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
    state = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
