"""Trains to the end: checkpoints, the best policy on the way, the log, and interrupts that land between two steps."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from manyways.files import read_tensors, write_tensors
from manyways.runs.loggers import JSONLines, Logger
from manyways.runs.progress import Progress
from manyways.runs.run import Run

if TYPE_CHECKING:
    from manyways.algorithms.training import Training

_SECONDS_BETWEEN_CHECKPOINTS = 5.0
_ALL_LOGGED = 50  # iterations at the start, in which codes find their trajectories
_LINES = 200  # for the others, where they only read demonstrations
_UPDATES = 5000  # after so many iterations, one that runs environments is not logged each time

Callback = Callable[[Any], object]
"""Called with the training after each iteration; returns False to end it."""

Evaluator = Callable[[Any], Any]
"""From a policy to what its rollouts returned: `return_mean`, and `scalars()` for the log."""


def train_to_end(
    run: Run,
    training: "Training",
    loggers: Sequence[Logger],
    evaluator: Evaluator | None,
    callback: Callback | None,
    progress: Progress,
    first: str = "",
) -> None:
    """Train from where the run stands until it is finished, or until the callback ends it, and write the policy.

    An interrupt (Ctrl-C) waits for the step at work, then what there is becomes the checkpoint; the second one does not
    wait, and the checkpoint before it stays. The best policy by the evaluator is kept beside the last.

    Args:
        run: its folder.
        training: at its first iteration, of this run's settings and demonstrations, or where the checkpoint is.
        loggers: metrics.jsonl first; closed at the end.
        evaluator: of policies on the way, where the algorithm runs environments.
        callback: called with the training after each iteration.
        progress: shows how far it is.
        first: what the first iteration does before it learns.

    Raises:
        KeyboardInterrupt: the user interrupted; the same call goes on from the checkpoint.
        WriteError: the system refused to write; the same call goes on from the last checkpoint.
    """
    log = _Log(loggers)
    saved = time.monotonic()
    whole, warned = True, 0

    def save() -> None:
        # The log first: lines beyond the checkpoint are dropped when going on, but missing ones are lost.
        log.flush()
        write_tensors(run.checkpoint, training.state_dict())

    try:
        with progress.section("training", training.iterations, "iterations") as update, _interrupts() as interrupted:
            update(training.iteration, first)
            while not training.finished and not interrupted():
                whole = False
                training.step()
                whole = True
                evaluation = _keep_best(run, training, evaluator)
                log.record(training, {} if evaluation is None else evaluation.scalars())
                for text in training.warnings[warned:]:
                    progress.warn(text)
                warned = len(training.warnings)
                update(training.iteration, training.status)
                if callback is not None and callback(training) is False:
                    log.write_line(training)
                    break
                if training.at_checkpoint and time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    save()
                    saved = time.monotonic()
            if interrupted():
                raise KeyboardInterrupt
            update(training.iteration, "writing the policy")
            if training.at_checkpoint:
                save()
            else:
                log.flush()
            run.write_policy(training.policy())
    except KeyboardInterrupt:
        if whole and training.at_checkpoint and training.iteration:
            save()
        raise
    finally:
        log.close()


def resume(run: Run, training: "Training") -> None:
    """Bring the training to the run's checkpoint, if there is one.

    Raises:
        InputError: the checkpoint is damaged.
    """
    if run.checkpoint.exists():
        training.load_state_dict(read_tensors(run.checkpoint))


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Yield whether Ctrl-C was pressed; a second one interrupts at once. Other threads than the first see none."""
    pressed: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def press(number: int, frame: object) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _keep_best(run: Run, training: "Training", evaluator: Evaluator | None) -> Any:
    """Evaluate the policy if it is due, keep it if it is the best so far, and return what its rollouts returned."""
    if evaluator is None or not training.evaluation_due:
        return None
    evaluation = evaluator(training.policy(counted=False))
    best = run.best
    if best is None or evaluation.return_mean > best["return_mean"]:
        when = {"iteration": training.iteration, "environment_steps": training.environment_steps}
        run.write_best(training.policy(), when | {"return_mean": evaluation.return_mean})
    return evaluation


class _Log:
    """Sums iterations up, and gives the loggers a mean of each number where a line is due."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._loggers = loggers
        first = loggers[0]
        self._seconds = first.seconds if isinstance(first, JSONLines) else 0.0
        self._start_interval()

    def _start_interval(self) -> None:
        self._began = time.monotonic()
        self._scalars: dict[str, list[float]] = {}
        self._steps = 0
        self._usage: list[np.ndarray] = []

    def record(self, training: "Training", evaluated: dict[str, float]) -> None:
        """Add an iteration and what was evaluated after it; log a line where one is due."""
        for name, value in ({"loss": training.loss} | training.scalars()).items():
            self._scalars.setdefault(name, []).append(value)
        self._steps += training.steps_per_iteration
        self._usage.append(training.code_usage)
        every = max(1, training.iterations // _LINES)
        if training.environment_steps:
            every = max(1, training.iteration // _UPDATES)
        due = training.iteration <= _ALL_LOGGED or training.iteration % every == 0
        if due or training.finished or evaluated:
            self.write_line(training, evaluated)

    def write_line(self, training: "Training", evaluated: Mapping[str, float] = MappingProxyType({})) -> None:
        """Log the iterations since the last line, if there are any."""
        if not self._usage:
            return
        seconds = time.monotonic() - self._began
        self._seconds += seconds
        scalars = {name: float(np.mean(values)) for name, values in self._scalars.items()} | {
            "learning_rate": training.learning_rate,
            "steps_per_second": round(self._steps / max(seconds, 1e-9)),
            "seconds": round(self._seconds, 3),
        }
        won = np.sum(self._usage, axis=0)
        shares = (won / max(1, won.sum())).round(6).tolist()
        scalars |= {f"code_usage/{code}": share for code, share in enumerate(shares)} | dict(evaluated)
        for logger in self._loggers:
            logger.log(training.iteration, scalars)
        self._start_interval()

    def flush(self) -> None:
        """Put the lines so far on the disk."""
        for logger in self._loggers:
            logger.flush()

    def close(self) -> None:
        """End the logs."""
        for logger in self._loggers:
            logger.close()
