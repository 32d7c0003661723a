"""What the command line shows: progress bars with speed and time left, and tables."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from manyways.demonstrations import Summary
from manyways.errors import ManywaysError
from manyways.evaluation import ContinuousEvaluation, Coverage, Evaluation
from manyways.experts import ExpertEvaluation
from manyways.policies.codeless import CodelessPolicy
from manyways.policies.policy import Encoding, Policy
from manyways.tasks import DiscreteModes, Task

console = Console(highlight=False)

_COLUMNS_SHOWN = 40  # of a data set; beyond that only the remarkable ones


@contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    """Show a bar; the function it yields takes how far things are (of `total`) and a note to stand behind."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,}/{task.total:,} " + unit),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total, speed="", note="")

        def update(completed: int, note: str = "") -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=completed, note=note, speed=f"{speed:,.0f}/s" if speed else "")

        yield update


@contextmanager
def counting(what: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    """Show a bar; the function it yields counts one on."""
    done = 0
    with progress(what, total, unit) as update:

        def count() -> None:
            nonlocal done
            done += 1
            update(done, "")

        yield count


def say(text: str) -> None:
    """Print a line, breaking it nowhere, so that paths and commands can be copied."""
    console.print(escape(text), soft_wrap=True)


def what_next(written: Path | str, command: str) -> None:
    """Say what was written and what to type next."""
    say(f"Wrote {written}")
    say(f"Next: {command}")


def show_summary(summary: Summary, name: str, labelled: int | None) -> None:
    """Print what is in a data set; `labelled` is its number of different labels, None where it has none."""
    lengths = f"{summary.shortest:,} to {summary.longest:,} steps, median {summary.median:,.0f}"
    if summary.shortest == summary.longest:
        lengths = f"{summary.shortest:,} steps each"
    say(f"{name}: {summary.trajectories:,} trajectories, {summary.steps:,} steps ({lengths})")
    labels = "no labels" if labelled is None else f"labels of {labelled} modes (for scoring only, never trained on)"
    sizes = [sum(column.part == part for column in summary.columns) for part in ("observation", "action")]
    say(f"{sizes[0]} numbers an observation, {sizes[1]} an action; {labels}")
    remarkable = [column for column in summary.columns if column.constant or column.not_finite]
    columns = summary.columns if len(summary.columns) <= _COLUMNS_SHOWN else remarkable
    if columns:
        table = _table("column", "minimum", "maximum", "mean", "std")
        table.add_column("")
        for column in columns:
            numbers = (f"{x:.4g}" for x in (column.minimum, column.maximum, column.mean, column.std))
            note = "constant" if column.constant else f"{column.not_finite:,} not finite" if column.not_finite else ""
            table.add_row(f"{column.part} {column.index}", *numbers, note)
        console.print(table)
    if len(columns) < len(summary.columns):
        say(f"{len(summary.columns) - len(columns)} further columns are finite and vary")
    if any(column.not_finite for column in summary.columns):
        say(
            "Some values are not finite: training would refuse this data set; leave those trajectories out or mend them"
        )


def show_policy(policy: Policy | CodelessPolicy) -> None:
    """Print which codes were found and how often; without codes, or of continuous ones, there is no such list."""
    if not isinstance(policy, Policy) or not policy.modes:
        return
    table = _table("code", "trajectories", "share")
    for mode in policy.modes:
        table.add_row(str(mode.code), f"{mode.trajectories:,}", f"{mode.share:.1%}")
    console.print(table)


def show_encoding(encoding: Encoding) -> None:
    """Print how the trajectories' continuous codes are spread, and how sharply they are determined."""
    searched = encoding.spread is not None
    table = _table("number of the code", "10%", "median", "90%", *["spread of nearly as good ones (median)"] * searched)
    for number, values in enumerate(encoding.codes.T):
        row = [f"{value:+.2f}" for value in np.quantile(values, (0.1, 0.5, 0.9))]
        if encoding.spread is not None:
            row.append(f"{np.median(encoding.spread[:, number]):.1%} of the prior")
        table.add_row(str(number), *row)
    console.print(table)
    say(f"mean loss of the trajectories under their codes {encoding.losses.mean():.4f}")


def show_evaluation(
    evaluation: Evaluation | ContinuousEvaluation | Coverage, coverage: Coverage | None, task: Task
) -> None:
    """Print the return matrix with the matched cells marked and the means, or what continuous codes achieve.

    Beside that, or where there are no codes, which modes rollouts are of when nobody chooses.
    """
    if isinstance(evaluation, ContinuousEvaluation):
        _show_continuous(evaluation)
    elif isinstance(evaluation, Evaluation):
        _show_matched(evaluation, task)
    else:
        coverage = evaluation
    if coverage is not None:
        _show_coverage(coverage, task)


def _show_coverage(coverage: Coverage, task: Task) -> None:
    say(f"{coverage.episodes} rollouts when nobody chooses, each of the mode it is closest to:")
    table = _table("mode", "rollouts", "mean return")
    names = task.discrete_modes.names
    for name, count, mean in zip(names, coverage.mode_counts, coverage.returns, strict=True):
        table.add_row(name, str(count), "" if mean is None else f"{mean:.1f}")
    console.print(table)
    say(
        f"mean return {coverage.return_mean:.1f} ± {coverage.return_std:.1f}; {coverage.success_rate:.0%} with half of "
        f"the expert's or more; entropy over the modes {coverage.behaviour_entropy:.2f} of 1, of these "
        f"{coverage.successful_entropy:.2f}"
    )


def _show_matched(evaluation: Evaluation, task: Task) -> None:
    say("mean return of each code under each mode (* matched):")
    table = _table("code", *task.discrete_modes.names)
    for code, (row, matched) in enumerate(zip(evaluation.return_matrix, evaluation.assignment, strict=True)):
        cells = (f"{value:.1f}" + ("*" if mode == matched else " ") for mode, value in enumerate(row))
        table.add_row(str(code), *cells)
    console.print(table)
    say(
        f"mean return {evaluation.return_mean:.1f} ± {evaluation.return_std:.1f} over {evaluation.episodes} rollouts; "
        f"expert {evaluation.expert_return_mean:.1f} ± {evaluation.expert_return_std:.1f}"
    )
    unmatched = sum(mode is None for mode in evaluation.assignment)
    missed = len(task.modes) - (len(evaluation.assignment) - unmatched)
    if unmatched:
        say(f"{unmatched} codes have no mode of their own; their rollouts are not in the mean")
    if missed:
        say(f"{missed} modes have no code; the mean is over the others")


def _show_continuous(evaluation: ContinuousEvaluation) -> None:
    say(
        f"under the codes of {evaluation.episodes} demonstrations: mean return {evaluation.return_mean:.1f} "
        f"± {evaluation.return_std:.1f}; expert {evaluation.expert_return_mean:.1f} "
        f"± {evaluation.expert_return_std:.1f}"
    )
    if evaluation.hit_rate is not None:
        say(f"hit rate {evaluation.hit_rate:.1%}")
    if evaluation.entropy_nats is not None:
        say(
            f"under {len(evaluation.codes):,} codes drawn from the prior: entropy of what is reached "
            f"{evaluation.entropy_nats:.2f} nats; of as many modes drawn uniformly {evaluation.expert_entropy_nats:.2f}"
        )
    if evaluation.mutual_information_nats is not None:
        say(
            f"mutual information of code and what is achieved {evaluation.mutual_information_nats:.3f} nats; "
            f"of mode and what the expert achieves {evaluation.expert_mutual_information_nats:.3f}"
        )


def show_tasks(tasks: Sequence[Task]) -> None:
    """Print what each task is, and what its expert reaches."""
    table = Table(Column("task", no_wrap=True), Column("sizes", justify="right"))
    for name in ("steps", "episodes", "expert's return"):
        table.add_column(name, justify="right")
    table.add_column("modes", min_width=30)
    for task in tasks:
        try:
            environment = task.make_vec(1)
            spaces: Any = (environment.single_observation_space, environment.single_action_space)
            numbers = ", ".join(str(space.shape[0]) for space in spaces)
            environment.close()
        except ManywaysError:  # a package that this task needs is not installed
            numbers = "missing"
        modes = f"{len(task.modes)}: {task.modes}" if isinstance(task.modes, DiscreteModes) else f"any {task.modes}"
        steps, episodes = f"{task.episode_steps:,}", f"{task.demonstrations:,}"
        table.add_row(task.name, numbers, steps, episodes, _experts_return(task), modes)
    console.print(table)
    say("sizes: numbers in an observation and an action; steps: of the longest episode; episodes: collected by default")
    say("Next: manyways train --task TASK --out RUN")


def _experts_return(task: Task) -> str:
    if task.scripted_expert is not None:
        return "scripted"
    try:
        card = task.trained_expert.card
    except ManywaysError:
        return "none yet"
    return f"{card['return_mean']:.1f} ± {card['return_std']:.1f}"


@contextmanager
def expert_progress(task: Task) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Show how an expert's training goes; the function it yields takes a line of its progress.jsonl."""
    floor = "" if task.target_return is None else f" of {task.target_return.mean:g}"
    with console.status(f"training the expert of {task.name}; its first score comes after a minute") as status:

        def update(line: dict[str, Any]) -> None:
            worst = min(line["scores"])
            status.update(
                f"{task.name}: {line['seconds'] / 60:.0f} min, {line['steps']:,} steps, "
                f"score {line['score_mean']:.1f}{floor} (worst mode {worst:.1f})"
            )

        yield update


def show_expert_evaluation(task: Task, probe: ExpertEvaluation, episodes: int) -> None:
    """Print what an expert did over fresh episodes."""
    names = task.modes.names if isinstance(task.modes, DiscreteModes) else (str(task.modes),)
    table = _table("mode", "mean return")
    for name, value in zip(names, probe.returns, strict=True):
        table.add_row(name, f"{value:.1f}")
    console.print(table)
    say(f"mean return {probe.returns.mean():.1f} ± {probe.returns_std:.1f} over {episodes} episodes")
    if task.target_return is not None:
        reached = "reached" if probe.reached else "not reached"
        say(f"score {probe.scores.mean():.4g}; the floor of {task.target_return.mean:g} is {reached}")


def show_card(card: dict[str, Any]) -> None:
    """Print what an expert reaches."""
    reached = "reached" if card["target_reached"] else "not reached"
    floor = "" if card["target_return"] is None else f"; its floor of {card['target_return']:g} is {reached}"
    say(
        f"{card['task']}: return {card['return_mean']:.1f} ± {card['return_std']:.1f} over {card['episodes']} episodes "
        f"after {card['environment_steps']:,} steps and {card['wall_seconds'] / 60:.0f} min{floor}"
    )
    say("mean return of each mode: " + ", ".join(f"{value:.1f}" for value in card["returns"]))


def _table(first: str, *numbers: str) -> Table:
    """Return an empty table of one text column and columns of numbers, which stand at the right."""
    table = Table(first)
    for name in numbers:
        table.add_column(name, justify="right")
    return table
