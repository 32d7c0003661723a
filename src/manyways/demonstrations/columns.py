"""Which columns of numbers vary, and how they are stored without losing what varies."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.stored import blocks, mapped, on_disk
from manyways.errors import InputError

_ROUNDING = 8  # units in the last place; a smaller standard deviation is rounding, not information
FARTHEST = 10.0  # standard deviations at which normalised values are clipped
_SMALLEST, _LARGEST = 1e-37, 1e19  # beyond which inverses or squares overflow in single precision
_LEAST_RESOLVED = 1000  # steps of single precision in a standard deviation; with fewer a column stays double


@dataclass(frozen=True)
class Moments:
    """What is known of each column of some values, (...), read block by block.

    Attributes:
        minimum, maximum: in the values' own type.
        mean, std: in double precision. The mean is subtracted before squares are added, so that columns far from the
            origin keep what varies.
        dtype: of the values.
    """

    minimum: NDArray[Any]
    maximum: NDArray[Any]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    dtype: np.dtype[Any]

    @property
    def largest(self) -> NDArray[np.float64]:
        """The greatest absolute value."""
        return np.maximum(np.abs(self.minimum.astype(np.float64)), np.abs(self.maximum.astype(np.float64)))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """Which columns vary by more than their own size and precision explain."""
        if self.dtype.kind in "iub":
            return np.asarray(self.maximum > self.minimum)
        least = np.maximum(_ROUNDING * np.finfo(self.dtype).eps * self.largest, _SMALLEST)
        return np.asarray(self.std > least)


def limits(values: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the least and the greatest value of each column of `values` (rows, ...), which may stay on the disk."""
    pairs = [(block.min(axis=0), block.max(axis=0)) for _, block in blocks(values)]
    return np.minimum.reduce([low for low, _ in pairs]), np.maximum.reduce([high for _, high in pairs])


def measure(values: Any) -> Moments:
    """Return the moments of the columns of `values` (rows, ...), which may stay on the disk."""
    lows, highs, sums, squares = [], [], [], []
    for _, block in blocks(values):
        lows.append(block.min(axis=0))
        highs.append(block.max(axis=0))
        sums.append(block.sum(axis=0, dtype=np.float64))
    mean = np.asarray(sum(sums[1:], start=sums[0]) / len(values))
    for _, block in blocks(values):
        centred = block - mean
        squares.append(np.multiply(centred, centred, out=centred).sum(axis=0))
    variance = sum(squares[1:], start=squares[0]) / len(values)
    return Moments(np.minimum.reduce(lows), np.maximum.reduce(highs), mean, np.sqrt(variance), values.dtype)


def varying(values: Any) -> NDArray[np.bool_]:
    """Return which columns of `values` (rows, ...) vary by more than their own size and precision explain, (...)."""
    if values.dtype.kind in "iub":
        low, high = limits(values)
        return np.asarray(high > low)
    return measure(values).varies


def inverse_std(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the inverse standard deviation of each column of `values` (rows, ...), 0 where it does not vary."""
    moments = measure(values)
    std = moments.std
    return np.divide(1, std, out=np.zeros_like(std), where=moments.varies & (std > 0)).astype(np.float32)


def normalized(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return columns (rows, n) with mean 0 and variance 1, clipped far away; constant ones are 0."""
    values = np.asarray(values, np.float64)
    std = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(std > 1e-12 * np.abs(values).max(axis=0), std, np.inf)
    return scaled.clip(-FARTHEST, FARTHEST)


def as_numbers(value: Any, name: str) -> NDArray[Any]:
    """Return `value` as float32, or as float64 where single precision is too coarse for how a column varies.

    Positions far from the origin need that: at 4,500,000 m single precision has steps of half a metre. Images (uint8)
    stay as they are.

    Args:
        value: (steps, ...).
        name: what to call it in an error.

    Raises:
        InputError: it is not an array of real numbers, or in units too small or too large to compute with.
    """
    array = _as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are of type {array.dtype}, not real numbers; convert them")
    if array.dtype.kind == "f" and not on_disk(array) and array.size:
        _require_units(array, name)
    if (array.dtype == np.uint8 and array.ndim > 2) or (on_disk(array) and array.dtype == np.float32):
        return array
    return as_type(array, _precision(array))


def _require_units(array: NDArray[Any], name: str) -> None:
    """Raise `InputError` where all values, or most of a column's, are too small or too large to compute with."""
    least, most = array.min(), array.max()  # not finite ones are found later, with their places
    largest = max(-least, most)
    if 0 < largest < _SMALLEST:
        raise InputError(f"{name} are at most {largest:.3g}, too small to compute with; give them in smaller units")
    large = np.isfinite(largest) and largest > _LARGEST
    if large and np.median(np.abs(np.atleast_1d(array)), axis=0).max() > _LARGEST:
        raise InputError(f"{name} are up to {largest:.3g}, too large to compute with; give them in larger units")


def as_type(array: Any, dtype: Any) -> Any:
    """Return an array's values in another type; those that are too large for it become infinite: an error later."""

    def cast(rows: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(over="ignore", invalid="ignore"):
            return rows.astype(dtype, copy=False)

    return array if array.dtype == dtype else mapped(cast, array)


def _precision(array: Any) -> Any:
    """Return the type in which an array is kept: float32, or float64 where that is too coarse for a column."""
    if (
        array.dtype.kind == "b"
        or not array.ndim
        or (array.dtype.kind == "f" and array.dtype.itemsize <= 4)
        or 0 in array.shape
    ):
        return np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        moments = measure(as_type(array, np.float64))
        step = np.finfo(np.float32).eps * moments.largest
        coarse = moments.varies & (moments.std < _LEAST_RESOLVED * step)
    return np.float64 if bool(np.any(coarse)) and bool(np.isfinite(moments.largest).all()) else np.float32


def as_actions(value: Any, name: str, discrete: bool | None = None) -> NDArray[Any]:
    """Return actions: choices as int64, all else as real numbers.

    Args:
        value: (steps,) or (steps, n).
        name: what to call it in an error.
        discrete: whether whole numbers are choices; None for those of the shape (steps,) only.

    Raises:
        InputError: as `as_numbers`, or a choice is negative.
    """
    value = _as_array(value, name)
    array = as_numbers(value, name)
    whole = value.dtype.kind in "iub"
    if discrete is False or not whole or (discrete is None and array.ndim != 1):
        return array
    if len(array) and (least := limits(array)[0].min()) < 0:
        raise InputError(f"{name} have the choice {int(least)}; number the choices from 0")
    return as_type(value, np.int64)


def _as_array(value: Any, name: str) -> Any:
    """Return an array; one on the disk stays there."""
    if on_disk(value):
        return value
    if np.ma.is_masked(value):
        raise InputError(f"{name} have masked values; leave those steps out, or fill them, and give plain arrays")
    try:
        return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)  # PyTorch's, with gradients too
    except ValueError as error:  # nested lists of different lengths
        raise InputError(f"{name} are not a regular array ({error}); give equal rows") from error
