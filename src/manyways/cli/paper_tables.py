"""What `manyways reproduce table1` and its like print: the plan, the table, and a line for each result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from manyways.cli.console import say
from manyways.reproduce.experiments import Experiment
from manyways.reproduce.records import Record, Records
from manyways.reproduce.tables import METRICS, cells

if TYPE_CHECKING:
    from manyways.reproduce.claims import Claim

TABLES = METRICS


def show_plan(found: Sequence[Record], waiting: Sequence[Experiment], records: Records, jobs: int) -> None:
    """Print what each experiment's result is, and how long the waiting ones would take.

    Args:
        found: what there is of each experiment.
        waiting: those that would run.
        records: the result files.
        jobs: how many run at once.
    """
    seconds = {id(each): records.seconds(each) for each in waiting}
    for record in found:
        state = record.kind + (f": {record.reason}" if record.reason else "")
        run = id(record.experiment) in seconds
        say(f"{record.experiment.title}: {state}" + (f", {duration(seconds[id(record.experiment)])}" if run else ""))
    counts = {kind: sum(record.kind == kind for record in found) for kind in ("done", "missing", "broken", "stale")}
    say(", ".join(f"{number} {kind}" for kind, number in counts.items() if number) or "nothing is chosen")
    if waiting:
        known = [each for each in seconds.values() if each is not None]
        unknown = len(waiting) - len(known)
        more = f", and {unknown} of which nothing like it has been measured" if unknown else ""
        cores = f" on {jobs} cores" if jobs > 1 else ""
        say(f"{len(waiting)} to run: about {duration(sum(known) / jobs)}{cores}{more}")
    if sum(each.kind in ("broken", "stale") and id(each.experiment) not in seconds for each in found):
        say("--redo-stale makes those that are broken or stale again")


def duration(seconds: float | None) -> str:
    """Return a time in words that are short: "45 s", "12 min", "3.5 h"; "?" for None."""
    if seconds is None:
        return "?"
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def show_table(name: str, records: Records, experiments: Sequence[Experiment]) -> None:
    """Print a table beside the paper's numbers.

    Args:
        name: "table1", "table2" or "table3".
        records: the result files.
        experiments: whose rows are shown.
    """
    found = cells(name, records, experiments)
    for line in aligned(found):
        say(line)
    if any("†" in line[-1] for line in found):
        say("† of another expert, other demonstrations or other settings than today's")


def aligned(lines: Sequence[Sequence[str]], texts: int = 2) -> list[str]:
    """Return lines of cells as text in columns, of which the first `texts` stand at the left."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < texts else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def summary(result: dict[str, Any]) -> str:
    """Return a result in a line."""
    words = [f"{result['return_mean']:.1f} ± {result['return_std']:.1f}"]
    if result.get("expert_return_mean") is not None:
        words[0] += f", expert {result['expert_return_mean']:.1f}"
    names = ("mutual_information_nats", "embedded_mutual_information_nats", "hit_rate", "entropy_nats", "purity")
    words += [f"{name} {result[name]:.3f}" for name in names if result.get(name) is not None]
    if result.get("assignment"):
        pairs = [(code, mode) for code, mode in enumerate(result["assignment"]) if mode is not None]
        words.append(f"least code {min(result['return_matrix'][code][mode] for code, mode in pairs):.1f}")
    for name, what in (("random_actions", "with random actions"), ("random_actions_last", "of the last policy")):
        if result.get(name):
            words.append(f"{what} {result[name]['return_mean']:.1f}")
    for name in ("switched_codes", "switched_codes_last"):
        if result.get(name):
            words.append(f"{name} {result[name]['return_mean']:.1f} (last to the end: {result[name]['survived']:.0%})")
    return ", ".join(words)


def show_claims(claims: "Sequence[Claim]") -> None:
    """Print the paper's claims about a figure, and whether each holds here."""
    for each in claims:
        say(f"{each.where}: {each.text}")
        found = (
            "" if each.interval is None else f": {each.estimate:.3f} ({each.interval[0]:.3f} to {each.interval[1]:.3f})"
        )
        say(f"  {each.verdict}; {each.measure}{found}")
