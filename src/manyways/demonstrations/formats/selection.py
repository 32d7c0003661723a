"""What to take of a data set: which columns, which episodes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError

_RANGES = re.compile(r"\s*(\d+|\d*:\d*)(\s*,\s*(\d+|\d*:\d*))*\s*")


@dataclass(frozen=True)
class Selection:
    """What to take of a data set.

    Args:
        observations: names of the entries or columns to observe; None for those that the format calls observations.
        actions: names of the entries or columns that are actions; None as above.
        episodes: which ones by their place from 0, such as "0:10" or "3,7,20:"; or the name of a part that the file
            declares, such as "train"; None for all. A number, a list of numbers, a range or a slice become such a text.
        exclude: identities of episodes to leave out.
        drop_bad: leave out trajectories of a single step, and those with values that are not finite.
        angles: names of columns that are angles, see `Demonstrations.with_rotations`.
        quaternions: names of the first of four columns each.

    Raises:
        InputError: a name is no text, or episodes are no places.
    """

    observations: tuple[str, ...] | None = None
    actions: tuple[str, ...] | None = None
    episodes: str | None = None
    exclude: tuple[str, ...] = ()
    drop_bad: bool = False
    angles: tuple[str, ...] = ()
    quaternions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "episodes", _places(self.episodes))
        for name in ("observations", "actions", "exclude", "angles", "quaternions"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise InputError(f"{name} is the text {value!r}; give a list of names, such as [{value!r}]")
            if value is not None:
                names = tuple(str(each) for each in value)
                object.__setattr__(self, name, names or (None if name in ("observations", "actions") else ()))

    def to_json(self) -> dict[str, Any]:
        """Return what was asked for, without what is left to the default."""
        plain = asdict(Selection())
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    @classmethod
    def from_json(cls, value: Any) -> "Selection":
        """Return what `to_json` wrote.

        Raises:
            InputError: it is something else.
        """
        names = {each.name for each in fields(cls)}
        if not isinstance(value, Mapping) or not set(value) <= names:
            raise InputError(f"{value!r} is no selection of data; restore the file")
        try:
            return cls(**value)
        except TypeError as error:
            raise InputError(f"{value!r} is no selection of data; restore the file") from error

    def over(self, other: "Selection") -> "Selection":
        """Return this selection, with what it leaves to the default taken from another one."""
        return Selection(**(other.to_json() | self.to_json()))

    def columns(self) -> "Selection":
        """Return what of this selection fits any data of the same kind: not the episodes by name or place."""
        return replace(self, episodes=None, exclude=())

    def chosen(self, identities: Sequence[str], parts: Mapping[str, Sequence[int]], what: str) -> NDArray[np.int64]:
        """Return the indices of the episodes that are asked for.

        Args:
            identities: of all episodes; their numbers where they have no names.
            parts: the parts that the file declares, by name: the indices of their episodes.
            what: the source, for an error.

        Raises:
            InputError: there is no such part or episode, or none is left.
        """
        indices = self._episodes(len(identities), parts, what)
        unknown = [name for name in self.exclude if name not in identities]
        if unknown:
            raise InputError(
                f"{what} has no episode {unknown[0]!r} to exclude; it has {listed(identities)}: check the name"
            )
        kept = np.array([index for index in indices if identities[index] not in self.exclude], dtype=np.int64)
        if len(identities) and not len(kept):
            raise InputError(f"no episode of {what} is left by the selection {self.to_json()}; select more")
        return kept

    def _episodes(self, count: int, parts: Mapping[str, Sequence[int]], what: str) -> Sequence[int]:
        if self.episodes is None:
            return range(count)
        if self.episodes in parts:
            return list(parts[self.episodes])
        if not _RANGES.fullmatch(self.episodes):
            known = f"its parts are {listed(list(parts))}" if parts else "it declares no parts"
            raise InputError(f"{what} has no part {self.episodes!r}; {known}: give one, or places such as 0:10 or 3,7")
        indices: list[int] = []
        for text in self.episodes.split(","):
            first, colon, last = text.strip().partition(":")
            if not colon and int(first) >= count:
                raise InputError(f"{what} has no episode {first}; it has {count}, numbered from 0")
            chosen = slice(int(first or 0), int(last) if last else None if colon else int(first) + 1)
            indices += range(count)[chosen]
        return list(dict.fromkeys(indices))


def _places(episodes: Any) -> str | None:
    """Return places of episodes as a text, such as "3,7"."""
    if episodes is None or isinstance(episodes, str):
        return episodes
    places = [episodes] if np.ndim(episodes) == 0 else list(episodes)
    if isinstance(episodes, slice) and episodes.step in (None, 1):
        ends = [episodes.start, episodes.stop]
        if all(end is None or (isinstance(end, int) and end >= 0) for end in ends):
            return ":".join("" if end is None else str(end) for end in ends)
    if places and all(isinstance(p, int | np.integer) and not isinstance(p, bool) and p >= 0 for p in places):
        return ",".join(str(int(place)) for place in places)
    raise InputError(f"episodes is {episodes!r}; give places from 0, such as [0, 3] or '0:10', or the name of a part")


def listed(names: Sequence[object], most: int = 12) -> str:
    """Return names in a list for a sentence, shortened where there are many."""
    shown = ", ".join(str(name) for name in names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
