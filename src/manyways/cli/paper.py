"""The commands `manyways reproduce table1`, `table2`, `table3` and `figure7`: arguments to calls, nothing more."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from manyways.reproduce.experiments import Experiment
    from manyways.reproduce.records import Records

_flat = tyro.conf.arg(name="")


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which experiments, and how they run.

    Args:
        tasks: Only these tasks.
        algorithms: Only these rows, such as sog-bc, sog-bc-paper, sog-gail or expert.
        seeds: These seeds; 0 to 3 unless given.
        results: Folder of the result files.
        runs: Folder of the runs, which go on where they stopped.
        episodes: Rollouts of each evaluation.
        jobs: How many experiments at once, each in a process with one thread.
        dry_run: Only say what would run, what is done, and how long it would take.
        redo_stale: Make again what is broken, or of another expert, other demonstrations or other settings.
    """

    tasks: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    results: Path = Path("results")
    runs: Path = Path("runs/reproduce")
    episodes: int = 100
    jobs: int = 1
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    redo_stale: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False


_Options = Annotated[Chosen, _flat]


def table1(chosen: _Options = Chosen()) -> None:
    """Table 1: returns on seven tasks; trains what is missing, prints the table, writes RESULTS/table1.json."""
    _run("table1", chosen)


def table2(chosen: _Options = Chosen()) -> None:
    """Table 2: goals hit and entropy on FetchReach; writes RESULTS/table2.json."""
    _run("table2", chosen)


def table3(chosen: _Options = Chosen()) -> None:
    """Table 3: mutual information of code and velocity on HalfCheetah-Vel; writes RESULTS/table3.json."""
    _run("table3", chosen)


def figure7(chosen: _Options = Chosen()) -> None:
    """Trains what Figure 7 needs: SOG-GAIL under each weight λ_S; `figures --only 7` draws it."""
    _run("figure7", chosen)


COMMANDS: tuple[Callable[..., None], ...] = (table1, table2, table3, figure7)


def _run(name: str, chosen: Chosen) -> None:
    from manyways.cli import paper_tables as show
    from manyways.errors import InputError, require_at_least
    from manyways.reproduce.experiments import LISTS, select
    from manyways.reproduce.records import Records

    require_at_least(chosen, 1, "jobs", "episodes")
    experiments = select(LISTS[name](), chosen.tasks, chosen.algorithms, chosen.seeds)
    records = Records(chosen.results)
    found = records.records(experiments)
    again = ("missing", "broken", "stale") if chosen.redo_stale else ("missing",)
    waiting = [each.experiment for each in found if each.kind in again]
    show.show_plan(found, waiting, records, chosen.jobs)
    failed = [] if chosen.dry_run else _carry_out(waiting, records, chosen)
    if name in show.TABLES:
        show.show_table(name, records, experiments)
        if not chosen.dry_run:
            from manyways.cli.console import say
            from manyways.reproduce.tables import write

            say(f"Wrote {write(name, records)}")
    if failed:
        raise InputError(f"{len(failed)} of {len(waiting)} experiments failed; the first, {failed[0]}")


def _carry_out(waiting: "list[Experiment]", records: "Records", chosen: Chosen) -> list[str]:
    """Run the experiments, say of each what came of it, and return what failed."""
    import torch

    from manyways.cli.console import progress, say
    from manyways.cli.paper_tables import summary
    from manyways.reproduce.execution import run_all
    from manyways.reproduce.measure import Measurer

    shared: dict[str, Any] = {"episodes": chosen.episodes, "redo": chosen.redo_stale}
    if chosen.jobs == 1:
        torch.set_num_threads(1)  # the networks are small: more threads wait for each other
        shared["progress"] = progress
    work, failed = Measurer(chosen.results, chosen.runs, **shared), []
    for number, outcome in enumerate(run_all(waiting, work, chosen.jobs), 1):
        where = f"{number} of {len(waiting)}: {outcome.experiment.title}"
        if outcome.result is None:
            failed.append(f"{outcome.experiment.title}: {outcome.error}")
            say(f"{where} failed: {outcome.error}")
            continue
        say(f"{where}: {summary(outcome.result)}, {outcome.seconds:.0f} s")
        if data := outcome.result["provenance"].get("data"):
            records.note_demonstrations(outcome.experiment.task, data)
    return failed
