"""The commands about tasks, algorithms and data sets: arguments to calls, nothing more."""

import shlex
from pathlib import Path
from typing import Annotated

import tyro

_optional = tyro.conf.arg(help_behavior_hint="(optional)")


def tasks() -> None:
    """List the tasks with their modes, lengths and experts."""
    from manyways.cli.tables import show_tasks
    from manyways.tasks import get_task, task_names

    show_tasks([get_task(name) for name in task_names()])


def algorithms() -> None:
    """List the algorithms with what they are and what they need."""
    from manyways.algorithms import algorithm_names, get_algorithm
    from manyways.cli.tables import show_algorithms

    show_algorithms([get_algorithm(name) for name in algorithm_names()])


def collect(
    task: str,
    /,
    *,
    out: Path,
    episodes: Annotated[int | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    noise: Annotated[float | None, _optional] = None,
    seed: int = 0,
) -> None:
    """Collect demonstrations of a task's expert, as a Minari data set.

    Args:
        task: Name of the task, such as circles.
        out: Folder of the data set; must not exist yet, or be empty.
        episodes: How many; the task's own number unless given.
        weights: Folder of an expert's training; the expert that came with manyways unless given.
        noise: Standard deviation of what disturbs the expert's actions, in halves of their range; the task's own
            unless given.
        seed: Of the modes, the environment and the noise.
    """
    from manyways.cli.console import progress, what_next
    from manyways.tasks import get_task
    from manyways.tasks.collect import collect as collect_episodes
    from manyways.tasks.collect import steps_of

    chosen = get_task(task, weights)
    count = chosen.demonstrations if episodes is None else episodes
    with progress.section(f"collecting {count} episodes of {chosen.name}", steps_of(chosen, count), "steps") as update:
        collect_episodes(chosen, count, out, seed, update, noise)
    what_next(out, f"manyways inspect {shlex.quote(str(out))}")


def inspect(path: str, /) -> None:
    """Show what is in a data set: counts, lengths, ranges, constant and non-finite columns.

    Args:
        path: An NPZ file, the folder of a Minari data set, or the id of a local one.
    """
    import numpy as np

    from manyways.cli.console import progress, say
    from manyways.cli.tables import show_summary
    from manyways.demonstrations import Demonstrations, load_modes, summarise
    from manyways.demonstrations.formats import read

    with progress.section("reading the demonstrations"):
        demonstrations = Demonstrations(*read(path))  # without asking that all is finite, which is shown instead
        labels = load_modes(path)
        summary = summarise(demonstrations)
    show_summary(summary, path, None if labels is None else len(np.unique(labels[labels != -1], axis=0)))
    say(f"Next: manyways train {shlex.quote(path)} --modes K --out RUN")
