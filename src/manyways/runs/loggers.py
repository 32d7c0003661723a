"""Where the numbers of a training go: one small protocol, and three that implement it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from manyways.errors import InputError
from manyways.files import write_bytes

METRICS = "metrics.jsonl"


class Logger(Protocol):
    """Receives the numbers of a training. Write your own with these three methods, and give it to `train`."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Take the numbers of an iteration; iterations come in order, not all of them."""

    def flush(self) -> None:
        """Put on the disk what was logged; called before each checkpoint is written."""

    def close(self) -> None:
        """End the log."""


class JSONLines:
    """Writes metrics.jsonl, a line for each logged iteration, whole or not at all.

    Args:
        folder: of the run.
        start: the first iteration that will come; lines from there on are of a training that was interrupted, and go.

    Raises:
        InputError: the file is damaged.
        WriteError: the system refused to write; so does `flush`.
    """

    def __init__(self, folder: Path, start: int = 1) -> None:
        self._path = folder / METRICS
        lines = read_metrics(self._path) if start > 1 else []
        self._lines = [line for line in lines if line["iteration"] < start]

    @property
    def seconds(self) -> float:
        """How long the training took until the last line."""
        return float(self._lines[-1]["seconds"]) if self._lines else 0.0

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line."""
        self._lines.append({"iteration": step, **scalars})

    def flush(self) -> None:
        """Put the lines so far on the disk."""
        write_bytes(self._path, "".join(json.dumps(line) + "\n" for line in self._lines).encode())

    def close(self) -> None:
        """Do nothing: what was not flushed belongs to no checkpoint."""


class WeightsAndBiases:
    """Sends the numbers to Weights & Biases, or keeps them in the run's folder where WANDB_MODE is "offline".

    Args:
        folder: of the run.
        name: of the run there.
        config: shown beside it.

    Raises:
        InputError: the package `wandb` is not installed, or it refuses to begin.
    """

    def __init__(self, folder: Path, name: str, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError("the logger wandb needs a package; pip install manyways[wandb]") from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._run = wandb.init(project="manyways", name=name, config=dict(config), dir=str(folder))
        except Exception as error:  # wandb has many errors of its own, of the network and of its account
            raise InputError(
                f"Weights & Biases does not begin ({error}); run `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Send the numbers of an iteration."""
        self._run.log(dict(scalars), step=step)

    def flush(self) -> None:
        """Do nothing: a thread of theirs sends."""

    def close(self) -> None:
        """End the run there."""
        self._run.finish()


def _tensorboard(folder: Path, start: int, name: str, config: Mapping[str, Any]) -> Logger:
    from manyways.runs.tensorboard import TensorBoard

    return TensorBoard(folder / "tensorboard", start)


LOGGERS: dict[str, Callable[[Path, int, str, Mapping[str, Any]], Logger]] = {
    "jsonl": lambda folder, start, name, config: JSONLines(folder, start),
    "tensorboard": _tensorboard,
    "wandb": lambda folder, start, name, config: WeightsAndBiases(folder, name, config),
}


def make_loggers(
    chosen: Sequence[str | Logger], folder: Path, start: int, name: str, config: Mapping[str, Any]
) -> list[Logger]:
    """Return the loggers of a training, metrics.jsonl first: the page and a training that is resumed read it.

    Args:
        chosen: names ("jsonl", "tensorboard", "wandb") and objects of one's own.
        folder: of the run.
        start: the first iteration that will come.
        name: of the run.
        config: of the run.

    Raises:
        InputError: there is no logger of that name, or its package is missing.
        WriteError: the system refused to write.
    """
    require_loggers(chosen)
    loggers: list[Logger] = [JSONLines(folder, start)]
    for one in chosen:
        if not isinstance(one, str):
            loggers.append(one)
        elif one != "jsonl":
            loggers.append(LOGGERS[one](folder, start, name, config))
    return loggers


def require_loggers(chosen: Sequence[str | Logger]) -> None:
    """Raise `InputError` unless all names are those of loggers."""
    for one in chosen:
        if isinstance(one, str) and one not in LOGGERS:
            raise InputError(f"there is no logger {one!r}; the loggers are {', '.join(LOGGERS)}")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the lines of a metrics.jsonl.

    Raises:
        InputError: the file is missing or damaged.
    """
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        texts = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the same `manyways train` again to finish the run") from None
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            if not {"iteration", "loss", "seconds", "steps_per_second"} <= set(line):
                raise ValueError("a number is missing")
            if not all(isinstance(value, int | float) for value in line.values()):
                raise ValueError("not numbers")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"line {number} of {path} is damaged ({error}); restore the file or train again"
            ) from error
        yield line
