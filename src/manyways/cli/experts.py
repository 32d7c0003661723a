"""The commands `manyways expert`: arguments to calls, nothing more."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from manyways.tasks import Task

app = tyro.extras.SubcommandApp()

_optional = tyro.conf.arg(help_behavior_hint="(optional)")


@app.command(name="train")
def train_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    hours: Annotated[float | None, _optional] = None,
    start_from: Annotated[Path | None, _optional] = None,
    seed: int = 0,
) -> None:
    """Train a task's expert until it reaches its target return; the same command goes on where it stopped.

    Args:
        task: Name of the task.
        out: Folder of the training; experts/TASK unless given.
        hours: Stop after so many hours of work, those of earlier calls included, with the best so far.
        start_from: Folder of the training of another task that looks the same to its expert; ants do.
        seed: Of everything random.
    """
    from manyways.cli.console import what_next
    from manyways.cli.tables import expert_progress, show_card
    from manyways.experts import train_expert
    from manyways.tasks import get_task

    chosen = get_task(task)
    out = Path("experts") / chosen.name if out is None else out
    command = f"manyways expert train {task}" + (f" --seed {seed}" if seed else "")
    command += f" --start-from {shlex.quote(str(start_from))}" if start_from else ""
    with expert_progress(chosen) as on_evaluation:
        trained = train_expert(
            chosen, out, seed=seed, command=command, hours=hours, start_from=start_from, on_evaluation=on_evaluation
        )
    show_card(trained.card)
    what_next(out / f"{chosen.name}.safetensors", f"manyways expert picture {get_task(task, out).as_argument}")


@app.command(name="evaluate")
def evaluate_expert(
    task: str, /, *, weights: Annotated[Path | None, _optional] = None, episodes: int = 100, seed: int = 20_000_000
) -> None:
    """Run a task's expert deterministically in fresh episodes, all modes equally often.

    Args:
        task: Name of the task.
        weights: Folder of a training; the expert that came with manyways unless given.
        episodes: How many.
        seed: Of the environments.
    """
    from manyways.cli.tables import show_expert_evaluation
    from manyways.experts import evaluate_expert
    from manyways.tasks import get_task

    chosen = get_task(task, weights)
    show_expert_evaluation(chosen, evaluate_expert(chosen, episodes, seed), episodes)


@app.command(name="picture")
def picture_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    episodes: int = 30,
    seed: int = 0,
) -> None:
    """Draw what a task's expert does under its modes, as Figures 1 and 2 do, in a PNG.

    Args:
        task: Name of the task.
        out: The picture; TASK.png unless given.
        weights: Folder of a training; the expert that came with manyways unless given.
        episodes: How many are drawn, spread over the modes.
        seed: Of the environments.
    """
    from manyways.tasks import get_task

    chosen = get_task(task, weights)
    chosen.require_expert()  # before what takes seconds to import

    from manyways.cli.console import progress, what_next
    from manyways.tasks.collect import steps_of
    from manyways.tasks.rollouts import roll_out_expert
    from manyways.visual.figures import expert_modes, save

    out = Path(f"{chosen.name}.png") if out is None else out
    modes = chosen.modes.spread(episodes)
    with progress.section(f"{episodes} episodes of the expert", steps_of(chosen, episodes), "steps") as count:
        rollouts = roll_out_expert(chosen, modes, seed, count, keep_observations=True)
    save(expert_modes(chosen, rollouts, modes), out)
    what_next(out, f"manyways expert film {chosen.as_argument}")


@app.command(name="film")
def film_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    seconds: float = 8.0,
    seed: int = 0,
) -> None:
    """Film one episode of a task's expert under every mode, in MP4; of a range of modes, four.

    Args:
        task: Name of the task.
        out: Folder of the films; films/TASK unless given.
        weights: Folder of a training; the expert that came with manyways unless given.
        seconds: Of simulated time at most.
        seed: Of the environment.
    """
    from manyways.tasks import DiscreteModes, get_task

    chosen = get_task(task, weights)
    modes = chosen.modes.spread(len(chosen.modes) if isinstance(chosen.modes, DiscreteModes) else 4)
    acts = {f"mode-{number}": (mode, chosen.expert_under(mode[None])) for number, mode in enumerate(modes)}
    _film(chosen, acts, Path("films") / chosen.name if out is None else out, seconds, seed)


def _film(task: "Task", acts: dict[str, Any], folder: Path, seconds: float, seed: int) -> None:
    """Film each act: under its name a mode, and what acts."""
    from manyways.cli.console import progress, say
    from manyways.visual.films import film

    for name, (mode, act) in acts.items():
        path = folder / f"{name}.mp4"
        with progress.section(f"filming {name}", round(seconds * 25), "frames at most") as count:
            film(task, act, path, mode=mode, seconds=seconds, seed=seed, on_frame=count)
        say(f"Wrote {path}")
