"""What a long call says on its way: one small class, which the console overrides."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """Moves a section on."""

    def __call__(self, completed: int | None = None, note: str = "") -> None:
        """Say how much is complete, one more unless given, and a note to stand beside it."""


class Progress:
    """Receives what a long call says; this class shows nothing, and warns as Python does.

    Override the methods to show more, as `manyways.cli.console` does with bars.
    """

    @contextmanager
    def section(self, what: str, total: int | None = None, unit: str = "") -> Iterator[Update]:
        """Enter a section of the work.

        Args:
            what: the work, such as "counting modes".
            total: how many units there are; None where nobody knows.
            unit: what is counted, such as "iterations".
        """
        yield lambda completed=None, note="": None

    def say(self, text: str) -> None:
        """Tell a result of a section."""

    def warn(self, text: str) -> None:
        """Tell of something that is probably wrong."""
        warnings.warn(text, stacklevel=3)


SILENT = Progress()
