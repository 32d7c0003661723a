"""Carries a list of experiments out: in turn, or on several cores at once. What fails does not stop the others."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from manyways.errors import InputError, ManywaysError
from manyways.reproduce.experiments import Experiment

Work = Callable[[Experiment], dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        experiment: of the list.
        result: of its file; None where it failed.
        error: why it failed, in a sentence.
        seconds: how long it took.
    """

    experiment: Experiment
    result: dict[str, Any] | None = None
    error: str = ""
    seconds: float = 0.0


def run_all(experiments: Sequence[Experiment], work: Work, jobs: int = 1) -> Iterator[Outcome]:
    """Yield what comes of each experiment, as soon as it is known.

    Args:
        experiments: in the order of their start.
        work: carries one out; with several jobs it runs in other processes.
        jobs: how many at once.

    Raises:
        InputError: there are fewer jobs than one.
        KeyboardInterrupt: the user interrupted; trainings go on from there when the same is called again.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give 1 or more")
    if jobs == 1 or len(experiments) <= 1:
        yield from (attempt(work, each) for each in experiments)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _one_thread) as pool:
        futures = {pool.submit(attempt, work, each): each for each in experiments}
        try:
            for future in as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    yield Outcome(
                        futures[future], error="its process was ended from outside; run the same command again"
                    )
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)  # those at work write their checkpoints
            raise


def attempt(work: Work, experiment: Experiment) -> Outcome:
    """Return what comes of an experiment; errors that the user can mend become part of it."""
    started = time.monotonic()
    try:
        return Outcome(experiment, work(experiment), seconds=time.monotonic() - started)
    except ManywaysError as error:
        return Outcome(experiment, error=str(error), seconds=time.monotonic() - started)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
