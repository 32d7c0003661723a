"""What a person decided about modes and demonstrations: names, exclusions, labels and pairs, as the page saves them."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manyways.demonstrations.formats.selection import Selection, listed
from manyways.demonstrations.pairs import Pairs
from manyways.demonstrations.trajectories import Demonstrations
from manyways.demonstrations.vectors import identities_of
from manyways.errors import InputError
from manyways.files import read_json

_FIELDS = {"names": dict, "exclude": list, "labels": dict, "anchors": dict, "same": list, "different": list}
_PAIRS = ("same", "different")


@dataclass(frozen=True)
class Edits:
    """What to do otherwise in the next training.

    Args:
        names: of modes, by code.
        exclude: identities of demonstrations to leave out; places from 0 where demonstrations have no identities.
        labels: the code of demonstrations whose mode a person knows, by identity.
        anchors: the same of typical demonstrations, so that codes keep their numbers.
        same: pairs of demonstrations, by identity, that are done the same way.
        different: pairs that are not.

    Raises:
        InputError: a demonstration is labelled or in a pair, and also excluded; labels and pairs contradict each other;
            or a code is below 0.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    anchors: Mapping[str, int] = field(default_factory=dict)
    same: tuple[tuple[str, str], ...] = ()
    different: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        both = [name for name in self.labels if name in self.exclude]
        if both:
            raise InputError(f"the edits both label and exclude {both[0]!r}; do one of the two")
        paired = [name for pair in (*self.same, *self.different) for name in pair if name in self.exclude]
        if paired:
            raise InputError(f"the edits both pair and exclude {paired[0]!r}; do one of the two")
        low = [code for code in (*self.names, *self.labels.values(), *self.anchors.values()) if code < 0]
        if low:
            raise InputError(f"the edits have the code {low[0]}; codes begin with 0")
        _require_consistent(self.labels, self._first, self.different)

    @cached_property
    def _first(self) -> dict[str, str]:
        """The first demonstration of those that are the same way, by the identity of each that is in a pair."""
        paired = [pair for pair in (*self.same, *self.different) if pair[0] != pair[1]]
        names = list(dict.fromkeys(name for pair in paired for name in pair))
        places = {name: place for place, name in enumerate(names)}
        linked = Pairs.of(len(names), [(places[one], places[other]) for one, other in self.same if one != other], [])
        return {name: names[first] for name, first in zip(names, linked.linked, strict=True)}

    @property
    def overruled(self) -> list[str]:
        """The anchors that cannot keep their codes, as a label, a pair or an earlier anchor stands against it."""
        taken: dict[str, int] = {self._first.get(name, name): code for name, code in self.labels.items()}
        against: dict[str, set[str]] = {}
        for one, other in ((self._first.get(a, a), self._first.get(b, b)) for a, b in self.different):
            against.setdefault(one, set()).add(other)
            against.setdefault(other, set()).add(one)
        found = []
        for name, code in self.anchors.items():
            way = self._first.get(name, name)
            if taken.get(way, code) != code or any(taken.get(other) == code for other in against.get(way, ())):
                found.append(name)
            else:
                taken[way] = code
        return found

    @property
    def known(self) -> dict[str, int]:
        """The code of each demonstration that keeps one, by identity: anchors, and labels over them.

        Nobody decided on anchors, so those that are excluded or in a pair are left out.
        """
        decided = {*self.exclude, *(name for pair in (*self.same, *self.different) for name in pair)}
        return {**{name: code for name, code in self.anchors.items() if name not in decided}, **self.labels}

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        names = {str(code): name for code, name in self.names.items()}
        found = {"names": names, "exclude": list(self.exclude), "labels": dict(self.labels)}
        found |= {"anchors": dict(self.anchors)} if self.anchors else {}
        pairs = {name: [list(pair) for pair in getattr(self, name)] for name in _PAIRS}
        return found | {name: content for name, content in pairs.items() if content}

    @classmethod
    def read(cls, source: "str | Path | Edits | Mapping[str, Any]") -> "Edits":
        """Return the edits of a file, of what it holds, or as they are; warn of anchors that labels and pairs overrule.

        Raises:
            InputError: there is no such file, or it is no file of edits.
        """
        if isinstance(source, Edits):
            found, what = source, "the edits"
        elif isinstance(source, Mapping):
            found, what = cls.from_json(source, "the edits"), "the edits"
        else:
            what = str(source)
            if not Path(source).is_file():
                raise InputError(f"there is no file {what} of edits; save it from the page of `manyways explore`")
            found = cls.from_json(read_json(Path(source)), what)
        for name in found.overruled:
            warnings.warn(
                f"{what} has {name!r} among its anchors, with code {found.anchors[name]}, against its labels or "
                "pairs, which stand; leave out that anchor, or change them",
                stacklevel=2,
            )
        return found

    @classmethod
    def from_json(cls, value: Any, what: str) -> "Edits":
        """Return what `to_json` wrote.

        Args:
            value: as JSON has it.
            what: where it comes from, for an error.

        Raises:
            InputError: it is something else.
        """
        if not isinstance(value, Mapping):
            raise InputError(f"{what} holds a {type(value).__name__}; give an object with {listed(list(_FIELDS))}")
        for name, content in value.items():
            if name not in _FIELDS:
                raise InputError(f"{what} has a field {name!r}; it may have {listed(list(_FIELDS))}")
            if not isinstance(content, _FIELDS[name]):
                kind = "a list" if _FIELDS[name] is list else "an object"
                raise InputError(f"{name} of {what} is {content!r}; it must be {kind}")
        names = {_code_of(code, what): name for code, name in value.get("names", {}).items()}
        for code, name in names.items():
            if not isinstance(name, str):
                raise InputError(f"the name of code {code} in {what} is {name!r}; give a text")
        exclude = value.get("exclude", [])
        for each in exclude:
            if not isinstance(each, str):
                raise InputError(f'exclude of {what} has {each!r}; give identities as texts, such as "demo_3"')
        for field_ in ("labels", "anchors"):
            for name, code in value.get(field_, {}).items():
                if not isinstance(code, int) or isinstance(code, bool):
                    raise InputError(f"{what} gives {name!r} the label {code!r}; give the number of a code, from 0")
        for field_ in _PAIRS:
            for pair in value.get(field_, []):
                if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(n, str) for n in pair):
                    raise InputError(
                        f'{field_} of {what} has {pair!r}; give pairs of identities, such as ["demo_3", "demo_7"]'
                    )
        same, different = (tuple((pair[0], pair[1]) for pair in value.get(field_, [])) for field_ in _PAIRS)
        labels, anchors = (dict(value.get(field_, {})) for field_ in ("labels", "anchors"))
        return cls(names, tuple(dict.fromkeys(exclude)), labels, anchors, same, different)

    def selecting(self, selection: Selection) -> Selection:
        """Return the selection that leaves out what is excluded too."""
        return replace(selection, exclude=tuple(dict.fromkeys([*selection.exclude, *self.exclude])))

    def without_excluded(self, demonstrations: Demonstrations) -> Demonstrations:
        """Return demonstrations in memory without the excluded ones.

        Raises:
            InputError: there is no such demonstration.
        """
        if not self.exclude:
            return demonstrations
        names = identities_of(demonstrations)
        kept = Selection(exclude=self.exclude).chosen(names, {}, "the data")
        named = replace(demonstrations, identities=names)  # so that places stay what they were
        return named.select(kept)

    def require_codes(self, size: int | None) -> None:
        """Raise `InputError` unless all codes are among `size`; None where codes are no list."""
        known = self.known
        if size is None and (self.names or known or self.same or self.different):
            what = "names or labels" if self.names or known else "pairs"
            raise InputError(f"the edits have {what}, but the codes are continuous; remove them, or give --modes")
        for what, code in [*((f"label {n!r} with", c) for n, c in known.items()), *(("name", c) for c in self.names)]:
            if size is not None and code >= size:
                raise InputError(
                    f"the edits {what} code {code}, but there are {size} codes, from 0; "
                    f"give --modes {code + 1} or more, or change the edits"
                )

    def labelled(self, demonstrations: Demonstrations) -> Demonstrations:
        """Return the demonstrations with the labels and pairs; anchors that are not among them are left out.

        Those that the data have are kept; a label of the edits replaces one of the data.

        Raises:
            InputError: a labelled or paired one is not among them, or what is known contradicts itself.
        """
        names = identities_of(demonstrations)
        places = {name: place for place, name in enumerate(names)}
        paired = [name for pair in (*self.same, *self.different) for name in pair]
        for what, name in [*(("label", name) for name in self.labels), *(("pair", name) for name in paired)]:
            if name not in places:
                raise InputError(
                    f"the edits {what} {name!r}, which is not among the demonstrations; they are {listed(names)}: "
                    "check the name, and whether it is selected"
                )
        known = {places[name]: code for name, code in self.known.items() if name in places}
        if known:
            labels = np.full(len(names), -1) if demonstrations.labels is None else demonstrations.labels.copy()
            labels[list(known)] = list(known.values())
            demonstrations = demonstrations.with_labels(labels)
        same, different = ([[places[n] for n in pair] for pair in pairs] for pairs in (self.same, self.different))
        return demonstrations.with_pairs(same, different) if paired else demonstrations


def _require_consistent(
    labels: Mapping[str, int], first: Mapping[str, str], different: Sequence[tuple[str, str]]
) -> None:
    """Raise `InputError` where labels and pairs contradict each other, by the first of those that are the same way."""
    known: dict[str, str] = {}
    for name, code in labels.items():
        other = known.setdefault(first.get(name, name), name)
        if labels[other] != code:
            raise InputError(
                f"the edits have {other!r} and {name!r} as the same way, but label them {labels[other]} and {code}; "
                "change one of the three"
            )
    for one, other in different:
        if one == other:
            continue  # which is told with the demonstrations
        if first[one] == first[other]:
            raise InputError(
                f"the edits have {one!r} and {other!r} as different ways, but also as the same one, if through others; "
                "leave out a pair"
            )
        pair = [labels.get(known.get(first[name], "")) for name in (one, other)]
        if pair[0] is not None and pair[0] == pair[1]:
            raise InputError(
                f"the edits have {one!r} and {other!r} as different ways, but give both the label {pair[0]}, if "
                "through others; change one of the three"
            )


def _code_of(text: str, what: str) -> int:
    if not str(text).isdecimal():
        raise InputError(f"names of {what} has {text!r}; give the number of a code, from 0")
    return int(text)
