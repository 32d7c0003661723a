"""What the commands print of what they found: tables and sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from manyways.cli.console import console, say, table
from manyways.files import read_json
from manyways.policies.modes import label

if TYPE_CHECKING:
    from manyways.demonstrations import Summary
    from manyways.evaluation import (
        ContinuousEvaluation,
        Coverage,
        Disturbed,
        EnvironmentEvaluation,
        Evaluation,
        Switching,
    )
    from manyways.evaluation.environments import Estimate
    from manyways.experts import ExpertEvaluation
    from manyways.policies.explanation import Encoding
    from manyways.policies.policy import Policy
    from manyways.runs.codes import Codes
    from manyways.runs.comparison import Compared
    from manyways.tasks import Task

_COLUMNS_SHOWN = 40  # of a data set; beyond that only the remarkable ones
_SUSPECTS_SHOWN = 10


def show_summary(summary: "Summary", name: str, labelled: int | None) -> None:
    """Print what is in a data set; `labelled` is its number of different labels, None where it has none."""
    lengths = f"{summary.shortest:,} to {summary.longest:,} steps, median {summary.median:,.0f}"
    if summary.shortest == summary.longest:
        lengths = f"{summary.shortest:,} steps each"
    say(f"{name}: {summary.trajectories:,} trajectories, {summary.steps:,} steps ({lengths})")
    labels = "no labels" if labelled is None else f"labels of {labelled} modes (for scoring only, never trained on)"
    say(f"observation: {summary.observation}; action: {summary.action}; {labels}")
    if summary.identities:
        rest = ", ..." if len(summary.identities) < summary.trajectories else ""
        say(f"trajectories: {', '.join(summary.identities)}{rest}")
    for attribute, counts in summary.attributes.items():
        if counts:
            say(f"{attribute}: {', '.join(f'{value} ({count:,})' for value, count in counts.items())}")
    remarkable = [column for column in summary.columns if column.constant or column.not_finite]
    columns = summary.columns if len(summary.columns) <= _COLUMNS_SHOWN else remarkable
    if columns:
        rows = table("column", "minimum", "maximum", "mean", "std", broken=True)
        rows.add_column("")
        kind = ""
        for column in columns:
            numbers = (f"{x:.4g}" for x in (column.minimum, column.maximum, column.mean, column.std))
            note = "constant" if column.constant else f"{column.not_finite:,} not finite" if column.not_finite else ""
            if column.kind != kind:
                kind = column.kind
                rows.add_row(f"{kind}s:")
            rows.add_row(escape(column.name), *numbers, note)
        console.print(rows)
    if len(columns) < len(summary.columns):
        say(f"{len(summary.columns) - len(columns)} further columns are finite and vary")
    for sentence in summary.hints.sentences():
        say(sentence)


def show_codes_found(policy: "Policy") -> None:
    """Print which codes a training found and how often; without codes, or of continuous ones, there is no such list."""
    if policy.prior is not None and policy.modes:
        show_counts([mode.trajectories for mode in policy.modes], policy.names)


def show_counts(counts: Sequence[int], names: Mapping[int, str]) -> None:
    """Print how many trajectories each code has, and its name."""
    rows = table("code", "trajectories", "share")
    for code, count in enumerate(counts):
        rows.add_row(escape(label(names, code)), f"{count:,}", f"{count / max(1, sum(counts)):.1%}")
    console.print(rows)


def show_codes(found: "Codes") -> None:
    """Print how often trajectories have each code, or how their continuous codes are spread; and what labels say."""
    if found.counts is not None:
        show_counts(found.counts.tolist(), found.names)
    else:
        _show_continuous_codes(found.encoding)
    for attribute, values in found.attributes.items():
        rows = table(
            attribute, *(escape(f"code {label(found.names, code)}") for code in range(len(next(iter(values.values())))))
        )
        for value, counts in values.items():
            rows.add_row(escape(value), *map(str, counts))
        console.print(rows)
    if found.segments is not None:
        changed = [len(each) - 1 for each in found.segments if len(each) > 1]
        say(f"{len(changed):,} trajectories change their code, {sum(changed):,} times in all")
    if found.suspects:
        rows = table("to look at")
        rows.add_column("why")
        for each in found.suspects[:_SUSPECTS_SHOWN]:
            rows.add_row(escape(each.identity), escape(each.reason))
        console.print(rows)
        if len(found.suspects) > _SUSPECTS_SHOWN:
            say(f"and {len(found.suspects) - _SUSPECTS_SHOWN:,} more in the file")
    say(f"mean loss of the trajectories under their codes {found.encoding.losses.mean():.4f}")
    if found.held_out is not None:
        held = found.held_out
        say(
            f"{len(held.trajectories):,} held out: loss {held.loss:.4f}; of the others {held.training_loss:.4f}; "
            f"of always predicting the mean {held.uninformed_loss:.4f}; {held.advice}"
        )
    if found.gates is not None:
        say(found.gates.sentence())
    if found.purity is not None:
        rest = f" ({found.unlabelled:,} trajectories have none)" if found.unlabelled else ""
        say(
            f"agreement with the labels{rest}: purity {found.purity:.4f}, "
            f"normalized mutual information {found.normalized_mutual_information:.4f}"
        )


def _show_continuous_codes(encoding: "Encoding") -> None:
    searched = encoding.spread is not None
    rows = table("dimension of the code", "10%", "median", "90%", *["nearly as good (median)"] * searched)
    for number, values in enumerate(encoding.codes.T):
        row = [f"{value:+.2f}" for value in np.quantile(values, (0.1, 0.5, 0.9))]
        if encoding.spread is not None:
            row.append(f"{np.median(encoding.spread[:, number]):.1%} of the prior")
        rows.add_row(str(number), *row)
    console.print(rows)


def show_evaluation(
    evaluation: "Evaluation | ContinuousEvaluation | Coverage",
    coverage: "Coverage | None",
    task: "Task",
    names: Mapping[int, str],
) -> None:
    """Print the return matrix with the matched cells marked and the means, or what continuous codes achieve.

    Beside that, or where there are no codes, which modes rollouts are of when nobody chooses.
    """
    from manyways.evaluation import ContinuousEvaluation, Evaluation

    if isinstance(evaluation, ContinuousEvaluation):
        _show_continuous(evaluation)
    elif isinstance(evaluation, Evaluation):
        _show_matched(evaluation, task, names)
    else:
        coverage = evaluation
    if coverage is not None:
        _show_coverage(coverage, task)


def show_environment(found: "EnvironmentEvaluation") -> None:
    """Print return, success and length of each code in an environment."""
    rows = table("code", "rollouts", "return", *["success"] * (found.success is not None), "steps")
    for line in found.codes:
        cells = [f"{line.episodes:,}", _interval(line.return_, ".3g")]
        if line.success is not None:
            cells.append(_interval(line.success, ".0%"))
        rows.add_row(escape(line.label), *cells, _interval(line.length, ".0f"))
    console.print(rows)
    judged = "" if found.success is None else f"success is {found.success} (Wilson's interval); "
    say(f"{judged}95% intervals of return and steps by the bootstrap")
    if found.cut:
        say(f"{found.cut} episodes were cut after {found.max_steps:,} steps (--max-steps)")


def show_comparison(lines: Sequence["Compared"]) -> None:
    """Print a column for each run, with the rows in which any has something."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else f"{value:{form}}"

    def interval(value: tuple[float, float, float] | None, form: str) -> str:
        return "" if value is None else _bracketed(value, form)

    measures = {
        "algorithm": [line.algorithm for line in lines],
        "codes": [line.codes for line in lines],
        "held-out loss": [number(line.held_out_loss, ".4f") for line in lines],
        "share of the mean action's": [number(line.of_the_mean, ".1%") for line in lines],
        "purity": [number(line.purity, ".3f") for line in lines],
        "mutual information": [number(line.normalized_mutual_information, ".3f") for line in lines],
        "return": [interval(line.return_, ".3g") for line in lines],
        "success": [interval(line.success, ".0%") for line in lines],
        "success of the best code": [number(line.best_success, ".0%") for line in lines],
    }
    rows = table("", *(escape(line.title) for line in lines))
    for measure, cells in measures.items():
        if any(cells):
            rows.add_row(measure, *cells)
    console.print(rows)


def _interval(estimate: "Estimate", form: str) -> str:
    return _bracketed((estimate.mean, estimate.low, estimate.high), form)


def _bracketed(value: tuple[float, float, float], form: str) -> str:
    """Return a mean with its interval, or alone where there is none."""
    mean, low, high = (f"{number:{form}}" for number in value)
    return mean if low == high else f"{mean} \\[{low}, {high}]"


def _show_coverage(coverage: "Coverage", task: "Task") -> None:
    say(f"{coverage.episodes} rollouts when nobody chooses, each of the mode it is closest to:")
    rows = table("mode", "rollouts", "mean return")
    names = task.discrete_modes.names
    for name, count, mean in zip(names, coverage.mode_counts, coverage.returns, strict=True):
        rows.add_row(name, str(count), "" if mean is None else f"{mean:.1f}")
    console.print(rows)
    say(
        f"mean return {coverage.return_mean:.1f} ± {coverage.return_std:.1f}; "
        f"entropy over the modes {coverage.behaviour_entropy:.2f} of 1"
    )


def _show_matched(evaluation: "Evaluation", task: "Task", names: Mapping[int, str]) -> None:
    say("mean return of each code under each mode (* matched):")
    rows = table("code", *task.discrete_modes.names)
    for code, (row, matched) in enumerate(zip(evaluation.return_matrix, evaluation.assignment, strict=True)):
        cells = (f"{value:.1f}" + ("*" if mode == matched else " ") for mode, value in enumerate(row))
        rows.add_row(escape(label(names, code)), *cells)
    console.print(rows)
    say(
        f"mean return {evaluation.return_mean:.1f} ± {evaluation.return_std:.1f} over {evaluation.episodes} rollouts"
        f"{_expert(evaluation)}"
    )
    unmatched = sum(mode is None for mode in evaluation.assignment)
    missed = len(task.modes) - (len(evaluation.assignment) - unmatched)
    if unmatched:
        say(f"{unmatched} codes have no mode of their own; their rollouts are not in the mean")
    if missed:
        say(f"{missed} modes have no code; the mean is over the others")


def _show_continuous(evaluation: "ContinuousEvaluation") -> None:
    say(
        f"under the codes of {evaluation.episodes} demonstrations: mean return {evaluation.return_mean:.1f} "
        f"± {evaluation.return_std:.1f}{_expert(evaluation)}"
    )
    if evaluation.hit_rate is not None:
        say(f"hit rate {evaluation.hit_rate:.1%}")
    if evaluation.entropy_nats is not None:
        say(
            f"under {len(evaluation.codes):,} codes drawn from the prior: entropy of what is reached "
            f"{evaluation.entropy_nats:.2f} nats; of as many modes drawn uniformly {evaluation.expert_entropy_nats:.2f}"
        )
    of_expert = evaluation.expert_mutual_information_nats
    if evaluation.mutual_information_nats is not None:
        say(
            f"mutual information of code and what is achieved {evaluation.mutual_information_nats:.3f} nats"
            + (f"; of mode and what the expert achieves {of_expert:.3f}" if of_expert is not None else "")
        )


def _expert(evaluation: "Evaluation | ContinuousEvaluation") -> str:
    """Return what the expert returns, to stand behind the policy's return; nothing where there is no expert."""
    if evaluation.expert_return_mean is None:
        return ""
    return f"; expert {evaluation.expert_return_mean:.1f} ± {evaluation.expert_return_std:.1f}"


def show_tasks(tasks: Sequence["Task"]) -> None:
    """Print what each task is, and what its expert reaches."""
    from manyways.tasks import DiscreteModes

    rows = table("task", "steps", "episodes", "expert's return")
    rows.add_column("modes")
    for task in tasks:
        modes = f"{len(task.modes)}: {task.modes}" if isinstance(task.modes, DiscreteModes) else f"any {task.modes}"
        rows.add_row(
            task.name, f"{task.episode_steps:,}", f"{task.demonstrations:,}", _experts_return(task), escape(modes)
        )
    console.print(rows)
    say("steps: of the longest episode; episodes: collected by default")
    say("Next: manyways train --task TASK --out RUN")


def show_algorithms(algorithms: Sequence[type[Any]]) -> None:
    """Print what each algorithm is, and what it needs."""
    rows = table("algorithm")
    rows.add_column("needs")
    rows.add_column("what it is")
    for chosen in algorithms:
        needs = "environment" if chosen.runs_environments else "data"
        rows.add_row(chosen.name, needs, escape(chosen.summary))
    console.print(rows)
    say("Next: manyways train ALGORITHM --help")


def show_robustness(disturbed: "Disturbed", switching: "Switching") -> None:
    """Print what a policy still returns when it is disturbed."""
    for how, found in (
        (f"{disturbed.share:.0%} random actions", disturbed),
        (f"the code switched through all {len(disturbed.assignment)}", switching),
    ):
        say(
            f"with {how}: mean return {found.return_mean:.1f} ± {found.return_std:.1f}; "
            f"{found.survived:.0%} of the rollouts last to the end"
        )


def _experts_return(task: "Task") -> str:
    from manyways.tasks.expert import SHIPPED

    if not task.has_expert:
        return "none"
    if task.scripted_expert is not None:
        return "scripted"
    card = read_json((task.weights or SHIPPED) / f"{task.name}.json")  # without the weights, which need PyTorch
    return f"{card['return_mean']:.1f} ± {card['return_std']:.1f}"


@contextmanager
def expert_progress(task: "Task") -> Iterator[Callable[[dict[str, Any]], None]]:
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


def show_expert_evaluation(task: "Task", found: "ExpertEvaluation", episodes: int) -> None:
    """Print what an expert did over fresh episodes."""
    from manyways.tasks import DiscreteModes

    names = task.modes.names if isinstance(task.modes, DiscreteModes) else (str(task.modes),)
    rows = table("mode", "mean return")
    for name, value in zip(names, found.returns, strict=True):
        rows.add_row(name, f"{value:.1f}")
    console.print(rows)
    say(f"mean return {found.returns.mean():.1f} ± {found.returns_std:.1f} over {episodes} episodes")
    if task.target_return is not None:
        reached = "reached" if found.reached else "not reached"
        say(f"score {found.scores.mean():.4g}; the target of {task.target_return.mean:g} is {reached}")


def show_card(card: dict[str, Any]) -> None:
    """Print what an expert reaches."""
    reached = "reached" if card["target_reached"] else "not reached"
    floor = "" if card["target_return"] is None else f"; its target of {card['target_return']:g} is {reached}"
    say(
        f"{card['task']}: return {card['return_mean']:.1f} ± {card['return_std']:.1f} over {card['episodes']} episodes "
        f"after {card['environment_steps']:,} steps and {card['wall_seconds'] / 60:.0f} min{floor}"
    )
    say("mean return of each mode: " + ", ".join(f"{value:.1f}" for value in card["returns"]))
