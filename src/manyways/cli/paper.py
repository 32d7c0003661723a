"""The commands `manyways reproduce` of the tables and figures: arguments to calls, nothing more."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from manyways.reproduce.experiments import Experiment
    from manyways.reproduce.records import Records

_flat = tyro.conf.arg(name="")
_optional = tyro.conf.arg(help_behavior_hint="(optional)")


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
        ray: Run them with Ray: on all cores of this machine, or of the cluster that RAY_ADDRESS names.
        cores_per_run: With Ray, cores of each experiment.
        memory_per_run: With Ray, memory of each, such as 2GB; not counted unless given.
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
    ray: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    cores_per_run: int = 1
    memory_per_run: Annotated[str | None, _optional, tyro.conf.DisallowNone] = None
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


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where things are read and written.

    Args:
        results: Folder of the result files.
        runs: Folder of the runs.
        out: Folder to write to; in RESULTS unless given.
    """

    results: Path = Path("results")
    runs: Path = Path("runs/reproduce")
    out: Annotated[Path | None, _optional, tyro.conf.DisallowNone] = None


def figures(*, only: tuple[int, ...] = (), folders: Annotated[Folders, _flat] = Folders()) -> None:
    """Figures 1 to 7 from saved runs and results, and whether the paper's claims about them hold.

    Args:
        only: These figures.
        folders: Where things are.
    """
    from manyways.cli.console import progress, say
    from manyways.cli.paper_tables import show_claims
    from manyways.reproduce.figures import NUMBERS, draw

    for number in only or NUMBERS:
        with progress.section(f"Figure {number}"):
            drawn = draw(number, folders.results, folders.runs)
        written = drawn.write(folders.out or folders.results / "figures")
        show_claims(drawn.claims)
        say(f"Wrote {' and '.join(map(str, written))}")
        if drawn.missing:
            say("What is missing in it is made by")
            for command in drawn.missing:
                say(f"  {command}")


def report(folders: Annotated[Folders, _flat] = Folders()) -> None:
    """One page with every table and figure beside the paper's, a verdict on each claim, and the cost; from files alone.

    Args:
        folders: Where things are; the page is OUT/report.html, or RESULTS/report.html.
    """
    from manyways.cli.console import progress, say
    from manyways.reproduce.report import write_report

    with progress.section("reading the results"):
        page = write_report(folders.results, folders.out or folders.results)
    say(f"Wrote {page}")


COMMANDS: tuple[Callable[..., None], ...] = (table1, table2, table3, figure7, figures, report)


def _run(name: str, chosen: Chosen) -> None:
    from manyways.cli import paper_tables as show
    from manyways.errors import InputError, require_at_least
    from manyways.reproduce.experiments import LISTS, select
    from manyways.reproduce.records import Records

    require_at_least(chosen, 1, "jobs", "episodes", "cores_per_run")
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
    from manyways.files import write_json
    from manyways.reproduce.execution import at_work, run_all
    from manyways.reproduce.measure import Measurer
    from manyways.reproduce.on_ray import run_on_ray
    from manyways.runs.progress import SILENT

    alone = chosen.jobs == 1 and not chosen.ray
    if alone:
        torch.set_num_threads(1)  # the networks are small: more threads wait for each other
    results, runs = chosen.results.resolve(), chosen.runs.resolve()  # other processes may work elsewhere
    work = Measurer(results, runs, chosen.episodes, chosen.redo_stale, progress if alone else SILENT)
    failed = []
    with nullcontext(None) if alone else progress.section("experiments", len(waiting)) as update:

        def look(unfinished: "Sequence[Experiment]") -> None:
            if update is not None:
                update(len(waiting) - len(unfinished), "; ".join(at_work(runs, unfinished)))

        if chosen.ray:
            outcomes = run_on_ray(waiting, work, chosen.cores_per_run, chosen.memory_per_run, on_wait=look)
        else:
            outcomes = run_all(waiting, work, chosen.jobs, look)
        for number, outcome in enumerate(outcomes, 1):
            where = f"{number} of {len(waiting)}: {outcome.experiment.title}"
            if outcome.result is None:
                failed.append(f"{outcome.experiment.title}: {outcome.error}")
                say(f"{where} failed: {outcome.error}")
                continue
            if not records.file(outcome.experiment).exists():  # it was written on another machine's disk
                write_json(records.file(outcome.experiment), outcome.result)
            if data := outcome.result["provenance"].get("data"):
                records.note_demonstrations(outcome.experiment.task, data)
            say(f"{where}: {summary(outcome.result)}, {outcome.seconds:.0f} s")
    return failed
