"""Which columns are angles and quaternions: what the user declares, and what is recognised where nothing is declared.

Only what comes round in the data is recognised: an angle that jumps by a whole turn, a quaternion that takes both
signs. Other columns may be learned as they are. Four of length 1 are named for the user to decide.
"""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.rotations import Angle, Rotations, Turning
from manyways.demonstrations.stored import blocks, rows_at_once
from manyways.errors import InputError

Floats = NDArray[np.floating[Any]]

NONE = "none"  # in place of names: no column is an angle, or a quaternion
_UNIT = 0.05  # by which the length of a declared quaternion may differ from 1
# Of columns that look like angles and quaternions.
_DEGREES = 360.0
_NEARLY = 1e-3  # by which the length of four columns may differ from 1
_WHOLE = 0.97  # of a turn, over which an angle that comes round ranges at least
_EXTREME = 0.05  # share of the values at an angle's least or greatest, at most
_FEW = 10  # values, with which a column is no angle but choices
_SIGNED = 500  # rows, among which opposite quaternions are sought
_OPPOSITE = 0.99  # least cosine between a quaternion and the negative of another that is the same rotation
_LOOKED_AT = 2000  # rows, before all are


def declared(
    arrays: Mapping[str, NDArray[Any]],
    names: Mapping[str, tuple[str, ...]] | None,
    angles: Sequence[str],
    quaternions: Sequence[str],
) -> Rotations | None:
    """Return which columns these names mean; None where there are no names.

    Args:
        arrays: all of some demonstrations, by "observations", "observations/ENTRY" and "actions".
        names: of their columns, by array.
        angles: a column each, by its name, or ARRAY.PLACE such as actions.2; in all arrays that have it. In radians,
            or NAME=TURN, such as heading=360. "none" alone says that there are none, so that none are recognised.
        quaternions: the first of four columns, or what their names have in common before the number, as pose of
            pose.0 to pose.3; or "none".

    Raises:
        InputError: there is no such column, it is declared twice, or four columns are no quaternion.
    """
    vectors = {what: array for what, array in arrays.items() if array.ndim == 2 and array.dtype.kind == "f"}
    found: dict[str, tuple[list[Angle], list[int]]] = {}
    for text in without_none(angles):
        name, turn = _with_turn(vectors, names, text)
        for what, place in _places(vectors, names, name, "an angle"):
            low, high = _range(vectors[what], place)
            start = 0.0 if low >= 0 and high > turn / 2 else -turn / 2
            found.setdefault(what, ([], []))[0].append(Angle(place, turn, start))
    for name in without_none(quaternions):
        for what, place in _places(vectors, names, name, "a quaternion"):
            _require_unit(vectors[what], place, name)
            found.setdefault(what, ([], []))[1].append(place)
    if not found:
        return Rotations({}) if NONE in {*angles, *quaternions} else None
    try:
        return Rotations(
            {
                what: Turning(
                    vectors[what].shape[1],
                    (names or {}).get(what),
                    tuple(sorted(own, key=lambda angle: angle.place)),
                    tuple(sorted(first)),
                )
                for what, (own, first) in found.items()
            }
        )
    except ValueError as error:
        raise InputError(
            f"a column is declared twice among the angles {', '.join(angles) or 'none'} and the quaternions "
            f"{', '.join(quaternions) or 'none'}; name each once"
        ) from error


def called(
    arrays: Mapping[str, NDArray[Any]], names: Mapping[str, tuple[str, ...]] | None
) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each column: its array, its place, and by which names it may be declared, the shortest first."""
    for what, array in arrays.items():
        own = (names or {}).get(what)
        for place in range(array.shape[1]):
            known = [] if own is None else [own[place]]
            yield what, place, [*known, f"{what}.{place}", f"{what.partition('/')[2] or what}.{place}"]


def _places(
    arrays: Mapping[str, NDArray[Any]], names: Mapping[str, tuple[str, ...]] | None, name: str, kind: str
) -> list[tuple[str, int]]:
    """Return the columns that are called `name`."""
    wanted = {name} if kind == "an angle" else {name, f"{name}.0"}
    columns = list(called(arrays, names))
    found = [(what, place) for what, place, known in columns if wanted & set(known)]
    if not found:
        shown = list(dict.fromkeys(known[0] for _, _, known in columns))
        raise InputError(f"there is no column {name!r} to be {kind}; the columns are {listed(shown, 40)}")
    return found


def _with_turn(
    arrays: Mapping[str, NDArray[Any]], names: Mapping[str, tuple[str, ...]] | None, text: str
) -> tuple[str, float]:
    """Return a column's name and its turn from NAME or NAME=TURN."""
    name, sign, number = text.rpartition("=")
    if not sign or any(text in known for _, _, known in called(arrays, names)):
        return text, 2 * math.pi
    try:
        turn = float(number)
    except ValueError:
        turn = math.nan
    if not 0 < turn < math.inf:
        raise InputError(f"the angle {text!r} has no turn; give NAME for radians, or NAME=360")
    return name, turn


def _range(values: Any, place: int) -> tuple[float, float]:
    """Return the least and the greatest value of a column, those that are no numbers left out."""
    columns = (block[:, place] for _, block in blocks(values))
    ranges = [(np.nanmin(column), np.nanmax(column)) for column in columns]
    return float(np.nanmin([low for low, _ in ranges])), float(np.nanmax([high for _, high in ranges]))


def _require_unit(values: Any, place: int, name: str) -> None:
    count = min(4, values.shape[1] - place)
    if count < 4:
        raise InputError(f"only {count} columns begin at {name!r}, and a quaternion has four; check the name")
    for start, block in blocks(values):
        lengths = np.linalg.norm(block[:, place : place + 4], axis=1)
        bad = np.flatnonzero(np.abs(lengths - 1) > _UNIT)
        if len(bad):
            raise InputError(
                f"{name!r} is declared a quaternion, but its four columns have the length {lengths[bad[0]]:.3g} in row "
                f"{start + bad[0]}, and not 1; give the first of the four columns"
            )


def without_none(names: Sequence[str]) -> Sequence[str]:
    """Return names of columns; no names where `none` stands alone."""
    return [] if tuple(names) == (NONE,) else names


@dataclass(frozen=True)
class Hints:
    """Columns that look as if they came round, by the names under which they may be declared.

    Attributes:
        angles: that jump by a turn within trajectories.
        quaternions: four columns of length 1.
        signed: those of the quaternions that take both signs.
        recognised: whether angles and signed quaternions are learned as such, since nothing is declared.
    """

    angles: tuple[str, ...] = ()
    quaternions: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    recognised: bool = False

    def sentences(self) -> list[str]:
        """Return what they look like, and what is done or to do about it, a sentence for each kind."""
        kinds = (
            ("angles", self.angles, self.angles, "jump by a whole turn, as angles do"),
            ("quaternions", self.quaternions, self.signed, "begin four columns of length 1, as quaternions do"),
        )
        found = []
        for kind, names, sure, looks in kinds:
            learned = sure if self.recognised else ()
            others = [name for name in names if name not in learned]
            if learned:
                found.append(f"{listed(learned)} {looks}, and are learned as {kind}, unless you say --{kind} none")
            if others:
                words = " ".join(map(shlex.quote, others))
                found.append(f"{listed(others)} {looks}: declare them, if so, with --{kind} {words}")
        return found

    def rotations(
        self, arrays: Mapping[str, NDArray[Any]], names: Mapping[str, tuple[str, ...]] | None
    ) -> Rotations | None:
        """Return which columns are learned as angles and quaternions, though nothing is declared; None for none."""
        found = declared(arrays, names, self.angles, self.signed) if self.recognised else None
        return None if found is None else replace(found, recognised=True)


def find_undeclared(
    arrays: Mapping[str, NDArray[Any]],
    names: Mapping[str, tuple[str, ...]] | None,
    lengths: NDArray[np.int64],
    rotations: Rotations | None = None,
) -> Hints:
    """Return what looks like an angle or a quaternion and is not declared; nothing where there are said to be none.

    Of a large set, the first 2^24 values of each array are looked at.

    Args:
        arrays: of some demonstrations; those that are no vectors are not looked at.
        names: of their columns, by array.
        lengths: (trajectories,).
        rotations: what is declared.
    """
    if rotations is not None and not rotations:
        return Hints()
    vectors = {
        what: array[: rows_at_once(array.shape[1:])]
        for what, array in arrays.items()
        if array.ndim == 2 and array.dtype.kind == "f"
    }
    within = np.ones(max(map(len, vectors.values()), default=1) - 1, bool)
    ends = np.cumsum(lengths) - 1
    within[ends[ends < len(within)]] = False
    angles, quaternions, signed, known = [], [], [], list(called(vectors, names))
    free = {(what, place) for what, place, _ in known}
    for what, turning in ({} if rotations is None or rotations.encoded else rotations.arrays).items():
        free -= {(what, place) for place in set(range(turning.size)) - set(turning.others)}
    for what, place, own in known:
        array = vectors[what]
        if all((what, place + part) in free for part in range(4)) and _is_quaternion(array[:, place : place + 4]):
            free -= {(what, place + part) for part in range(4)}
            base = own[0].removesuffix(".0")
            quaternions.append(base if (names or {}).get(what) and base != own[0] else own[0])
            if _takes_both_signs(array[:, place : place + 4], within):
                signed.append(quaternions[-1])
        elif (what, place) in free and (turn := _turn_of(array[:, place], within)):
            angles.append(own[0] if turn < _DEGREES else f"{own[0]}={turn:.0f}")
    unique = [tuple(dict.fromkeys(found)) for found in (angles, quaternions, signed)]
    return Hints(unique[0], unique[1], unique[2], recognised=rotations is None)


def _turn_of(column: Floats, within: NDArray[np.bool_]) -> float:
    """Return the turn of a column that jumps by one, in radians or degrees; 0 for another column.

    It ranges over a turn. Jumps are more than changes of half a turn, of which independent values have eight times as
    many. Its extremes are rare, which those of a switch, or of what is clipped, are not.
    """
    low, high = float(np.min(column)), float(np.max(column))
    for turn in (2 * math.pi, _DEGREES):
        if not _WHOLE * turn < high - low <= 1.001 * turn:
            continue  # also where a value is not finite
        changes = np.abs(np.diff(column))[within[: len(column) - 1]]
        jumps, between = (changes > 0.75 * turn).sum(), ((changes > 0.25 * turn) & (changes <= 0.75 * turn)).sum()
        extreme = np.mean((column == low) | (column == high))
        if jumps and 2 * between <= jumps and extreme < _EXTREME and len(np.unique(column[:_LOOKED_AT])) > _FEW:
            return turn
    return 0.0


def _is_quaternion(values: Floats) -> bool:
    """Whether four columns have length 1, without being choices."""
    lengths = np.linalg.norm(values[:_LOOKED_AT], axis=1)
    if not (np.abs(lengths - 1) < _NEARLY).all():
        return False
    return bool((np.abs(np.linalg.norm(values, axis=1) - 1) < _NEARLY).all() and (values % 1 != 0).any())


def _takes_both_signs(values: Floats, within: NDArray[np.bool_]) -> bool:
    """Whether quaternions (steps, 4) jump to their negatives on the way, or most have a negative somewhere else."""
    cosines = (values[1:] * values[:-1]).sum(axis=1)[within[: len(values) - 1]]
    jumps, between = (cosines < -0.75).sum(), (np.abs(cosines) < 0.5).sum()
    if jumps and 10 * between <= jumps:
        return True
    some = values[np.linspace(0, len(values) - 1, min(len(values), _SIGNED)).astype(int)]
    return bool(np.median((some @ some.T).min(axis=1)) < -_OPPOSITE)
