"""Carries a list of experiments out: in turn, or on several cores at once. What fails does not stop the others."""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyways.errors import InputError, ManywaysError
from manyways.reproduce.experiments import Experiment
from manyways.runs.lock import LOCK
from manyways.runs.run import Run

Work = Callable[[Experiment], dict[str, Any]]

SECONDS_BETWEEN_LOOKS = 2.0


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


def run_all(
    experiments: Sequence[Experiment],
    work: Work,
    jobs: int = 1,
    on_wait: Callable[[Sequence[Experiment]], object] = lambda unfinished: None,
) -> Iterator[Outcome]:
    """Yield what comes of each experiment, as soon as it is known.

    Args:
        experiments: in the order of their start.
        work: carries one out; with several jobs it runs in other processes.
        jobs: how many at once.
        on_wait: with several jobs, called every few seconds with those that are not finished.

    Raises:
        InputError: there are fewer jobs than one.
        KeyboardInterrupt: the user interrupted; trainings go on from there when the same is called again.
    """
    if jobs < 1:
        raise InputError(f"jobs is {jobs}; give 1 or more")
    if jobs == 1:
        yield from (attempt(work, each) for each in experiments)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _one_thread) as pool:
        unfinished = {pool.submit(attempt, work, each): each for each in experiments}
        try:
            while unfinished:
                done, _ = wait(unfinished, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                if not done:
                    on_wait(list(unfinished.values()))
                for future in done:
                    experiment = unfinished.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        yield Outcome(
                            experiment, error="its process was ended from outside; run the same command again"
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


def at_work(runs: Path, experiments: Iterable[Experiment]) -> list[str]:
    """Return which of the experiments are being trained, each with how much of it is done.

    Args:
        runs: folder of the runs; those on other machines' disks are not seen.
        experiments: that are not finished.
    """
    lines = []
    for each in experiments:
        folder = runs / each.place
        if (folder / LOCK).exists():
            try:
                iteration = Run.open(folder).metrics()[-1]["iteration"]
                share = f" {iteration / Run.open(folder).config['provenance']['budget']['iterations']:.0%}"
            except (InputError, KeyError, ZeroDivisionError):  # it has just begun
                share = ""
            lines.append(each.title + share)
    return lines
