"""What a person decided about modes and demonstrations: names, exclusions, labels and pairs, as the page saves them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from manyways.demonstrations.formats.selection import Selection, listed
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
        InputError: a demonstration is labelled or in a pair, and also excluded; or a code is below 0.
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
        """Return the edits of a file, of what it holds, or as they are.

        Raises:
            InputError: there is no such file, or it is no file of edits.
        """
        if isinstance(source, Edits):
            return source
        if isinstance(source, Mapping):
            return cls.from_json(source, "the edits")
        path = Path(source)
        if not path.is_file():
            raise InputError(f"there is no file {path} of edits; save it from the page of `manyways explore`")
        return cls.from_json(read_json(path), str(path))

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


def _code_of(text: str, what: str) -> int:
    if not str(text).isdecimal():
        raise InputError(f"names of {what} has {text!r}; give the number of a code, from 0")
    return int(text)
