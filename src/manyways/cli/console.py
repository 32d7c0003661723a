"""What the command line shows: progress with speed and time left, and lines of text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Column, Table

from manyways.runs.progress import Progress, Update

console = Console(highlight=False)


class ConsoleProgress(Progress):
    """Shows a bar for a section whose length is known, a spinner for another, and lines of text between them."""

    @contextmanager
    def section(self, what: str, total: int | None = None, unit: str = "") -> Iterator[Update]:
        """Show how far the section is; see `Progress.section`."""
        counts = "{task.completed:,}" + ("" if total is None else "/{task.total:,}") + f" {escape(unit)}"
        columns = [SpinnerColumn(), TextColumn("{task.description}")]
        if total is not None:
            columns += [BarColumn(bar_width=20), TextColumn(counts), TextColumn("{task.fields[speed]}")]
            columns += [TimeRemainingColumn(compact=True)]
        else:
            columns += [TimeElapsedColumn()]
        silent = total is None and not console.is_terminal  # a spinner says nothing in a file
        note = TextColumn("{task.fields[note]}")
        with Bars(*columns, note, console=console, transient=total is None, disable=silent) as bars:
            task = bars.add_task(what, total=total, speed="", note="")

            def update(completed: int | None = None, note: str = "") -> None:
                now = bars.tasks[0].completed + 1 if completed is None else completed
                speed = bars.tasks[0].speed
                bars.update(task, completed=now, note=note, speed=f"{speed:,.0f}/s" if speed else "")

            yield update

    def say(self, text: str) -> None:
        """Print a line."""
        say(text)

    def warn(self, text: str) -> None:
        """Print a line that says it is a warning."""
        say(f"Warning: {text}")


progress = ConsoleProgress()


def say(text: str) -> None:
    """Print a line, breaking it nowhere, so that paths and commands can be copied."""
    console.print(escape(text), soft_wrap=True)


def what_next(written: Path | str, command: str) -> None:
    """Say what was written and what to type next."""
    say(f"Wrote {written}")
    say(f"Next: {command}")


def table(first: str, *numbers: str, broken: bool = False) -> Table:
    """Return an empty table of one text column and columns of numbers, which stand at the right.

    If it may be `broken`, as long names, the text is what gives way on a narrow terminal; else the numbers are.
    """
    made = Table(Column(first, overflow="fold", no_wrap=not broken))
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=broken)
    return made
