"""The result files of experiments: which are there, which are broken or stale, and how long the others would take."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from manyways.errors import InputError
from manyways.files import read_json, write_json
from manyways.reproduce.experiments import EXPERT, STEPS, Experiment
from manyways.reproduce.paper import ALGORITHMS

_FIELDS = ("task", "algorithm", "seed", "episodes", "return_mean", "environment_steps", "wall_seconds")
_METRICS = ("assignment", "mode_counts", "mutual_information_nats", "embedded_mutual_information_nats", "entropy_nats")
_EXPERTS_SECONDS = 30.0

Kind = Literal["done", "missing", "broken", "stale"]


@dataclass(frozen=True)
class Record:
    """What there is of an experiment.

    Attributes:
        experiment: of the list.
        kind: "stale" has numbers of another expert, other demonstrations or other settings; "broken" has none.
        reason: why it is broken or stale.
        result: what its file holds, of one that is done or stale.
    """

    experiment: Experiment
    kind: Kind
    reason: str = ""
    result: dict[str, Any] | None = None


class Records:
    """The folder of the result files, RESULTS/TASK/LABEL/seed-N.json.

    Args:
        folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; give the folder of the results with --results")
        self.folder = folder

    def file(self, experiment: Experiment) -> Path:
        """Return where an experiment's result is, or will be."""
        return (self.folder / experiment.place).with_suffix(".json")

    def policy(self, task: str, label: str) -> Path:
        """Return the folder of a row's policy of seed 0, which is kept beside the results, so that it can be drawn."""
        return self.folder / task / label / "policy"

    def record(self, experiment: Experiment) -> Record:
        """Return what there is of an experiment."""
        path = self.file(experiment)
        if not path.exists():
            return Record(experiment, "missing")
        try:
            result = read_json(path)
        except InputError as error:
            return Record(experiment, "broken", str(error))
        if problem := _incomplete(experiment, result):
            return Record(experiment, "broken", problem)
        problem = self._stale(experiment, result)
        return Record(experiment, "stale" if problem else "done", problem, result)

    def records(self, experiments: Iterable[Experiment]) -> list[Record]:
        """Return what there is of each experiment."""
        return [self.record(each) for each in experiments]

    def _stale(self, experiment: Experiment, result: dict[str, Any]) -> str:
        """Return why a result has to be made again, "" where it stands."""
        known = result.get("provenance")
        if not isinstance(known, dict):
            return "it does not say where it comes from"
        if known.get("expert") != _expert(experiment.task):
            return "of another expert than ships today"
        if experiment.algorithm == EXPERT:
            return ""
        shipped = self.demonstrations(experiment.task)
        if shipped and known.get("data") not in shipped:
            return "of other demonstrations than ship today"
        return other_settings(experiment, result.get("settings", {}))

    def demonstrations(self, task: str) -> list[str]:
        """Return the fingerprints of a task's demonstrations of today: as written, or as collected; none if unknown."""
        return self._written()["data"].get(task) or _collected(task)

    def note_demonstrations(self, task: str, fingerprint: str) -> None:
        """Write the fingerprint of the demonstrations that a training has just used to demonstrations.json.

        Processors of two kinds collect demonstrations that differ in their last digits. So fingerprints stay beside it
        that were made by the same task, expert, noise and packages; others are dropped.
        """
        written, recipe = self._written(), _recipe(task)
        known = written["data"].get(task, []) if written["made_by"].get(task) == recipe else []
        if fingerprint not in known:
            from manyways.runs.provenance import provenance

            data, made_by = written["data"] | {task: [*known, fingerprint]}, written["made_by"] | {task: recipe}
            write_json(self._shipped, {"data": data, "made_by": made_by, "provenance": provenance()})

    @property
    def _shipped(self) -> Path:
        return self.folder / "demonstrations.json"

    def _written(self) -> dict[str, dict[str, Any]]:
        return read_json(self._shipped) if self._shipped.exists() else {"data": {}, "made_by": {}}

    def seconds(self, experiment: Experiment) -> float | None:
        """Return about how long an experiment takes, by results of the same row, else of the same algorithm.

        Those on the same task count before those on others. Times grow with the environment steps; those on another
        task are multiplied by how much longer other algorithms take on this one. None where nothing like it has been
        measured.
        """
        if experiment.algorithm == EXPERT:
            return _EXPERTS_SECONDS
        steps = float(experiment.settings.get("total_steps", 0))
        labels = (experiment.label, experiment.algorithm)
        for label in labels:
            own = self._seconds(label, steps).get(experiment.task)
            if own is not None:
                return own
        for label in labels:
            others = self._seconds(label, steps)
            if others:
                return statistics.median(
                    seconds * self._times_as_long(experiment.task, task) for task, seconds in others.items()
                )
        return None

    def _seconds(self, label: str, steps: float) -> dict[str, float]:
        """Return how long a row takes by task, where it was measured."""
        found: dict[str, list[float]] = {}
        for path in sorted(self.folder.glob(f"*/{label}/seed-*.json")):
            seconds = _seconds(path, steps)
            if seconds is not None:
                found.setdefault(path.parent.parent.name, []).append(seconds)
        return {task: statistics.median(seconds) for task, seconds in found.items()}

    def _times_as_long(self, task: str, other: str) -> float:
        """Return how many times as long algorithms that run environments take on a task as on another one."""
        rows = [self._seconds(label, STEPS) for label in ALGORITHMS[1:]]
        return statistics.median([row[task] / row[other] for row in rows if task in row and other in row] or [1.0])


def other_settings(experiment: Experiment, settings: dict[str, Any]) -> str:
    """Return which of an experiment's settings a run had otherwise, "" where none.

    Args:
        experiment: of the list.
        settings: of the run, as its config.json has them.
    """
    for name, value in experiment.settings.items():
        own = settings.get(name)
        wanted = own | dict(value) if isinstance(own, dict) and isinstance(value, Mapping) else value
        if name in settings and own != wanted:
            return f"with {name} {own}, not {wanted}"
    return ""


def _incomplete(experiment: Experiment, result: Any) -> str:
    """Return what is wrong with the content of a file, "" where nothing is."""
    if not isinstance(result, dict):
        return "it holds no result"
    missing = [name for name in _FIELDS if result.get(name) is None]
    if missing:
        return f"it has no {', '.join(missing)}"
    if experiment.algorithm != EXPERT and all(result.get(name) is None for name in _METRICS):
        return "it has no metric of its table"
    for name, expected in (("task", experiment.task), ("algorithm", experiment.algorithm), ("seed", experiment.seed)):
        if result[name] != expected:
            return f"it is of the {name} {result[name]}"
    return ""


def _seconds(path: Path, steps: float) -> float | None:
    """Return how long the run of a result would take with so many environment steps; None for a broken file."""
    try:
        result = read_json(path)
        done = float(result["environment_steps"])
        training = float(result["wall_seconds"]) * (steps / done if steps and done else 1)
        return training + float(result.get("evaluation_seconds", 0))
    except (InputError, KeyError, TypeError, ValueError):
        return None


@cache
def _expert(task: str) -> str | None:
    from manyways.runs.provenance import expert_fingerprint
    from manyways.tasks import get_task

    return expert_fingerprint(get_task(task))


def _recipe(task: str) -> str:
    """Return what tells the makers of a task's demonstrations from others."""
    from manyways.tasks import get_task
    from manyways.tasks.provenance import fingerprint

    return fingerprint(get_task(task), get_task(task).noise)


@cache
def _collected(task: str) -> list[str]:
    """Return the fingerprint of the task's demonstrations in the cache, none where they are not there yet."""
    from manyways.demonstrations import Demonstrations
    from manyways.runs.provenance import data_fingerprint
    from manyways.tasks import get_task
    from manyways.tasks.collect import cached_demonstrations

    path = cached_demonstrations(get_task(task))
    return [data_fingerprint(Demonstrations.load(path))] if path.exists() else []
