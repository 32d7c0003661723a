"""Which columns of numbers vary, and how they are stored without losing what varies."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError

_ROUNDING = 8  # units in the last place; a smaller standard deviation is rounding, not information
FARTHEST = 10.0  # standard deviations at which normalised values are clipped
_LEAST_RESOLVED = 1000  # steps of single precision in a standard deviation; with fewer a column stays double


def varying(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which columns of `values` (rows, ...) vary by more than their own size and precision explain, (...)."""
    if values.dtype.kind in "iub":
        return np.asarray(values.max(axis=0) > values.min(axis=0))
    largest = np.abs(values).max(axis=0).astype(np.float64)
    std = values.std(axis=0, dtype=np.float64)
    return np.asarray(std > _ROUNDING * np.finfo(values.dtype).eps * largest)


def inverse_std(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return the inverse standard deviation of each column of `values` (rows, ...), 0 where it does not vary."""
    std = values.std(axis=0, dtype=np.float64)
    return np.divide(1, std, out=np.zeros_like(std), where=varying(values) & (std > 0)).astype(np.float32)


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
        InputError: it is not an array of real numbers.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:  # nested lists of different lengths
        raise InputError(f"{name} are not a regular array ({error}); give equal rows") from error
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are of type {array.dtype}, not real numbers; convert them")
    if array.dtype == np.uint8 and array.ndim > 2:
        return array
    if (array.dtype.kind == "f" and array.dtype.itemsize <= 4) or array.size == 0 or array.dtype.kind == "b":
        return array.astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # values that are too large become infinite: an error later
        single = array.astype(np.float32)
        double = array.astype(np.float64, copy=False)
        step = np.finfo(np.float32).eps * np.abs(double).max(axis=0)
        coarse = varying(double) & (double.std(axis=0) < _LEAST_RESOLVED * step)
    return double if bool(np.any(coarse)) and bool(np.isfinite(double).all()) else single


def as_actions(value: Any, name: str, discrete: bool | None = None) -> NDArray[Any]:
    """Return actions: choices as int64, all else as real numbers.

    Args:
        value: (steps,) or (steps, n).
        name: what to call it in an error.
        discrete: whether whole numbers are choices; None for those of the shape (steps,) only.

    Raises:
        InputError: as `as_numbers`, or a choice is negative.
    """
    array = as_numbers(value, name)
    whole = np.asarray(value).dtype.kind in "iub"
    if discrete is False or not whole or (discrete is None and array.ndim != 1):
        return array
    if array.size and array.min() < 0:
        raise InputError(f"{name} have the choice {int(array.min())}; number the choices from 0")
    return np.asarray(value).astype(np.int64)
