"""The modes of a policy and their names: what people call a code lives in policy.json, and survives training again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.files import read_json, write_json
from manyways.policies.storage import DESCRIPTION_FILE

_LONGEST = 60  # letters of a name
_SHARED = 0.5  # of a mode's trajectories, which must have had the name's code before


@dataclass(frozen=True)
class Mode:
    """A mode: its code, and how many of the demonstrations have it.

    Attributes:
        code: index of the code, for `Policy.code`.
        trajectories: how many demonstrations have this code.
        share: of all demonstrations.
        name: what `Policy.name` called it; None without a name.
    """

    code: int
    trajectories: int
    share: float
    name: str | None = None


def named(names: Mapping[int, str], code: int, name: str | None, size: int) -> dict[int, str]:
    """Return the names with one more, or without that of the code where `name` is None.

    Args:
        names: by code.
        code: to name.
        name: not that of another code, and no number, which would be an index.
        size: how many codes there are.

    Raises:
        InputError: there is no such code, or the name cannot be taken.
    """
    if not 0 <= code < size:
        raise InputError(f"there is no code {code}; the codes are 0 to {size - 1}")
    others = {other: own for other, own in names.items() if other != code}
    if name is None:
        return others
    text = name.strip() if isinstance(name, str) else ""
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise InputError(f"{name!r} is no name; give 1 to {_LONGEST} letters in one line")
    if text.lstrip("+-").isdecimal():
        raise InputError(f"{text!r} would be taken for the index of a code; give a name with a letter")
    if text in others.values():
        other = find(others, text)
        raise InputError(f"code {other} has the name {text!r} already; give another, or rename code {other} first")
    return dict(sorted((others | {code: text}).items()))


def find(names: Mapping[int, str], name: str) -> int:
    """Return the code of a name.

    Raises:
        InputError: no code has it.
    """
    for code, own in names.items():
        if own == name:
            return code
    known = ", ".join(f"{own} ({code})" for code, own in names.items()) or "none"
    raise InputError(f"no code has the name {name!r}; the names are: {known}; give one with policy.name(code, name)")


def label(names: Mapping[int, str], code: int) -> str:
    """Return what to call a code in a table: its index, and its name if it has one."""
    return f"{code} {names[code]}" if code in names else str(code)


def matched(
    names: Mapping[int, str], before: NDArray[np.integer[Any]], now: NDArray[np.integer[Any]], sizes: tuple[int, int]
) -> dict[int, str]:
    """Return the names of new codes: each goes to the code that most of its demonstrations have now.

    Codes are assigned one to one, so that most trajectories agree. A name is lost where less than half of the new
    code's trajectories had it.

    Args:
        names: of the old codes.
        before: (trajectories,), the old policy's codes.
        now: (trajectories,), the new policy's codes of the same trajectories.
        sizes: how many codes the old and the new policy have.
    """
    from scipy.optimize import linear_sum_assignment

    together = np.zeros(sizes, np.int64)
    np.add.at(together, (before, now), 1)
    totals = together.sum(axis=0)
    pairs = zip(*linear_sum_assignment(together, maximize=True), strict=True)
    kept = {
        int(new): names[int(old)]
        for old, new in pairs
        if int(old) in names and together[old, new] > 0 and together[old, new] >= _SHARED * totals[new]
    }
    return dict(sorted(kept.items()))


def from_json(value: Any, size: int) -> dict[int, str]:
    """Return the names that a file has.

    Raises:
        ValueError: they are no names of `size` codes.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} are no names")
    names: dict[int, str] = {}
    for code, name in value.items():
        names = named(names, int(code), name, size)
    return names


def counts_from_json(value: Any, size: int) -> tuple[int, ...]:
    """Return how many trajectories each code explained, as a file has it; empty where nobody counted.

    Raises:
        ValueError: they are no counts of `size` codes.
    """
    counts = tuple(int(count) for count in value)
    if len(counts) not in (0, size) or min(counts, default=0) < 0:
        raise ValueError(f"{size} codes have no trajectories {value!r}")
    return counts


def to_json(names: Mapping[int, str]) -> dict[str, str]:
    """Return the names for a file."""
    return {str(code): name for code, name in names.items()}


def read_names(folder: Path) -> tuple[dict[int, str], tuple[int, ...]]:
    """Return the names in a policy's folder, and how many trajectories each code explained; without PyTorch.

    Raises:
        InputError: there is no policy, it has no list of codes, or the file is damaged.
    """
    path = folder / DESCRIPTION_FILE
    description = read_json(path)
    try:
        prior = description["prior"]
        if prior is None or prior["kind"] != "categorical":
            raise InputError(f"{folder} has a policy without a list of codes, so none can be named")
        return from_json(description.get("names", {}), prior["size"]), tuple(description["trajectories"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error!r}); restore it or train again") from error


def write_names(folder: Path, names: Mapping[int, str]) -> None:
    """Put these names into the policy.json of a folder, in place of those that are there.

    Raises:
        InputError: there is no policy.
        WriteError: the system refused to write.
    """
    path = folder / DESCRIPTION_FILE
    write_json(path, read_json(path) | {"names": to_json(names)})
