"""Observations: an array whose first axis counts steps, or a dictionary of such arrays. Functions here take both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Observations = NDArray[Any] | Mapping[str, NDArray[Any]]
"""(steps, ...), or a dictionary of such arrays, all of equally many steps."""

_PIXELS = 8  # on a side, to which `flat` averages an image


def apply(function: Callable[[NDArray[Any]], Any], observations: Any) -> Any:
    """Return `function` of the array, or a dictionary of `function` of each entry."""
    if isinstance(observations, Mapping):
        return {name: function(array) for name, array in observations.items()}
    return function(observations)


def entries(observations: Observations) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each entry's name and array; an array alone has the name ""."""
    if isinstance(observations, Mapping):
        yield from observations.items()
    else:
        yield "", observations


def rows_of(observations: Observations, rows: Any) -> Any:
    """Return the steps at these rows, an index, a slice or an array of indices."""
    return apply(lambda array: array[rows], observations)


def count_steps(observations: Observations) -> int:
    """Return how many steps there are."""
    return len(next(array for _, array in entries(observations)))


def stack(observations: Sequence[Any], axis: int = 0) -> Any:
    """Return observations stacked along a new axis, entry by entry."""
    return _combine(np.stack, observations, axis)


def concatenate(observations: Sequence[Any], axis: int = 0) -> Any:
    """Return observations end to end, entry by entry."""
    return _combine(np.concatenate, observations, axis)


def _combine(join: Callable[..., NDArray[Any]], observations: Sequence[Any], axis: int) -> Any:
    if isinstance(observations[0], Mapping):
        return {name: join([one[name] for one in observations], axis=axis) for name in observations[0]}
    return join(observations, axis=axis)


def flat(array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return vectors (steps, n); an image is averaged to 8 x 8 pixels."""
    if array.ndim == 2:
        return array
    if array.ndim in (3, 4) and min(array.shape[1:3]) > _PIXELS:
        edges = [np.arange(_PIXELS) * size // _PIXELS for size in array.shape[1:3]]
        sums = np.add.reduceat(np.add.reduceat(array, edges[0], axis=1, dtype=np.float32), edges[1], axis=2)
        sizes = [np.diff([*edge, size]) for edge, size in zip(edges, array.shape[1:3], strict=True)]
        array = sums / np.outer(*sizes).reshape(_PIXELS, _PIXELS, *[1] * (array.ndim - 3)).astype(np.float32)
    return array.reshape(len(array), -1).astype(np.float32, copy=False)
