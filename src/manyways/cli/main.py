"""The command `manyways`: which command it is, and what its errors look like."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import tyro

from manyways.cli import data, exploring, runs
from manyways.cli.experts import app as expert
from manyways.cli.reproduce import app as reproduce
from manyways.errors import ManywaysError

_LONGEST_SHOWN = 200  # characters of a path in an error

app = tyro.extras.SubcommandApp()


@app.command(name="train")
def _train() -> None:
    """Learn a policy with a code for each mode: manyways train ALGORITHM [DATA] --out RUN."""


_COMMANDS: tuple[Callable[..., None], ...] = (
    data.tasks,
    data.algorithms,
    data.collect,
    data.inspect,
    data.convert,
    runs.modes,
    exploring.explore,
    runs.name,
    runs.evaluate,
    runs.compare,
    runs.report,
    runs.robustness,
    runs.film,
    runs.export,
    runs.push,
)
for _command in _COMMANDS:
    app.command(_command)
app.command(expert, name="expert", help="Train, draw or film the experts of the tasks.")
app.command(
    reproduce,
    name="reproduce",
    help="Redo the paper: its tables, its figures, and the appendices' experiments on SOG itself.",
)


def main() -> None:
    """Run the command line; exit with 2 where the user can mend what went wrong, with 130 when interrupted."""
    sys.path.append(str(Path.cwd()))  # where a task of one's own, module:ATTRIBUTE, may be
    warnings.showwarning = _show_warning
    os.environ["MPLBACKEND"] = "agg"  # a notebook's own is not installed here, and pictures go to files
    try:
        try:
            run(sys.argv[1:])
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except ManywaysError as error:
        # One line, whatever the library underneath had to say.
        _fail(" ".join(str(error).split()), 2)
    except OSError as error:  # a name that is too long, or what this user may not read
        if error.filename is None:
            raise
        name = str(error.filename)
        shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
        _fail(f"{shown}: {error.strerror}; check the path", 2)
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to go on", 130)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        _fail("the memory is not enough; take fewer or shorter trajectories, or smaller batches", 2)


def run(arguments: Sequence[str]) -> None:
    """Run what stands behind `manyways`."""
    if list(arguments) == ["--version"]:
        import manyways

        print(manyways.__version__)
    elif arguments and arguments[0] == "train":
        from manyways.cli.train import train

        train(arguments[1:])
    else:
        app.cli(
            args=list(arguments),
            prog="manyways",
            description=(
                "Learns every mode of a task from demonstrations that nobody labelled, and gives back one policy with "
                "a code that selects the mode. `manyways --version` prints the version."
            ),
            config=(tyro.conf.DisallowNone,),
        )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print the sentence alone, without the line of code that warns."""
    print(f"manyways: warning: {message}", file=file or sys.stderr)


def _fail(message: str, code: int) -> None:
    print(f"manyways: {message}", file=sys.stderr)
    raise SystemExit(code) from None
