"""Normalisation of observations and actions by the moments of the demonstrations."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.demonstrations.columns import measure
from manyways.demonstrations.observations import Observations, apply, entries
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.demonstrations.stored import on_disk
from manyways.networks.limits import FARTHEST as FARTHEST
from manyways.networks.limits import IMAGE_SCALE

_PRECISE = 1e4  # standard deviations from the origin, beyond which single precision is too coarse


class Normalizer(nn.Module):
    """Shifts and scales each column to mean 0 and standard deviation 1, as measured on the demonstrations.

    A column that does not vary there becomes 0, whatever its later values; `restore` gives its mean.

    Args:
        shape: of one step's values.
    """

    mean: Tensor  # in double precision, for positions far from the origin
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, values: NDArray[Any]) -> None:
        """Measure the columns of `values` (rows, ...)."""
        moments = measure(values)
        self.mean.copy_(torch.from_numpy(moments.mean))
        self.std.copy_(torch.from_numpy(np.where(moments.varies, moments.std, 0.0)))

    @property
    def scale(self) -> Tensor:
        """The inverse standard deviations, 0 where a column does not vary."""
        return torch.where(self.std > 0, 1 / self.std, 0.0)

    @property
    def precise(self) -> bool:
        """Whether a column lies so far from the origin that raw values must be in double precision."""
        return bool((self.mean.abs() > _PRECISE * self.std)[self.std > 0].any())

    def normalize(self, values: Tensor) -> Tensor:
        """Return (values - mean) / std in single precision, (..., *shape)."""
        return (values - self.mean.to(values.dtype)).float() * self.scale

    def restore(self, values: Tensor) -> Tensor:
        """Return values * std + mean, (..., *shape)."""
        return values * self.std + self.mean.to(values.dtype)


class ImageScaler(nn.Module):
    """Scales images of bytes to -1 to 1; there is nothing to measure."""

    precise = False

    def fit(self, values: NDArray[Any]) -> None:
        """Do nothing."""

    def normalize(self, values: Tensor) -> Tensor:
        """Return images (..., height, width[, channels]), from -1 to 1."""
        return values.float() / IMAGE_SCALE - 1


class ObservationNormalizer(nn.Module):
    """Normalises observations of any space: vectors by their moments, clipped at ±10 deviations; images by their range.

    Args:
        space: of one observation.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        boxes = entry_spaces(space)
        self._names = list(boxes)
        self.sizes = {name: math.prod(box.shape) for name, box in boxes.items()}
        # In a list, because a module's name allows fewer characters than a dictionary's.
        self.parts = nn.ModuleList(_normalizer(box) for box in boxes.values())

    def fit(self, observations: Observations) -> None:
        """Measure observations (steps, ...)."""
        for name, array in entries(observations):
            self.part(name).fit(array)

    def part(self, name: str = "") -> Any:
        """Return the normaliser of one entry of a dictionary, or of the box."""
        return self.parts[self._names.index(name)]

    @property
    def precise(self) -> bool:
        """Whether raw observations must be in double precision."""
        return any(self.part(name).precise for name in self._names)

    @property
    def size(self) -> int:
        """The dimensions of a flat observation."""
        return len(self.part().mean)

    def forward(self, observations: Any) -> Any:
        """Return normalised observations (..., *shape), or a dictionary of them."""
        if isinstance(observations, Mapping):
            return {name: self._normalize(name, observations[name]) for name in self._names}
        return self._normalize("", observations)

    def _normalize(self, name: str, values: Tensor) -> Tensor:
        normalized: Tensor = self.part(name).normalize(values)
        return normalized.clamp(-FARTHEST, FARTHEST)


def to_tensors(observations: Any, device: Any = None) -> Any:
    """Return arrays as tensors on a device, entry by entry."""
    return apply(lambda array: _to_tensor(array).to(device), observations)


def in_memory(observations: Any, device: Any = None) -> Any:
    """Return the same, but arrays that stay on the disk as they are; `take` reads their rows."""
    return apply(lambda array: array if on_disk(array) else _to_tensor(array).to(device), observations)


def take(inputs: Any, rows: Any) -> Any:
    """Return these rows of tensors, or of arrays on the disk, as tensors, entry by entry."""
    return apply(lambda values: _rows(values, rows), inputs)


def _rows(values: Any, rows: Any) -> Tensor:
    if isinstance(values, Tensor):
        return values[rows]
    return _to_tensor(np.asarray(values[rows.cpu().numpy()])).to(rows.device)


def _to_tensor(array: NDArray[Any]) -> Tensor:
    # PyTorch takes no array that cannot be written to, such as a part of a file.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _normalizer(box: spaces.Box) -> nn.Module:
    return ImageScaler() if box.dtype == np.uint8 and len(box.shape) > 1 else Normalizer(box.shape)
