"""What a data set offers before it is read, and the trajectories that a selection makes of it.

Each format says what there is (`Contents`). `assemble` decides what is observed and what is an action, so that all
formats choose alike.
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.columns import as_actions, as_numbers, as_type
from manyways.demonstrations.formats.arrays import Attributes, Trajectories, column_names, require_memory
from manyways.demonstrations.formats.selection import Selection, listed
from manyways.demonstrations.observations import Observations
from manyways.demonstrations.pairs import Pairs
from manyways.demonstrations.stored import blocks, mapped, stretches
from manyways.errors import InputError

_LARGEST_VECTOR = 1024  # numbers of a step of two axes; more are a picture, which nobody wants in a row of numbers

Read = Callable[[Sequence[str], NDArray[np.int64]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Entry:
    """One array of a data set.

    Attributes:
        shape: of one step.
        dtype: as it is read.
        columns: the names of its columns, where the file has them.
        whole: whether its numbers are whole, though they are read as real ones because cells are empty.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns: tuple[str, ...] | None = None
    whole: bool = False

    @property
    def size(self) -> int:
        """Numbers in one step."""
        return math.prod(self.shape)

    @property
    def is_image(self) -> bool:
        """Whether the entry stays an array of its own instead of becoming columns of a vector."""
        if len(self.shape) == 2:
            return self.dtype == np.uint8 or self.size > _LARGEST_VECTOR
        return len(self.shape) > 2

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are whole, whatever they are read as."""
        return self.whole or self.dtype.kind in "iub"

    @property
    def is_numeric(self) -> bool:
        """Whether it holds real numbers."""
        return self.dtype.kind in "fiub"


@dataclass(frozen=True)
class Contents:
    """What a data set offers.

    Attributes:
        path: where it is.
        entries: what may be observed or be an action, by name.
        observations, actions: the names of the entries that the format calls so.
        lengths: (episodes,), how many actions each episode has.
        read: takes names of entries and indices of episodes; returns the arrays (steps, ...) of these episodes, end to
            end, an observation for each action.
        identities: (episodes,), what the file calls each episode.
        attributes: what it knows of each.
        parts: indices of episodes that it declares to belong together, by name.
        choices: how many choices each part of a discrete action has, where that is known.
        discrete: whether whole numbers are choices; None where a single column of them is.
        form: what observations are: one "vector" of the entries' columns, one "array" as it is, or a "dictionary".
        ignored: the names of what else there is, for a warning.
        broken: what is wrong with entries that hold numbers but for a few cells, as a sentence.
        notes: sentences that warn of what is read otherwise than it lies there.
        stored: bytes on the disk.
        modes: reads the labels of all episodes; returns None where there are none.
        labels: (episodes,), the code of each whose mode is known, which training keeps; -1 elsewhere. None without any.
        pairs: which episodes are the same way, and which are not; None without any.
        mapped: whether what `read` returns stays on the disk.
        in_parts: whether a few episodes are read without the others.
    """

    path: Path
    entries: Mapping[str, Entry]
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    lengths: NDArray[np.int64]
    read: Read
    identities: tuple[str, ...] | None = None
    attributes: Attributes = field(default_factory=dict)
    parts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    choices: tuple[int, ...] | None = None
    discrete: bool | None = None
    form: Literal["vector", "array", "dictionary"] = "vector"
    ignored: tuple[str, ...] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stored: int | None = None
    modes: Callable[[], NDArray[Any] | None] = lambda: None
    labels: NDArray[np.int64] | None = None
    pairs: Pairs | None = None
    mapped: bool = False
    in_parts: bool = False

    def __post_init__(self) -> None:
        count = len(self.lengths)
        known = {} if self.identities is None else {"identities": self.identities}
        for name, values in (known | {f"the attribute {name}": each for name, each in self.attributes.items()}).items():
            shape = np.shape(values)
            if shape != (count,):
                given = f"{shape[0]:,} values" if len(shape) == 1 else f"the shape {shape}"
                raise InputError(f"{name} in {self.path} has {given} for {count:,} trajectories; give one for each")
        require_different(self.identities or (), str(self.path))


def require_different(identities: Sequence[str], what: str) -> None:
    """Raise `InputError` where two trajectories have the same identity."""
    if len(set(identities)) < len(identities):
        twice = next(name for name, times in Counter(identities).items() if times > 1)
        raise InputError(f"two trajectories of {what} are called {twice!r}; give each a name of its own")


Chosen = dict[str, list[int] | None]
"""By entry, which of its columns are taken; None for all."""


def episodes_of(contents: Contents, selection: Selection) -> NDArray[np.int64]:
    """Return the indices of the episodes that the selection takes."""
    names = contents.identities or tuple(str(index) for index in range(len(contents.lengths)))
    return selection.chosen(names, contents.parts, str(contents.path))


def assemble(contents: Contents, selection: Selection) -> Trajectories:
    """Read what the selection takes.

    Raises:
        InputError: there is no such entry, it cannot be used, or it would not fit into memory.
    """
    path, episodes = contents.path, episodes_of(contents, selection)
    observations, actions = _entries_of(contents, selection)
    for note in contents.notes:
        warnings.warn(note, stacklevel=2)
    if selection.observations is None:
        left = (name for name in contents.observations if name not in observations and name not in actions)
        if unused := [*contents.ignored, *left]:
            warnings.warn(f"{path} also holds {listed(unused, 40)}, which are not used", stacklevel=2)
    lengths = contents.lengths[episodes]
    if not contents.mapped:
        require_memory(bytes_of_episodes(contents, selection).sum(), str(path), contents.stored)
    arrays = contents.read(list(dict.fromkeys([*observations, *actions])), episodes)
    if contents.form == "vector":
        arrays, lengths = _without_last(arrays, actions, lengths)
    labels: dict[str, tuple[str, ...]] = {}
    seen = _observations(contents, arrays, observations, labels)
    acted = _actions(contents, arrays, actions)
    if acted.dtype.kind == "f":
        _label(labels, "actions", contents, actions)
    identities = contents.identities
    if identities is None and (len(episodes) < len(contents.lengths) or selection.drop_bad):
        identities = tuple(map(str, range(len(contents.lengths))))  # so that what is left keeps its place as its name
    return Trajectories(
        seen,
        acted,
        lengths,
        contents.choices if acted.dtype.kind == "i" else None,
        labels or None,
        None if identities is None else tuple(identities[index] for index in episodes),
        {name: values[episodes] for name, values in contents.attributes.items()} or None,
        None if contents.labels is None else contents.labels[episodes],
        None if contents.pairs is None else contents.pairs.select(episodes),
    )


def _entries_of(contents: Contents, selection: Selection) -> tuple[Chosen, Chosen]:
    """Return what is observed and what is an action, with the columns of each."""
    if not contents.broken and not any(entry.is_numeric for entry in contents.entries.values()):
        entries = listed(list(contents.entries))
        raise InputError(f"{contents.path} has no columns of numbers, only {entries}; check the file")
    actions = _chosen(contents, selection.actions or contents.actions, "actions")
    observed = selection.observations
    if observed is None:
        used = set(actions) if selection.actions else set()
        observed = _vectors(contents, tuple(name for name in contents.observations if name not in used))
    return _chosen(contents, observed, "observations"), actions


def bytes_of_episodes(contents: Contents, selection: Selection) -> NDArray[np.int64]:
    """Return how many bytes each selected episode has in memory, before columns are taken of its entries.

    Raises:
        InputError: there is no such entry or episode, or it cannot be used.
    """
    entries = {name: contents.entries[name] for chosen in _entries_of(contents, selection) for name in chosen}
    of_step = sum(entry.size * max(entry.dtype.itemsize, 4) for entry in entries.values())
    lengths = contents.lengths[episodes_of(contents, selection)].astype(object)  # a false header may claim any size
    return of_step * lengths


def as_choices(contents: Contents, selection: Selection, trajectories: Trajectories) -> Trajectories:
    """Return trajectories whose actions are choices, where only empty cells made real numbers of them."""
    chosen = _chosen(contents, selection.actions or contents.actions, "actions")
    if trajectories.actions.dtype.kind != "f" or trajectories.actions.shape[1] > 1:
        return trajectories
    acted = _actions(contents, dict.fromkeys(chosen, mapped(lambda rows: rows[:, 0], trajectories.actions)), chosen)
    if acted.dtype.kind == "f":
        return trajectories
    names = {place: own for place, own in (trajectories.names or {}).items() if place != "actions"}
    return trajectories._replace(actions=acted, choices=contents.choices, names=names or None)


def _vectors(contents: Contents, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of what becomes a vector of numbers by default."""
    kept = names
    if contents.form == "vector":
        whole = (n for n in names if contents.entries[n].is_numeric or n in contents.broken)
        kept = tuple(name for name in whole if not contents.entries[name].is_image)
    if not kept:
        raise InputError(
            f"{contents.path} has no columns of numbers to observe, only {listed([*contents.ignored, *names])}; choose "
            f"among its entries with observations (--observations): {listed(list(contents.entries))}"
        )
    return kept


def _chosen(contents: Contents, names: Sequence[str], what: str) -> Chosen:
    """Return which columns of which entries these names mean: an entry, a column, or ENTRY.NUMBER."""
    entries = contents.entries
    if not names:
        raise InputError(
            f"{contents.path} does not say which columns are {what}; choose among "
            f"{listed([name for name, entry in entries.items() if entry.is_numeric], 40)} with {what} (--{what})"
        )
    chosen: Chosen = {}
    for name in names:
        if name in contents.ignored and name not in entries:
            raise InputError(
                f"{name} in {contents.path} holds no numbers and no pictures of three colours, one a step, so it is "
                f"not read; choose among {listed(list(entries))}"
            )
        called = name if name in entries else _own_name(contents, name, what)
        source, place = (called, None) if called in entries else _column(entries, called)
        if source is None:
            known = [label for each, entry in entries.items() for label in (entry.columns or (each,))]
            raise InputError(f"{contents.path} has no {what} {name!r}; it has {listed(known, 40)}: check the name")
        entry = entries[source]
        if source in contents.broken:
            raise InputError(contents.broken[source])
        if not entry.is_numeric:
            raise InputError(f"{source} in {contents.path} is of type {entry.dtype}, not real numbers; leave it out")
        if entry.is_image and what == "actions":
            raise InputError(f"{source} in {contents.path} has shape {entry.shape} a step; actions are columns")
        before = chosen.get(source, [])
        chosen[source] = None if place is None or before is None else [*before, place]
    return chosen


def _own_name(contents: Contents, name: str, what: str) -> str:
    """Return the name of a column in the file, where it is called by its place in the array `what`."""
    array, dot, place = name.partition(".")
    usual = contents.observations if what == "observations" else contents.actions
    alone = (
        contents.form == "array" and len(usual) == 1 and array == what and _column(contents.entries, name)[0] is None
    )
    return f"{usual[0]}{dot}{place}" if alone else name


def _column(entries: Mapping[str, Entry], name: str) -> tuple[str | None, int | None]:
    """Return the entry and the place of a column that is called `name`, or ENTRY.PLACE; None where there is none."""
    for source, entry in entries.items():
        if entry.columns and name in entry.columns:
            return source, entry.columns.index(name)
    source, _, place = name.rpartition(".")
    if source in entries and place.isdecimal() and int(place) < entries[source].size:
        return source, int(place)
    return None, None


def _observations(
    contents: Contents, arrays: Mapping[str, NDArray[Any]], chosen: Chosen, labels: dict[str, tuple[str, ...]]
) -> Observations:
    """Return what is observed, in the form of the format, and add the names of its columns to `labels`."""
    images = any(contents.entries[name].is_image for name in chosen)
    if contents.form == "dictionary" or (images and len(chosen) > 1):
        for name, columns in chosen.items():
            _label(labels, f"observations/{name}", contents, {name: columns})
        return {name: _kept(contents, arrays[name], name, columns) for name, columns in chosen.items()}
    _label(labels, "observations", contents, chosen)
    if images or (contents.form == "array" and len(chosen) == 1):
        ((name, columns),) = chosen.items()
        return _kept(contents, arrays[name], name, columns)
    return _joined(contents, arrays, chosen)


def _without_last(
    arrays: Mapping[str, NDArray[Any]], actions: Chosen, lengths: NDArray[np.int64]
) -> tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]]:
    """Leave out the last row of each episode where none of these rows has an action, as tables of Gymnasium's form."""
    last = np.cumsum(lengths) - 1
    if not len(lengths) or lengths.min() < 1:
        return arrays, lengths
    for name, columns in actions.items():
        for some in (last[:1], last):  # the first episode mostly says it, and others may have to be read for this
            rows = np.asarray(arrays[name][some]).reshape(len(some), -1)
            if rows.dtype.kind != "f" or not np.isnan(rows if columns is None else rows[:, columns]).all():
                return arrays, lengths
    starts, lengths = last + 1 - lengths, lengths - 1
    return {name: stretches(array, starts, lengths) for name, array in arrays.items()}, lengths


def _kept(contents: Contents, array: NDArray[Any], name: str, columns: list[int] | None) -> NDArray[Any]:
    """Return an entry in its own shape, or the chosen columns of it, (steps, n)."""
    numbers = as_numbers(array, f"{name} in {contents.path}")
    if columns is not None:
        return mapped(lambda rows: rows.reshape(len(rows), -1)[:, columns], numbers)
    return mapped(lambda rows: rows[:, None], numbers) if numbers.ndim == 1 else numbers


def _joined(contents: Contents, arrays: Mapping[str, NDArray[Any]], chosen: Chosen) -> NDArray[Any]:
    """Return the chosen columns of all entries side by side, (steps, n)."""
    numbers = [as_numbers(arrays[name], f"{name} in {contents.path}") for name in chosen]
    if len(numbers) == 1 and numbers[0].ndim == 2 and [*chosen.values()] == [None]:
        return numbers[0]

    def join(*parts: NDArray[Any]) -> NDArray[Any]:
        every = [part.reshape(len(part), contents.entries[n].size) for n, part in zip(chosen, parts, strict=True)]
        own = [part if c is None else part[:, c] for c, part in zip(chosen.values(), every, strict=True)]
        return own[0] if len(own) == 1 else np.concatenate(own, axis=1)

    return mapped(join, *numbers)


def _actions(contents: Contents, arrays: Mapping[str, NDArray[Any]], chosen: Chosen) -> NDArray[Any]:
    """Return choices (steps,) or (steps, parts), or numbers (steps, n)."""
    name, columns = next(iter(chosen.items()))
    entry, array = contents.entries[name], arrays[name]
    whole = entry.is_whole and len(chosen) == 1 and columns is None
    if whole and (contents.discrete or (contents.discrete is None and entry.shape == ())):
        if array.dtype.kind == "f" and all(np.isfinite(block).all() for _, block in blocks(array)):
            array = as_type(array, np.int64)  # no cell is empty any more
        if array.dtype.kind != "f":
            return as_actions(array, f"actions in {contents.path}", True)
    return _joined(contents, arrays, chosen)


def _label(labels: dict[str, tuple[str, ...]], place: str, contents: Contents, chosen: Chosen) -> None:
    """Add the names of the chosen columns to `labels`, unless they would only count the columns of one array."""
    entries = contents.entries
    if all(entries[name].is_image for name in chosen):
        return
    if contents.form != "vector" and all(entries[n].columns is None and c is None for n, c in chosen.items()):
        return
    found = []
    for name, columns in chosen.items():
        own = entries[name].columns or column_names(name, entries[name].size)
        found += [own[column] for column in (range(len(own)) if columns is None else columns)]
    labels[place] = tuple(found)
