"""Carries a list of experiments out with Ray, over the cores of one machine or of several.

Where a machine is lost, its experiments start again elsewhere: a result that is written is read, and a training goes on
from its run's folder, where the machines share it.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from manyways.errors import InputError
from manyways.reproduce.execution import SECONDS_BETWEEN_LOOKS, Outcome, Work, attempt
from manyways.reproduce.experiments import Experiment

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def run_on_ray(
    experiments: Sequence[Experiment],
    work: Work,
    cores: int = 1,
    memory: str | None = None,
    retries: int = 2,
    on_wait: Callable[[Sequence[Experiment]], object] = lambda unfinished: None,
) -> Iterator[Outcome]:
    """Yield what comes of each experiment, as soon as it is known.

    Ray starts on this machine, unless it runs already or RAY_ADDRESS names a cluster.

    Args:
        experiments: in the order of their start.
        work: carries one out, on whichever machine; manyways is installed there.
        cores: of each experiment, and threads.
        memory: of each, such as "2GB"; not counted unless given.
        retries: how often an experiment is tried again, after its process or machine is lost or it fails.
        on_wait: called every few seconds with those that are not finished.

    Raises:
        InputError: Ray is not installed, the memory is no size, or no machine has so much.
        KeyboardInterrupt: the user interrupted; trainings go on from there when the same is called again.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise InputError('Ray is not installed; run `pip install "manyways[ray]"`, or leave --ray out') from None
    needed = {"CPU": cores} | ({} if memory is None else {"memory": size_of(memory)})
    own = not ray.is_initialized()
    if own:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        _require(ray.nodes(), needed)
        options: dict[str, Any] = {"num_cpus": cores, "max_retries": retries}
        remote = ray.remote(**options | ({} if memory is None else {"memory": needed["memory"]}))(_attempt)
        unfinished = {remote.remote(work, each): (each, 0) for each in experiments}
        while unfinished:
            ready, _ = ray.wait(list(unfinished), num_returns=1, timeout=SECONDS_BETWEEN_LOOKS)
            if not ready:
                on_wait([each for each, _ in unfinished.values()])
            for reference in ready:
                experiment, tries = unfinished.pop(reference)
                try:
                    outcome: Outcome = ray.get(reference)
                except ray.exceptions.RayError as error:
                    outcome = Outcome(
                        experiment, error=f"its process was lost {retries + 1} times ({type(error).__name__})"
                    )
                    tries = retries  # Ray has tried again already
                if outcome.error and tries < retries:
                    again = remote.remote(work, experiment, SECONDS_BETWEEN_LOOKS)
                    unfinished[again] = (experiment, tries + 1)
                else:
                    yield outcome
    finally:
        if own:
            ray.shutdown()


def _attempt(work: Work, experiment: Experiment, delay: float = 0.0) -> Outcome:
    """Return what comes of an experiment, on the machine where Ray runs this with as many threads as cores."""
    time.sleep(delay)  # a lost process may hold its run's folder a little longer
    return attempt(work, experiment)


def size_of(memory: str) -> int:
    """Return a size such as "2GB" in bytes.

    Raises:
        InputError: it is none.
    """
    number, unit = memory[:-2].strip(), memory[-2:].upper()
    try:
        size = int(float(number) * _UNITS[unit])
    except (KeyError, ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise InputError(f"memory-per-run is {memory!r}; give a size such as 500MB or 2GB")
    return size


def _require(nodes: Sequence[dict[str, Any]], needed: dict[str, int]) -> None:
    """Raise `InputError` unless one of the machines has as much as an experiment needs."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if not any(all(node.get(name, 0) >= least for name, least in needed.items()) for node in alive):
        most = ", ".join(f"{max((node.get(name, 0) for node in alive), default=0):g} of {name}" for name in needed)
        asked = ", ".join(f"{least} of {name}" for name, least in needed.items())
        raise InputError(f"no machine has {asked} for a run: the most are {most}; ask for less, or add a machine")
