"""Several runs side by side: what they leave unexplained, how well their codes agree with labels, what they achieve."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from manyways.errors import InputError
from manyways.files import read_json
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run
from manyways.runs.workflow import modes


@dataclass(frozen=True)
class Compared:
    """A run's line in a comparison; None stands for what does not apply, or has not been measured.

    Attributes:
        run: its folder.
        title: what to call it.
        algorithm: its name.
        codes: what codes it has, in words.
        held_out_loss: of held-out demonstrations under their best codes, at the last check of training where the
            algorithm has no codes; its unit is the algorithm's own.
        of_the_mean: the same as a share of the loss of always predicting the mean action; only with codes.
        purity, normalized_mutual_information: agreement of the codes with labels.
        return_, success: means where nobody chooses the code, with the ends of 95% confidence intervals, from
            evaluation.json; of a task's own evaluation, under the best matching and without an interval.
        best_success: the greatest success rate of a code.
        environment: of the evaluation.
        data: fingerprint of the demonstrations.
    """

    run: str
    title: str
    algorithm: str
    codes: str
    held_out_loss: float | None
    of_the_mean: float | None
    purity: float | None
    normalized_mutual_information: float | None
    return_: tuple[float, float, float] | None
    success: tuple[float, float, float] | None
    best_success: float | None
    environment: str | None
    data: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)


def compare(runs: Sequence[str | Path | Run], *, progress: Progress = SILENT) -> list[Compared]:
    """Return a line for each run, in their order.

    The codes of a run are searched if it has no modes.json of its own data yet, which is then written. Rollouts are
    taken from evaluation.json: `manyways evaluate` first.

    Args:
        runs: two or more finished runs.
        progress: receives what is said on the way, as that the runs are on different data.

    Raises:
        InputError: there are fewer than two, or a run is not finished, or a file of it is damaged.
        WriteError: the system refused to write modes.json.
    """
    opened = [run if isinstance(run, Run) else Run.open(Path(run)) for run in runs]
    if len(opened) < 2:
        raise InputError(f"{len(opened)} run is nothing to compare; give the folders of two or more")
    names = [run.path.name for run in opened]
    titles = [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, opened, strict=True)]
    lines = [_compared(run, title, progress) for run, title in zip(opened, titles, strict=True)]
    _warn(lines, progress)
    return lines


def _compared(run: Run, title: str, progress: Progress) -> Compared:
    policy = run.policy()
    loss = of_the_mean = purity = information = None
    if policy.prior is None:
        checks = [line["validation_loss"] for line in run.metrics() if "validation_loss" in line]
        loss = float(np.min(checks)) if checks else None
    else:
        found = _modes(run, progress)
        held_out = found.get("held_out")
        if held_out is not None:
            loss, of_the_mean = held_out["loss"], held_out["loss"] / held_out["uninformed_loss"]
        purity, information = found.get("purity"), found.get("normalized_mutual_information")
    returned, success, best, environment = _achieved(run)
    return Compared(
        run=str(run.path),
        title=title,
        algorithm=run.config["algorithm"],
        codes="none" if policy.prior is None else str(policy.prior),
        held_out_loss=loss,
        of_the_mean=of_the_mean,
        purity=purity,
        normalized_mutual_information=information,
        return_=returned,
        success=success,
        best_success=best,
        environment=environment,
        data=run.config["provenance"]["data"],
    )


def _modes(run: Run, progress: Progress) -> dict[str, Any]:
    """Return what modes.json says of the run's own data and its present policy, made anew where it does not."""
    path = run.path / "modes.json"
    policy = run.path / "policy.safetensors"
    if path.exists() and path.stat().st_mtime_ns >= policy.stat().st_mtime_ns:
        found: dict[str, Any] = read_json(path)
        if isinstance(found, dict) and found.get("provenance", {}).get("data") == run.config["provenance"]["data"]:
            return found
    return modes(run, progress=progress).to_json()


Interval = tuple[float, float, float] | None


def _achieved(run: Run) -> tuple[Interval, Interval, float | None, str | None]:
    """Return return and success with their intervals, the best code's success, and the environment."""
    from manyways.evaluation import Coverage, EnvironmentEvaluation

    evaluation = run.evaluation()
    if evaluation is None:
        return None, None, None, None
    if isinstance(evaluation, EnvironmentEvaluation):
        line = evaluation.undrawn
        rates = [each.success.mean for each in evaluation.codes[:-1] if each.success is not None]
        success = None if line.success is None else (line.success.mean, line.success.low, line.success.high)
        returned = line.return_.mean, line.return_.low, line.return_.high
        return returned, success, max(rates, default=None), evaluation.environment
    rate = evaluation.success_rate if isinstance(evaluation, Coverage) else None
    success = None if rate is None else (rate, rate, rate)
    return (evaluation.return_mean,) * 3, success, None, run.config["task"]


def _warn(lines: Sequence[Compared], progress: Progress) -> None:
    if len({line.data for line in lines}) > 1:
        progress.warn("the runs learned from different data, so their held-out losses do not compare")
    if len({line.environment for line in lines if line.environment}) > 1:
        progress.warn("the runs were evaluated in different environments, so their returns do not compare")
    missing = [line.title for line in lines if line.environment is None]
    if missing and len(missing) < len(lines):
        progress.warn(f"no rollouts of {', '.join(missing)}; run `manyways evaluate` on them first")
