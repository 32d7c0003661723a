"""Angles and quaternions: columns that come round, which are learned as columns that do not.

An angle jumps by a turn, and a quaternion and its negative are the same rotation. The mean of two such values is
neither. So networks and clustering see the sine and the cosine of an angle, and the first two columns of a quaternion's
rotation matrix, which have no jump (Zhou et al. 2019). The user sees neither: raw columns come in and go out.

A matrix is made whatever the order of the quaternion's components is, since exchanging them changes no distance.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.spaces import Space, with_columns
from manyways.demonstrations.stored import mapped

Floats = NDArray[np.floating[Any]]

_TINY = 1e-9
_LARGEST = 2**20  # columns that a file may claim


@dataclass(frozen=True)
class Angle:
    """A column that is an angle.

    Attributes:
        place: of the column.
        turn: of how many units a whole turn is, such as 2π or 360.
        start: the least angle that is given back; the greatest is just below `start` + `turn`.
    """

    place: int
    turn: float
    start: float


@dataclass(frozen=True)
class Turning:
    """Which columns of an array are angles and quaternions.

    Args:
        size: how many columns the array has.
        names: of the columns, or None.
        angles: in the order of their places.
        quaternions: the first of the four columns of each, in order.

    Raises:
        ValueError: a column is not there, or declared twice.
    """

    size: int
    names: tuple[str, ...] | None = None
    angles: tuple[Angle, ...] = ()
    quaternions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        taken = [angle.place for angle in self.angles]
        taken += [first + part for first in self.quaternions for part in range(4)]
        if not 0 < self.size <= _LARGEST or len(set(taken)) < len(taken) or not all(0 <= t < self.size for t in taken):
            raise ValueError(f"no {self.size} columns have angles and quaternions at {taken}")
        if self.names is not None and len(self.names) != self.size:
            raise ValueError(f"{self.size} columns have no {len(self.names)} names")
        if any(not (0 < angle.turn < math.inf and math.isfinite(angle.start)) for angle in self.angles):
            raise ValueError("a turn is no positive number")

    @cached_property
    def others(self) -> list[int]:
        """The places of the columns that are neither."""
        taken = {angle.place for angle in self.angles} | {q + part for q in self.quaternions for part in range(4)}
        return [place for place in range(self.size) if place not in taken]

    @property
    def encoded_size(self) -> int:
        """How many columns are learned."""
        return len(self.others) + 2 * len(self.angles) + 6 * len(self.quaternions)

    def encoded_names(self, what: str) -> tuple[str, ...]:
        """Return what the columns that are learned are called; `what` is the array, where raw ones have no names."""
        own = self.names or tuple(f"{what}.{place}" for place in range(self.size))
        found = [own[place] for place in self.others]
        found += [f"{kind} {own[angle.place]}" for angle in self.angles for kind in ("sin", "cos")]
        found += [f"{own[first]} matrix {part}" for first in self.quaternions for part in range(6)]
        return tuple(found)

    def encode(self, values: Floats) -> Floats:
        """Return the columns that are learned, (..., encoded size), from raw ones (..., size)."""
        parts = [values[..., self.others]]
        for angle in self.angles:
            phase = values[..., angle.place, None] * (2 * np.pi / angle.turn)
            parts += [np.sin(phase), np.cos(phase)]
        parts += [_matrix_of(values[..., first : first + 4]) for first in self.quaternions]
        return np.concatenate(parts, axis=-1, dtype=values.dtype)

    def decode(self, values: Floats) -> Floats:
        """Return raw columns, (..., size), from those that are learned, (..., encoded size).

        A quaternion has length 1, and its largest component is positive.
        """
        raw = np.empty((*values.shape[:-1], self.size), values.dtype)
        at = len(self.others)
        raw[..., self.others] = values[..., :at]
        for angle in self.angles:
            phase = np.arctan2(values[..., at], values[..., at + 1]) * (angle.turn / (2 * np.pi))
            raw[..., angle.place] = angle.start + (phase - angle.start) % angle.turn
            at += 2
        for first in self.quaternions:
            raw[..., first : first + 4] = _quaternion_of(values[..., at : at + 6])
            at += 6
        return raw


@dataclass(frozen=True)
class Rotations:
    """Which columns of demonstrations are angles and quaternions.

    Attributes:
        arrays: by array, "observations", "observations/ENTRY" or "actions"; those without any are left out.
        encoded: whether the demonstrations that say so hold the columns that are learned already.
        recognised: whether the data shows them, and nobody declared them.
    """

    arrays: Mapping[str, Turning]
    encoded: bool = False
    recognised: bool = False

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.arrays)

    @property
    def named(self) -> list[str]:
        """What the angles, and the first columns of the quaternions, are called."""
        found = []
        for what, own in self.arrays.items():
            names = own.names or tuple(f"{what}.{place}" for place in range(own.size))
            found += [names[place] for place in (*(angle.place for angle in own.angles), *own.quaternions)]
        return found

    def encode_observations(self, observations: Any) -> Any:
        """Return observations (..., *shape), or a dictionary of them, as they are learned."""
        if isinstance(observations, Mapping):
            return {name: self._encode(f"observations/{name}", array) for name, array in observations.items()}
        return self._encode("observations", observations)

    def encode_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return actions (..., size) as they are learned."""
        return self._encode("actions", actions)

    def decode_actions(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Return the user's actions (..., size)."""
        return self.arrays["actions"].decode(actions) if "actions" in self.arrays else actions

    def _encode(self, what: str, array: NDArray[Any]) -> NDArray[Any]:
        return mapped(self.arrays[what].encode, array) if what in self.arrays else array

    def names(self, names: Mapping[str, tuple[str, ...]] | None) -> dict[str, tuple[str, ...]]:
        """Return the names of the columns that are learned, by array, from those of the raw ones."""
        return dict(names or {}) | {what: turning.encoded_names(what) for what, turning in self.arrays.items()}

    def raw_space(self, space: Space, what: str) -> Space:
        """Return the space of the user's observations or actions.

        Args:
            space: as it is learned.
            what: "observations" or "actions".

        Raises:
            ValueError: the columns are not those of the space.
        """
        turnings = {name: turning for name, turning in self.arrays.items() if name.split("/")[0] == what}
        for name, turning in turnings.items():
            space = with_columns(space, name.partition("/")[2], turning.encoded_size, turning.size, turning.names)
        return space

    def columns(self) -> dict[str, Any]:
        """Return what decides how columns are learned, by array: their number, the angles with turns, quaternions."""
        return {
            what: (own.size, [(angle.place, angle.turn) for angle in own.angles], own.quaternions)
            for what, own in self.arrays.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return the same for a file."""
        return {what: asdict(turning) for what, turning in self.arrays.items()}

    @classmethod
    def from_json(cls, value: Any) -> "Rotations | None":
        """Return what `to_json` wrote; None for nothing.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        arrays = {}
        for what, own in (value or {}).items():
            angles = tuple(Angle(int(a["place"]), float(a["turn"]), float(a["start"])) for a in own["angles"])
            names = None if own["names"] is None else tuple(map(str, own["names"]))
            arrays[str(what)] = Turning(int(own["size"]), names, angles, tuple(map(int, own["quaternions"])))
        return cls(arrays) if arrays else None

    def of(self, encoded: bool) -> "Rotations":
        """Return the same, of demonstrations that hold the columns that are learned, or raw ones."""
        return replace(self, encoded=encoded)

    def kept(self, what: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return what is learned of an array, (steps, n), without what is learned of rotations, which comes last."""
        if not self.encoded or what not in self.arrays:
            return array
        count = len(self.arrays[what].others)
        return mapped(lambda rows: rows[:, :count], array)


def _matrix_of(quaternions: Floats) -> Floats:
    """Return the first two columns of rotation matrices, (..., 6), of quaternions (..., 4) of either sign."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    a, b, c, d = np.moveaxis(quaternions / np.maximum(length, _TINY), -1, 0)
    first = a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)
    second = 2 * (b * c - a * d), a * a - b * b + c * c - d * d, 2 * (c * d + a * b)
    return np.stack([*first, *second], axis=-1)


def _quaternion_of(columns: Floats) -> Floats:
    """Return quaternions (..., 4) of the nearest rotations to the first two columns of matrices, (..., 6)."""
    columns = columns.astype(np.float64)
    x, second = _unit(columns[..., :3]), columns[..., 3:]
    y = _unit(second - (x * second).sum(axis=-1, keepdims=True) * x)
    # Entry (row, column) of the matrix; the table is four times the products of the quaternion's components.
    (x0, x1, x2), (y0, y1, y2) = np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0)
    z0, z1, z2 = np.moveaxis(np.cross(x, y), -1, 0)
    table = [
        [1 + x0 + y1 + z2, y2 - z1, z0 - x2, x1 - y0],
        [y2 - z1, 1 + x0 - y1 - z2, x1 + y0, z0 + x2],
        [z0 - x2, x1 + y0, 1 - x0 + y1 - z2, y2 + z1],
        [x1 - y0, z0 + x2, y2 + z1, 1 - x0 - y1 + z2],
    ]
    products = np.stack([np.stack(row, axis=-1) for row in table], axis=-2)
    largest = np.diagonal(products, axis1=-2, axis2=-1).argmax(axis=-1)
    return _unit(np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :])


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)
