"""Cells that are no numbers in columns of numbers: a word or a comma among them makes words of the whole column."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.formats.arrays import is_missing

_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE)
_EMPTY = {"#n/a", "#na", "n/a", "na", "nan", "-nan", "null", "<na>"}  # what tables write into a cell without a value


def find_strays(cells: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the rows of a column of words that hold no number, where most hold one; None where most do not.

    A number with a decimal comma shows that numbers are meant, but is none.

    Args:
        cells: (rows,).
    """
    if any(isinstance(cell, bytes) for cell in cells[:1]):  # pictures
        return None
    there = [
        (row, str(cell).strip())
        for row, cell in enumerate(cells)
        if not is_missing(cell) and str(cell).strip().lower() not in _EMPTY
    ]
    meant = sum(bool(_NUMBER.fullmatch(word.replace(",", ".", 1))) for _, word in there)
    if 2 * meant <= len(there):
        return None
    return np.array([row for row, word in there if not _NUMBER.fullmatch(word)], dtype=np.int64)


def told(path: Path, name: str, cells: NDArray[Any], rows: NDArray[np.int64], identity: str | None) -> str:
    """Return the sentence about a column of numbers in which these rows hold none.

    Args:
        path: of the file.
        name: of the column.
        cells: (rows of the file,).
        rows: what `find_strays` found.
        identity: of the episode of the first of these rows, None where the file is one.
    """
    if not len(rows):
        return f"{name} in {path} holds numbers as words; convert the column to numbers"
    first = int(rows[0])
    places = [f"line {line}"] if (line := _line(path, first, len(cells))) else []
    places += [] if identity is None else [f"episode {identity}"]
    more = f" (and {len(rows) - 1:,} cells more)" if len(rows) > 1 else ""
    remedy = "write it with a decimal point" if "," in str(cells[first]) else "mend it"
    return (
        f"{name} in {path} has {str(cells[first])!r} in row {first}, counted from 0{''.join(f', {p}' for p in places)}"
        f"{more}, but numbers in most rows; {remedy}, or choose other columns (--observations, --actions)"
    )


def _line(path: Path, row: int, rows: int) -> int | None:
    """Return the line of a row in a file of text that has a line for each row and one for the names, else None."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return None
    with open(path, "rb") as file:
        lines = [number for number, line in enumerate(file, 1) if line.strip()]
    return lines[row + 1] if len(lines) == rows + 1 else None
