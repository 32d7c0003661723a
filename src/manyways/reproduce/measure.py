"""One experiment carried out: trained in its run's folder, rolled out, and written as a result file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manyways.errors import InputError
from manyways.files import write_json
from manyways.reproduce.experiments import EXPERT, Experiment
from manyways.reproduce.paper import ALGORITHMS
from manyways.reproduce.records import Records, other_settings
from manyways.runs import workflow
from manyways.runs.progress import SILENT, Progress, Update
from manyways.runs.run import Run

_POINTS = 100  # of the curve in a result file
_CURVE = ("iteration", "environment_steps", "loss", "validation_loss", "return_mean", "code_mode_agreement")


@dataclass(frozen=True)
class Measurer:
    """Carries experiments out, in this process or in another one.

    Attributes:
        results: folder of the result files.
        runs: folder of the runs, which go on where they stopped.
        episodes: rollouts of each evaluation.
        redo: whether broken and stale results are made again.
        progress: receives what is said on the way.
    """

    results: Path
    runs: Path
    episodes: int = 100
    redo: bool = False
    progress: Progress = SILENT

    def __call__(self, experiment: Experiment) -> dict[str, Any]:
        """Return an experiment's result, from its file if it is there, else made and written.

        Raises:
            InputError: the file is broken, another process trains in the run's folder, or nothing can be measured.
            KeyboardInterrupt: the user interrupted; the same call goes on from there.
            WriteError: the system refused to write.
        """
        records = Records(self.results)
        record = records.record(experiment)
        if record.result is not None and not (self.redo and record.kind == "stale"):
            return record.result
        if record.kind == "broken" and not self.redo:
            raise InputError(f"{records.file(experiment)} is broken: {record.reason}; make it again with --redo-stale")
        if experiment.algorithm == EXPERT:
            result = measure_expert(experiment, self.episodes, self.progress)
        else:
            folder = self.runs / experiment.place
            if self.redo:
                _set_aside(folder, experiment, records.demonstrations(experiment.task))
            result = measure(experiment, folder, self.episodes, self.progress)
            if experiment.seed == 0 and experiment.label in ALGORITHMS:  # figures are drawn of these
                Run.open(folder).policy().save(records.policy(experiment.task, experiment.label))
        write_json(records.file(experiment), result)
        return result


def _set_aside(folder: Path, experiment: Experiment, shipped: list[str]) -> None:
    """Rename a run on other demonstrations than ship today, or of other settings, so that a new one can begin."""
    if (folder / "config.json").exists():
        config = Run.open(folder).config
        other_data = bool(shipped) and config["provenance"]["data"] not in shipped
        if other_data or other_settings(experiment, config["settings"]):
            others = sum(1 for _ in folder.parent.glob(f"{folder.name}-stale-*"))
            folder.rename(folder.with_name(f"{folder.name}-stale-{others + 1}"))


class _Keeping(Progress):
    """Passes on what is said, and keeps the warnings, which the result file tells."""

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self.warnings: list[str] = []

    @contextmanager
    def section(self, what: str, total: int | None = None, unit: str = "") -> Iterator[Update]:
        """Enter a section of the work."""
        with self._inner.section(what, total, unit) as update:
            yield update

    def say(self, text: str) -> None:
        """Tell a result of a section."""
        self._inner.say(text)

    def warn(self, text: str) -> None:
        """Tell of something that is probably wrong, and keep it."""
        self.warnings.append(text)
        self._inner.warn(text)


def measure(experiment: Experiment, folder: Path, episodes: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Train in a folder, roll out, and return what the result file holds.

    Args:
        experiment: of an algorithm.
        folder: of the run; a run of the same experiment goes on there.
        episodes: rollouts of each evaluation.
        progress: receives what is said on the way.

    Raises:
        InputError, KeyboardInterrupt, WriteError: as `manyways.train`.
    """
    from manyways.files import read_json
    from manyways.tasks import DiscreteModes, get_task

    kept = _Keeping(progress)
    settings = experiment.algorithm_settings()
    run = workflow.train(settings, folder, task=experiment.task, progress=kept)
    started = time.monotonic()
    common: dict[str, Any] = {"episodes": episodes, "seed": experiment.seed, "progress": kept}
    workflow.evaluate(run, **common)
    result: dict[str, Any] = read_json(run.evaluation_file)
    if settings.has_codes and isinstance(get_task(experiment.task).modes, DiscreteModes):
        for suffix in ("", "_last") if run.best is not None else ("",):  # the best is chosen by undisturbed rollouts
            disturbed, switching = workflow.robustness(run, policy="last" if suffix else None, **common)
            result[f"random_actions{suffix}"] = disturbed.to_json()
            result[f"switched_codes{suffix}"] = switching.to_json()
        if settings.name in ("sog-bc", "sog-gail"):
            result["purity"] = workflow.modes(run, progress=kept).purity
    metrics = run.metrics()
    return result | {
        "best": run.best,
        "warnings": kept.warnings,
        "environment_steps": int(metrics[-1].get("environment_steps", 0)),
        "wall_seconds": metrics[-1]["seconds"],
        "evaluation_seconds": round(time.monotonic() - started, 1),
        "settings": run.config["settings"],
        "curve": curve(metrics),
    }


def curve(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return about a hundred points of a run's curve: those with a return where there are any, else with a loss."""
    lines = [line for line in metrics if "return_mean" in line] or metrics
    thinned = lines[:: max(1, len(lines) // _POINTS)]
    if thinned[-1] is not lines[-1]:
        thinned.append(lines[-1])
    return [{name: line[name] for name in _CURVE if name in line} for line in thinned]


def measure_expert(experiment: Experiment, episodes: int, progress: Progress = SILENT) -> dict[str, Any]:
    """Roll a task's expert out, and return what the result file of its own row holds.

    Args:
        experiment: of the expert.
        episodes: rollouts; ten times as many over a range of modes.
        progress: receives what is said on the way.

    Raises:
        InputError: the task has no expert.
    """
    from manyways.evaluation import evaluate_expert, steps_to_evaluate
    from manyways.runs.provenance import provenance
    from manyways.tasks import get_task

    task, started = get_task(experiment.task), time.monotonic()
    with progress.section("the expert's rollouts", steps_to_evaluate(task, episodes), "steps") as update:
        found = evaluate_expert(task, episodes, experiment.seed, update)
    return {
        "task": experiment.task,
        "algorithm": EXPERT,
        "seed": experiment.seed,
        **found.to_json(),
        "expert_return_mean": found.return_mean,
        "expert_return_std": found.return_std,
        "environment_steps": 0,
        "wall_seconds": round(time.monotonic() - started, 1),
        "provenance": provenance(seeds=[experiment.seed], task=task),
    }
