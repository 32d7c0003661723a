"""One CSV or Parquet file, or a data frame, with a row for each step and a column that says the episode."""

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats import arrow, order, strays
from manyways.demonstrations.formats.arrays import as_attributes, as_words, is_missing, rows_of_trajectories
from manyways.demonstrations.formats.contents import Contents, Entry
from manyways.demonstrations.formats.reading import input_errors
from manyways.demonstrations.formats.selection import listed
from manyways.errors import InputError

EPISODE = (
    "episode",
    "episode_index",
    "episode_id",
    "trajectory",
    "trajectory_id",
    "traj",
    "traj_id",
    "demo",
    "demo_id",
)
MODES = ("mode", "modes")  # labels, which are never observed
ATTRIBUTE = "attribute."  # before the name of an attribute that would be taken for something else
_OBSERVED = ("observation", "obs", "state")
_ACTED = ("action", "act_", "act.", "acts")
_OTHERS = {  # what tables of steps hold besides: counters, clocks, rewards and ends
    "", "index", "frame_index", "frame", "step", "steps", "t", "time", "timestamp", "timestep", "task_index", "reward",
    "rewards", "done", "dones", "terminal", "terminals", "terminated", "truncated", "timeout", "timeouts", "success",
    "next.reward", "next.done", "next.success", "unnamed: 0", "__index_level_0__",
}  # fmt: skip


def recognises(path: Path) -> bool:
    """Return whether this is a CSV or Parquet file."""
    return path.is_file() and path.suffix.lower() in arrow.SUFFIXES


@contextmanager
def contents(path: Path) -> Iterator[Contents]:
    """Open a file.

    Raises:
        InputError: it is damaged, or does not say which rows are one episode.
    """
    with input_errors(path, "table"):
        source = arrow.open_table(path, [*EPISODE, *map(str.capitalize, EPISODE), *map(str.upper, EPISODE)])
        yield of_columns(path, source.entries, source.read, None, stored=path.stat().st_size)


def of_columns(
    path: Path,
    entries: Mapping[str, Entry],
    read: Callable[[Sequence[str]], Mapping[str, NDArray[Any]]],
    episode: str | None,
    stored: int | None = None,
) -> Contents:
    """Return what a table offers.

    Args:
        path: of the file, or what to call the table in errors.
        entries: its columns.
        read: returns some of them, each (steps, ...).
        episode: the column that says the episode; None to find it by its name.
        stored: bytes on the disk.

    Raises:
        InputError: no column says which rows are one episode.
    """
    column = episode or next((name for name in entries if name.lower() in EPISODE), None)
    if column is None or column not in entries:
        known = listed(list(entries))
        raise InputError(
            f"{path} has no column {episode!r}; it has {known}: check the name"
            if episode
            else f"{path} does not say which rows are one episode; give it a column {listed(EPISODE, 4)} (it has "
            f"{known})"
        )
    places, lengths, identities = _episodes(path, column, read([column])[column])
    clocks = {name: cells[places] for name, cells in read(order.clocks_in(entries, column)).items()}
    sorting, clock, mixed = order.in_time(path, clocks, lengths, identities)
    notes = _apart(path, places, lengths, identities) if not clock else []
    if sorting is not None:
        places = places[sorting]
        notes = [order.moved(path, clock, mixed)]

    def read_rows(names: Sequence[str], episodes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        rows = places[rows_of_trajectories(lengths, episodes)]
        return {name: array[rows] for name, array in read(names).items()}

    everything = np.arange(len(lengths))
    attributes: dict[str, NDArray[Any]] = {}
    broken: dict[str, str] = {}
    for name in (name for name in words_in(entries) if name != column):
        cells = read([name])[name]
        words = as_words(cells[places])
        first = words[np.cumsum(lengths) - lengths]
        if (np.repeat(first, lengths) == words).all():  # the same in each episode: an operator, say
            attributes[name] = first
        elif (rows := strays.find_strays(cells)) is not None and (len(rows) or is_named(name)):
            stray = np.flatnonzero(places == rows[0])[0] if len(rows) else 0
            owner = identities[np.searchsorted(np.cumsum(lengths), stray, side="right")]
            broken[name] = strays.told(path, name, cells, rows, owner)
    observations, actions, ignored = default_columns(entries, (column, *attributes), broken)
    attributes = {name.removeprefix(ATTRIBUTE): values for name, values in attributes.items()}

    def modes() -> NDArray[Any] | None:
        name = next((name for name in entries if name.lower() in MODES), None)
        if name is None:
            return None
        cells = np.split(read_rows([name], everything)[name], np.cumsum(lengths)[:-1])
        return labels_of(path, name, dict(zip(identities, cells, strict=True)))

    return Contents(
        path,
        {name: entry for name, entry in entries.items() if name != column},
        observations,
        actions,
        lengths,
        read_rows,
        identities=identities,
        attributes=attributes,
        ignored=tuple(ignored),
        broken=broken,
        notes=tuple(notes),
        stored=stored,
        modes=modes,
    )


def _apart(path: Path, places: NDArray[np.int64], lengths: NDArray[np.int64], identities: Sequence[str]) -> list[str]:
    """Return a sentence where rows of an episode lie apart and nothing says their order."""
    owners = np.repeat(np.arange(len(lengths)), lengths)
    gaps = (np.diff(places) != 1) & (np.diff(owners) == 0)
    if not gaps.any():
        return []
    which = listed([identities[episode] for episode in np.unique(owners[1:][gaps])], 3)
    return [
        f"the rows of the episodes {which} in {path} lie apart, and no column such as step or timestamp says their "
        "order; they are taken as they come"
    ]


def words_in(entries: Mapping[str, Entry]) -> list[str]:
    """Return the names of the columns of words, in which an attribute of an episode may stand."""
    return [n for n, entry in entries.items() if entry.dtype.kind == "O" and not entry.shape and n.lower() not in MODES]


def labels_of(path: Path, name: str, cells: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return the label of each episode, missing where all its cells are empty.

    None, with a warning, where a label changes within an episode: such a column describes steps.

    Args:
        path: of the data set, for the warning.
        name: of the column.
        cells: of each episode, by its identity.
    """
    rows: list[dict[str, Any]] = []
    for identity, own in cells.items():
        there = dict.fromkeys(cell for cell in own.tolist() if not is_missing(cell))
        if len(there) > 1:
            warnings.warn(
                f"the column {name} of {path} changes within the episode {identity} ({listed(list(there), 2)}), so it "
                "is no label of episodes and is not used; give an episode one value",
                stacklevel=2,
            )
            return None
        rows.append({"mode": next(iter(there), None)})
    return as_attributes(rows)["mode"]


def is_named(name: str) -> bool:
    """Return whether a column is called an observation or an action."""
    return name.lower().startswith((*_OBSERVED, *_ACTED))


def default_columns(
    entries: Mapping[str, Entry], besides: Collection[str] = (), broken: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Return the names of observations, of actions, and of the rest, by what columns are usually called.

    Columns that are `broken` hold numbers but for a few cells, and would be chosen without these.

    Actions begin with "action". Observations begin with "observation", "obs" or "state"; where nothing does, they are
    all other numbers but counters, clocks, rewards and ends.
    """
    names = [n for n in entries if n.lower() not in _OTHERS and n.lower() not in MODES and n not in besides]
    numeric = [name for name in names if entries[name].is_numeric or name in broken]
    actions = [name for name in numeric if name.lower().startswith(_ACTED)]
    observations = [name for name in numeric if name.lower().startswith(_OBSERVED)]
    observations = observations or [name for name in numeric if name not in actions]
    ignored = [name for name in names if name not in observations and name not in actions]
    return tuple(observations), tuple(actions), ignored


def _episodes(
    path: Path, column: str, values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Return the rows in the order of episodes, their lengths, and what the column calls them."""
    words = values
    if values.dtype.kind == "O":
        words = np.array([re.sub(r"(?<=\d)\.0+$", "", word) for word in as_words(values).tolist()])  # 1.0 is 1
    if words.ndim != 1 or (words == "" if values.dtype.kind == "O" else ~np.isfinite(words)).any():
        raise InputError(
            f"the column {column} of {path} does not name an episode in every row; fill it or cut the rows"
        )
    _, first, inverse = np.unique(words, return_index=True, return_inverse=True)
    places = np.argsort(np.argsort(first))[inverse]  # numbered as they first appear
    order = np.argsort(places, kind="stable")
    named = words[np.sort(first)]
    if named.dtype.kind == "f" and (named == named.round()).all():
        named = named.astype(np.int64)
    return order, np.bincount(places).astype(np.int64), tuple(str(name) for name in named.tolist())


def of_frame(frame: Any, episode: str | None) -> Contents:
    """Return what a data frame of pandas or Polars offers.

    Raises:
        InputError: it is no data frame, or does not say which rows are one episode.
    """
    path = Path("the data frame")
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise InputError(f"a {type(frame).__name__} is no data frame; give one of pandas or Polars")
    arrays = {}
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"the data frame has two columns called {twice!r}; rename one")
    for name in frame.columns:
        arrays[str(name)] = _cells(path, str(name), frame[name].to_numpy())
    entries = {name: Entry(array.shape[1:], array.dtype, None, _is_whole(array)) for name, array in arrays.items()}
    return of_columns(path, entries, lambda names: {name: arrays[name] for name in names}, episode)


def _cells(path: Path, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return a column as (steps, ...); cells may be lists of numbers, or words."""
    if values.dtype.kind in "fiub":
        return values
    full = np.array([not is_missing(value) for value in values], bool)
    there = values[full]
    if len(there) and all(isinstance(value, list | tuple | np.ndarray | int | float) for value in there):
        try:
            numbers = np.stack([np.asarray(value, dtype=np.float64) for value in there])
        except (TypeError, ValueError) as error:
            raise InputError(f"the cells of {name} in {path} are not rows of equally many numbers ({error})") from error
        filled = np.full((len(values), *numbers.shape[1:]), np.nan)
        filled[full] = numbers
        return filled
    return values.astype(object)


def _is_whole(values: NDArray[Any]) -> bool:
    """Return whether numbers could be choices but for empty cells, because of which they are stored as real ones."""
    if values.dtype.kind != "f" or values.ndim != 1:
        return False
    there = values[~np.isnan(values)]
    return len(there) < len(values) and bool(((there % 1 == 0) & (there >= 0)).all())
