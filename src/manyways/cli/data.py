"""The commands about tasks, algorithms and data sets: arguments to calls, nothing more."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from manyways.cli.arguments import DataOptions, Taken

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
    chosen.require_expert()
    count = chosen.demonstrations if episodes is None else episodes
    with progress.section(f"collecting {count} episodes of {chosen.name}", steps_of(chosen, count), "steps") as update:
        collect_episodes(chosen, count, out, seed, update, noise)
    what_next(out, f"manyways inspect {shlex.quote(str(out))}")


def inspect(path: str, /, *, taken: Taken = DataOptions()) -> None:  # noqa: B008 (it is frozen)
    """Show what is in a data set: counts, lengths, ranges, constant and non-finite columns, and what is known of it.

    Args:
        path: A file or folder (NPZ, Minari, robomimic, LeRobot, zarr, CSV, Parquet and others), or the id of a local
            Minari data set.
        taken: What to take of it.
    """
    import numpy as np

    from manyways.cli.console import progress, say
    from manyways.cli.tables import show_summary
    from manyways.demonstrations import Demonstrations, load_modes, summarise
    from manyways.demonstrations.formats import read_with_bad, remedy_for
    from manyways.demonstrations.formats.cleaning import described

    selection = taken.selection()
    with progress.section("reading the demonstrations"):
        trajectories, bad = read_with_bad(path, selection)  # that all is finite is not asked: it is shown
        demonstrations = Demonstrations(*trajectories)
        demonstrations = demonstrations.with_rotations(selection.angles, selection.quaternions)
        labels = load_modes(path, selection)
        summary = summarise(demonstrations)
    show_summary(summary, path, None if labels is None else len(np.unique(labels[labels != -1], axis=0)))
    labels, pairs = demonstrations.labels, demonstrations.pairs
    if labels is not None:
        say(f"known modes: {int((labels >= 0).sum()):,} trajectories")
    if pairs is not None:
        say(f"pairs: {len(pairs.links()):,} of the same way, {len(pairs.different):,} of different ways")
    if bad:
        count = f"{len(bad):,} of {len(demonstrations):,} trajectories"
        say(f"Training would refuse {count}: {described(bad)}; {remedy_for(bad, trajectories)}")
        if len(bad) == len(demonstrations):
            return
        taken = replace(taken, drop_bad=True)
    say(f"Next: manyways train {shlex.quote(path)}{taken.words()} --modes K --out RUN")


def convert(
    source: str,
    out: Path,
    /,
    *,
    format: Annotated[
        Literal["npz", "npy", "minari", "csv", "parquet", "robomimic", "lerobot", "zarr"] | None, _optional
    ] = None,
    taken: Taken = DataOptions(),  # noqa: B008 (it is frozen)
) -> None:
    """Write a data set in another format, with labels, names and identities where the format can hold them.

    Args:
        source: A file or folder of any format, or the id of a local Minari data set.
        out: File, which is replaced, or folder, which must not exist yet or be empty.
        format: Format to write; csv is a folder with a file for each episode, minari a folder too, npy a folder that is
            read from the disk in training, for large sets. What the suffix of OUT says unless given (.npz, .parquet,
            .hdf5, .zarr), minari for a path without one.
        taken: What to take of it.
    """
    from manyways.cli.console import progress, what_next
    from manyways.demonstrations import Demonstrations, load_modes
    from manyways.demonstrations import convert as convert_in_parts
    from manyways.demonstrations.formats import require_apart

    selection = taken.selection()
    with progress.section("converting the demonstrations"):
        require_apart(source, out)
        if format == "npy":
            convert_in_parts(source, out, selection)
        else:
            demonstrations = Demonstrations.load(source, **vars(selection))
            demonstrations.save(out, modes=load_modes(source, selection), format=format)
    what_next(out, f"manyways inspect {shlex.quote(str(out))}")
