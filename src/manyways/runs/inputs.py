"""What a run works on: its task, its demonstrations, and the codes that they call for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyways.errors import InputError
from manyways.runs.progress import Progress
from manyways.runs.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manyways.demonstrations import Demonstrations, Edits, Selection
    from manyways.latents import Prior
    from manyways.tasks import Task

    Labels = NDArray[np.generic]


_SURE = 0.8  # of a count; below it a warning is due
_NAMED = 3  # properties in which modes differ, in a message


def load_data(
    run: Run, data: str | Path | None, selection: "Selection | None" = None
) -> "tuple[str, Demonstrations, Labels | None]":
    """Return where the demonstrations are, as given or as the run had them, those, and their labels, if any.

    Args:
        run: its columns are taken; of its own data also its episodes.
        data: demonstrations; those of the run unless given.
        selection: what to take otherwise.

    Raises:
        InputError: they are not there any more, or cannot be used.
    """
    from manyways.demonstrations import Demonstrations, Selection, load_modes

    source: str | None = run.config["data"] if data is None else str(data)
    if source is None:
        raise InputError(f"{run.path} was trained on demonstrations in memory; save them and give their place as data")
    if data is None and Path(source).is_absolute() and not Path(source).exists():
        raise InputError(
            f"{source}, which {run.path} was trained on, is not there any more; give its place with --data"
        )
    taken = (selection or Selection()).over(run.selection if data is None else run.selection.columns())
    demonstrations = Demonstrations.load(source, **vars(taken))
    if data is None and taken == run.selection:
        demonstrations = run.edits.labelled(demonstrations)
    return source, demonstrations, load_modes(source, taken)


def task_of(run: Run, weights: str | Path | None = None) -> "Task | None":
    """Return the run's task with its expert, None where the run has no task.

    Raises:
        InputError: there is no such task any more, or the weights are not there.
    """
    return resolve_task(run.config["task"], weights or run.config["weights"])


def require_task(run: Run, weights: str | Path | None = None, remedy: str | None = None) -> "Task":
    """Return the run's task, as `task_of`, of a run that has one.

    Args:
        run: to open.
        weights: as for `task_of`.
        remedy: what to do instead; training with a task unless given.

    Raises:
        InputError: it has none.
    """
    task = task_of(run, weights)
    if task is None:
        remedy = remedy or "train with --task NAME, or --task MODULE:ATTRIBUTE for a task of your own"
        raise InputError(
            f"{run.path} was trained on data without an environment, so nothing can be rolled out; {remedy}, "
            f"or see `manyways report {run.path}`"
        )
    return task


def resolve_task(task: "str | Task | None", weights: str | Path | None) -> "Task | None":
    """Return the task, by name with the expert of a training's folder, if one is given."""
    if weights is not None and not Path(weights).is_dir():
        raise InputError(f"there is no folder {weights} of an expert; give the folder of `manyways expert train`")
    if not isinstance(task, str):
        return task
    from manyways.tasks import get_task

    return get_task(task, None if weights is None else Path(weights))


def resolve_demonstrations(
    settings: Any,
    data: "str | Path | Demonstrations | None",
    task: "Task | None",
    progress: Progress,
    selection: "Selection",
    edits: "Edits",
) -> "tuple[str | None, Demonstrations, Selection]":
    """Return where the demonstrations are (None: in memory), they, checked against the task, and what was selected."""
    if settings.runs_environments and task is None:
        raise InputError(f"{settings.name} runs the environment, so it needs a task; give --task NAME, or use sog-bc")
    if data is None and task is None:
        raise InputError("there is nothing to learn from; give --task NAME or the demonstrations' path")
    from manyways.demonstrations import Demonstrations
    from manyways.demonstrations.alike import require_demonstrations

    source: str | None = None
    if data is not None and not isinstance(data, str | Path):
        require_demonstrations(data)
    if isinstance(data, Demonstrations):
        if selection.to_json():
            raise InputError("the demonstrations are in memory, so nothing is selected of them; use select, or load")
        demonstrations = edits.without_excluded(data)
    else:
        if data is None:
            assert task is not None
            data = collected(task, progress)
        source = str(Path(data).resolve()) if Path(data).exists() else str(data)  # else the id of a Minari data set
        selection = edits.selecting(selection)
        with progress.section("reading the demonstrations"):
            demonstrations = Demonstrations.load(source, **vars(selection))
    if task is not None:
        what = str(data) if source else "the data"
        task.require_spaces(demonstrations.observation_space, demonstrations.action_space, what)
        if share := task.actions_outside(demonstrations):
            progress.warn(
                f"{share:.1%} of the actions lie outside the action space of {task.name}; rollouts clip them, so "
                "scale the actions, or widen the space"
            )
    return source, demonstrations, selection


def collected(task: "Task", progress: Progress) -> Path:
    """Return where the task's demonstrations are, collecting them on first use."""
    from manyways.tasks.collect import cached_demonstrations, collect, steps_of

    path = cached_demonstrations(task)
    if not path.exists():
        what = f"collecting {task.demonstrations} episodes of {task.name}"
        with progress.section(what, steps_of(task, task.demonstrations), "steps") as update:
            collect(task, task.demonstrations, path, 0, update)
    return path


def resolve_mode_count(demonstrations: "Demonstrations", out: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Count the modes, or return what was counted when the run in this folder began."""
    counted: dict[str, Any] | None = None
    if (out / "config.json").exists():
        counted = Run.open(out).config["mode_count"]
    if counted is None:
        from manyways.clustering.count import PARTS, count_modes

        with progress.section("counting modes", PARTS, "parts") as update:
            counted = count_modes(demonstrations, seed=seed, callback=update).to_json()
        told = list(dict.fromkeys(split["by"] for split in counted["splits"]))
        if told:
            more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
            progress.say(f"gaps between modes: {'; '.join(told[:_NAMED])}{more}")
    progress.say(
        f"{counted['best']} modes counted, {counted['sureness']:.0%} sure; the next best number is "
        f"{counted['runner_up']} (--modes {counted['runner_up']})"
    )
    if counted["sureness"] < _SURE:
        progress.warn(
            f"the count is only {counted['sureness']:.0%} sure, so it may be far off; train with --modes "
            f"{counted['runner_up']} and with fewer, and compare the reports"
        )
    return counted


def resolve_prior(task: "Task | None", modes: int | Literal["auto"] | None, code_size: int | None) -> "Prior":
    """Return the codes that were asked for, or those that the task's modes call for."""
    from manyways.latents import Categorical, Gaussian
    from manyways.tasks import DiscreteModes

    if modes is not None and code_size is not None:
        raise InputError(f"--modes {modes} and --code-size {code_size} exclude each other; give one of them")
    if isinstance(modes, int):
        return Categorical(modes)
    if code_size is not None:
        return Gaussian(code_size)
    if task is None:
        raise InputError(
            "the number of modes is not known; give --modes K or --modes auto, or --code-size D for a range of modes"
        )
    return Categorical(len(task.modes)) if isinstance(task.modes, DiscreteModes) else Gaussian(task.modes.dimension)
