"""What is given of several trajectories: whether they are alike (entries, shapes, an action a step), and labels."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.demonstrations import spaces
from manyways.demonstrations.formats.selection import listed
from manyways.demonstrations.observations import count_steps, entries
from manyways.errors import InputError

if TYPE_CHECKING:
    from manyways.demonstrations.trajectories import Demonstrations


def as_labels(labels: "ArrayLike | Mapping[str, int]", identities: tuple[str, ...]) -> NDArray[np.int64]:
    """Return a label for each trajectory, -1 where there is none; see `Demonstrations.with_labels`."""
    if isinstance(labels, Mapping):
        places = {name: place for place, name in enumerate(identities)}
        unknown = [name for name in map(str, labels) if name not in places]
        if unknown:
            raise InputError(f"there is no trajectory {unknown[0]!r} to label; it is one of {listed(list(places))}")
        given: Any = np.full(len(identities), -1)
        given[[places[str(name)] for name in labels]] = list(labels.values())
    else:
        given = np.asarray(labels)
    if given.dtype.kind not in "iu" or given.ndim != 1 or (len(given) and given.min() < -1):
        raise InputError("the labels are not whole numbers, one a trajectory; give 0, 1, ..., and -1 for unknown")
    return given.astype(np.int64)


def require_demonstrations(value: Any) -> None:
    """Raise `InputError` unless the value is `Demonstrations`."""
    from manyways.demonstrations.trajectories import Demonstrations

    if not isinstance(value, Demonstrations):
        what = f"the demonstrations are a {type(value).__name__}"
        raise InputError(f"{what}; make them with Demonstrations.from_arrays, or Demonstrations.load")


def pairs_of(trajectories: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the observations and actions of each trajectory that `Demonstrations.from_arrays` got.

    Raises:
        InputError: there is something else.
    """
    remedy = "give a list of pairs (observations, actions)"
    if isinstance(trajectories, str | os.PathLike):
        raise InputError(f"{str(trajectories)!r} is a path; read it with Demonstrations.load")
    if isinstance(trajectories, Mapping):
        raise InputError(f"the trajectories are a dictionary; {remedy}")
    if not isinstance(trajectories, Iterable):
        raise InputError(f"the trajectories are {trajectories!r}; {remedy}")
    if isinstance(trajectories, tuple) and all(np.ndim(array) == 3 for array in trajectories):
        raise InputError(
            "the trajectories are arrays of three dimensions; give pairs of one trajectory each: "
            "from_arrays(zip(observations, actions))"
        )
    for index, pair in enumerate(trajectories):
        if isinstance(pair, Mapping) and pair.keys() == {"observations", "actions"}:
            pair = pair["observations"], pair["actions"]
        if isinstance(pair, str | Mapping) or not hasattr(pair, "__len__") or len(pair) != 2:
            content = f"a {type(pair).__name__}"
            if hasattr(pair, "__len__") and not isinstance(pair, str | Mapping):
                content = f"{len(pair)} part{'s' * (len(pair) != 1)}"
            raise InputError(
                f"trajectory {index} has {content}; give a pair (observations, actions) for each trajectory, or a "
                "dictionary of these two"
            )
        observations, actions = pair
        if isinstance(observations, Mapping) and not all(isinstance(name, str) for name in observations):
            raise InputError(f"the observations of trajectory {index} have entries without a name; call them by texts")
        if isinstance(observations, Mapping) and not observations:
            raise InputError(f"the observations of trajectory {index} are an empty dictionary; give at least one entry")
        yield observations, actions


def require_choices(choices: Any) -> None:
    """Raise `InputError` unless these are numbers of choices, or None."""
    if choices is not None and not (
        isinstance(choices, Iterable) and all(isinstance(n, int | np.integer) and n > 0 for n in choices)
    ):
        raise InputError(
            "choices are no whole numbers, one a part of an action; give from_arrays(zip(observations, actions)) for "
            "lists of arrays, and choices as (3, 2)"
        )


def steps_of(observations: Any) -> int | None:
    """Return how many steps all entries have; None where they differ."""
    counts = {len(array) if array.ndim else 0 for _, array in entries(observations)}
    return counts.pop() if len(counts) == 1 else None


def require_alike(observations: list[Any], actions: list[NDArray[Any]], index: int) -> None:
    """Raise `InputError` unless the last trajectory has the entries and shapes of the first, and an action a step."""
    if isinstance(observations[-1], Mapping) != isinstance(observations[0], Mapping) or (
        isinstance(observations[0], Mapping) and observations[-1].keys() != observations[0].keys()
    ):
        raise InputError(f"the observations of trajectory {index} have other entries than those of trajectory 0")
    pairs = [("actions", actions[0], actions[-1])]
    pairs += [
        (f"observations {name}".strip(), first, last)
        for (name, first), (_, last) in zip(
            sorted(entries(observations[0])), sorted(entries(observations[-1])), strict=True
        )
    ]
    for name, first, last in pairs:
        if last.ndim == 0 or (last.ndim < 2 and not (name == "actions" and last.dtype.kind == "i")):
            raise InputError(
                f"the {name} of trajectory {index} have shape {last.shape}; they need two dimensions, (steps, columns)"
            )
        if name == "actions" and last.ndim > 2:
            raise InputError(
                f"the actions of trajectory {index} have shape {last.shape}; give one trajectory at a time, (steps, n)"
            )
        if last.shape[1:] != first.shape[1:]:
            sizes = [shape[0] if len(shape) == 1 else shape for shape in (last.shape[1:], first.shape[1:])]
            raise InputError(
                f"{name} have {sizes[0]} columns in trajectory {index}, but {sizes[1]} in trajectory 0; make them alike"
            )
    length = count_steps(observations[-1])
    if length != len(actions[-1]):
        raise InputError(
            f"trajectory {index} has {length} observations but {len(actions[-1])} actions; "
            "give one action an observation, and at most one observation after the last action"
        )


def require_described(demonstrations: "Demonstrations") -> None:
    """Raise `InputError` unless names, identities, attributes, labels and pairs fit the arrays."""
    arrays, count = demonstrations.arrays, len(demonstrations)
    _ = demonstrations.action_space  # which has few enough choices
    for name, columns in (demonstrations.names or {}).items():
        if name not in arrays:
            raise InputError(f"there are names for {name!r}, but the arrays are {', '.join(arrays)}; rename them")
        if arrays[name].ndim != 2 or len(columns) != arrays[name].shape[1]:
            raise InputError(f"{name} have shape {arrays[name].shape}, but {len(columns)} names; give one a column")
        require_different_names(columns, name)
    known: dict[str, Any] = {} if demonstrations.identities is None else {"identities": demonstrations.identities}
    known |= {} if demonstrations.labels is None else {"labels": demonstrations.labels}
    known |= {} if demonstrations.pairs is None else {"pairs": demonstrations.pairs.linked}
    for name, values in (
        known | {f"attribute {key}": value for key, value in (demonstrations.attributes or {}).items()}
    ).items():
        if len(values) != count:
            raise InputError(f"{name} has {len(values)} values for {count} trajectories; give one for each")


def require_different_names(columns: Sequence[str], what: str) -> None:
    """Raise `InputError` where two columns of `what` have the same name."""
    if len(set(columns)) < len(columns):
        twice = next(name for place, name in enumerate(columns) if name in columns[:place])
        raise InputError(f"{what} have two columns called {twice!r}; give each a name of its own")


def require_same_columns(parts: "Sequence[Demonstrations]") -> None:
    """Raise `InputError` unless all data sets have the columns, shapes and kinds of action of the first."""
    first = parts[0]
    for number, part in enumerate(parts):
        for what in ("observation", "action"):
            own, other = getattr(part, f"{what}_space"), getattr(first, f"{what}_space")
            if not (spaces.fits(own, other) or spaces.fits(other, own)):
                raise InputError(
                    f"the {what} of part {number} is {spaces.describe(own)}, that of part 0 "
                    f"{spaces.describe(other)}; choose the same columns"
                )
        if part.rotations != first.rotations:
            raise InputError(f"part {number} has other angles or quaternions than part 0; declare the same")
        for array, columns in (part.names or {}).items():
            others = (first.names or {}).get(array, columns)
            if columns != others:
                wrong = next(pair for pair in zip(columns, others, strict=True) if pair[0] != pair[1])
                raise InputError(
                    f"{array} of part {number} has the column {wrong[0]!r} where part 0 has {wrong[1]!r}; "
                    "choose the same columns in the same order"
                )
