"""Who finds the modes, and who counts them: ours beside the rivals that one would try first.

Every method gets the same demonstrations. Grouping is told the true number of modes. Counting is told the greatest
number to try: 30, or half as many again as there are modes if that is more, but at most half the trajectories. A cell
is a method on a set with a seed. Finished cells are not computed again. Each is a process of its own; one that needs
more processor time than allowed is stopped, and recorded as too slow.

A set is a kind of `benchmarks/mode_sets.py`, one of `benchmarks/motions.py`, the demonstrations of a task's expert, or
an NPZ file with labels (`modes`) in the folder `--data`. Time warping needs `pip install dtaidistance kmedoids`.

    python benchmarks/modes.py --seeds 100 101 --grouping groups "k-means, aligned" --counting count_modes
"""

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

import manyways
import mode_sets
import motions
from common import RESULTS, demonstrations_of, write_result
from manyways.evaluation import normalized_mutual_information, purity
from manyways.files import read_json
from manyways.runs.provenance import data_fingerprint, provenance
from manyways.tasks import DiscreteModes, get_task, task_names
from mode_rivals import (
    OURS_COUNTING,
    OURS_GROUPING,
    RIVALS_COUNTING,
    RIVALS_GROUPING,
    Counting,
    Grouping,
    TooLarge,
    own_count,
    own_groups,
    sog_bc,
)
from mode_tables import behind

GROUPING = (*OURS_GROUPING, *RIVALS_GROUPING)
COUNTING = (OURS_COUNTING, *RIVALS_COUNTING)
MOST = 30
CANNOT = (ImportError, TooLarge, ValueError, np.linalg.LinAlgError, MemoryError)

Integers = NDArray[np.int64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: names, or all of "kinds", "motions", "tasks" or "people".
        seeds: of the sets and of the methods; 0 to 9 are for development, 100 to 109 for what is reported.
        grouping: methods that group; none if nothing is given.
        counting: methods that count; none if nothing is given.
        data: a folder of NPZ files with labels, demonstrations of people; left out unless given.
        seconds: of processor time for a cell, at most.
        iterations: of SOG-BC, gradient steps.
        trajectories: at most so many of each set, for a trial.
        again: measure cells that the file has, too.
        out: the file of results.
    """

    sets: tuple[str, ...] = ("kinds", "motions", "people")
    seeds: tuple[int, ...] = mode_sets.DEVELOPMENT
    grouping: tuple[str, ...] = GROUPING
    counting: tuple[str, ...] = COUNTING
    data: Path | None = None
    seconds: int = 120
    iterations: int = 400
    trajectories: int | None = None
    again: bool = False
    out: Path = field(default=RESULTS / "modes.json")


def main(options: Options) -> None:
    """Measure what is missing, write it, and say where ours is behind."""
    torch.set_num_threads(1)
    unknown = [name for name in (*options.grouping, *options.counting) if name not in (*GROUPING, *COUNTING)]
    if unknown:
        raise SystemExit(f"there is no method {unknown[0]!r}; give some of {', '.join((*GROUPING, *COUNTING))}")
    rows: list[Row] = read_json(options.out)["rows"] if options.out.exists() else []
    for group, name in chosen(options):
        for seed in options.seeds:
            cells = [
                {"table": table, "group": group, "set": name, "seed": seed, "method": method}
                for table, methods in (("grouping", options.grouping), ("counting", options.counting))
                for method in methods
                if (table, name) != ("grouping", "one mode")
            ]
            if options.again:
                rows = [row for row in rows if not any(row.items() >= cell.items() for cell in cells)]
            cells = [cell for cell in cells if not any(row.items() >= cell.items() for row in rows)]
            if not cells:
                continue
            demonstrations, modes = draw(group, name, seed, options)
            about: Row = {"modes": len(np.unique(modes)), "trajectories": len(modes)}
            about |= {"data": data_fingerprint(demonstrations)[:16], "commit": provenance()["commit"]}
            for cell in cells:
                rows.append(cell | about | measured(cell, demonstrations, modes, options))
                print(*(rows[-1].get(key) for key in ("set", "seed", "method")), shown(rows[-1]), sep=" | ", flush=True)
                write_result(options.out, {"rows": rows}, seeds=sorted({row["seed"] for row in rows}))
    print(behind([row for row in rows if row["seed"] in options.seeds]))


def chosen(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the group and the name of each set to measure."""
    files = [] if options.data is None else sorted(options.data.glob("*.npz"))
    people = [path.stem for path in files if "modes" in np.load(path).files]
    lists = {"kinds": [*mode_sets.SETS], "motions": [*motions.SETS], "tasks": listed_tasks(), "people": people}
    for wanted in options.sets:
        found = [(group, name) for group, names in lists.items() for name in names if wanted in (group, name)]
        if not found and wanted not in lists:
            raise SystemExit(f"there is no set {wanted!r}; give some of {', '.join((*lists, *chain(*lists.values())))}")
        yield from found


def listed_tasks() -> list[str]:
    """Return the tasks with a list of modes and an expert whose observations are numbers."""
    tasks = [get_task(name) for name in task_names()]
    return [task.name for task in tasks if isinstance(task.modes, DiscreteModes) and task.has_expert]


def draw(group: str, name: str, seed: int, options: Options) -> tuple[manyways.Demonstrations, Integers]:
    """Return a set's demonstrations and the mode of each."""
    modes: NDArray[Any] | None
    if group == "kinds":
        demonstrations, modes = mode_sets.SETS[name].draw(seed)
    elif group == "motions":
        demonstrations, modes = motions.draw(name, seed)
    elif group == "tasks":
        from manyways.cli.console import progress
        from manyways.runs.inputs import collected

        demonstrations, modes = demonstrations_of(name)[0], manyways.load_modes(collected(get_task(name), progress))
    else:
        assert options.data is not None
        path = options.data / f"{name}.npz"
        demonstrations, modes = manyways.Demonstrations.load(path), manyways.load_modes(path)
    assert modes is not None
    if options.trajectories is not None and len(demonstrations) > options.trajectories:
        some = np.arange(options.trajectories)
        demonstrations, modes = demonstrations.select(some), modes[some]
    return demonstrations, np.unique(modes, return_inverse=True)[1]


def measured(cell: Row, demonstrations: manyways.Demonstrations, modes: Integers, options: Options) -> Row:
    """Return what a method finds, or why it does not, from a process of its own."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=answer, args=(there, options.seconds, cell, demonstrations, modes, options))
    process.start()
    there.close()
    try:
        found: Row = here.recv()
    except EOFError:
        found = {}
    process.join()
    return found or {"failed": "too slow" if process.exitcode == -signal.SIGXCPU else f"died ({process.exitcode})"}


def answer(
    pipe: Connection,
    seconds: int,
    cell: Row,
    demonstrations: manyways.Demonstrations,
    modes: Integers,
    options: Options,
) -> None:
    """Send what a method finds; the system ends this process when its time is over."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    try:
        pipe.send(find(cell, demonstrations, modes, options))
    except CANNOT as error:
        pipe.send({"failed": "too large" if isinstance(error, TooLarge) else f"{type(error).__name__}: {error}"[:120]})


def find(cell: Row, demonstrations: manyways.Demonstrations, modes: Integers, options: Options) -> Row:
    """Return a method's scores and its processor time."""
    true, method, seed = len(np.unique(modes)), cell["method"], cell["seed"]
    began = time.process_time()
    if cell["table"] == "counting":
        most = min(max(MOST, true + true // 2), len(demonstrations) // 2)
        counting: dict[str, Counting] = {OURS_COUNTING: own_count} | RIVALS_COUNTING
        count, sureness = counting[method](demonstrations, most, seed)
        scores: Row = {"count": int(count)} | ({} if sureness is None else {"sureness": sureness})
    else:
        ways: dict[str, Callable[[], Grouping]] = {
            "groups": lambda: own_groups,
            "SOG-BC": lambda: sog_bc(options.iterations),
        }
        grouping = ways[method]() if method in ways else RIVALS_GROUPING[method]
        found = grouping(demonstrations, true, seed)
        scores = {
            "normalized_mutual_information": round(normalized_mutual_information(found, modes), 4),
            "adjusted_rand_index": round(float(adjusted_rand_score(modes, found)), 4),
            "purity": round(purity(found, modes), 4),
        } | ({"iterations": options.iterations} if method == "SOG-BC" else {})
    return scores | {"cpu_seconds": round(time.process_time() - began, 2)}


def shown(row: Row) -> str:
    """Return a row's result in a few words."""
    if "failed" in row:
        return str(row["failed"])
    if row["table"] == "counting":
        return f"{row['count']} of {row['modes']}, {row['cpu_seconds']:.1f} s"
    return f"{row['normalized_mutual_information']:.3f} {row['adjusted_rand_index']:.3f}, {row['cpu_seconds']:.1f} s"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
