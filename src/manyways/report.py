"""One self-contained HTML page of a run: what was found, how it was found, and how well it is imitated."""

import base64
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import manyways
from manyways import figures
from manyways.demonstrations import Demonstrations
from manyways.evaluation import normalized_mutual_information, purity
from manyways.evaluation.evaluate import Evaluation, roll_out_codes
from manyways.files import write_bytes
from manyways.policy import Policy
from manyways.run import Run
from manyways.tasks import Task

_DRAWN = 150  # demonstrations in the picture; more only hide each other
_ROLLOUT_SEED = 0
_STEPS_FOR_PLANE = 100_000  # more do not move the principal components

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class _Row:
    """A code's line in the page's table."""

    code: int
    colour: str
    trajectories: int
    share: float
    mode: str | None
    returns: list[float]
    matched: int | None


def write_report(
    run: Run,
    demonstrations: Demonstrations,
    labels: NDArray[Any] | None,
    task: Task | None,
    evaluation: Evaluation | None,
) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        run: finished.
        demonstrations: what it was trained on, or other trajectories of the kind.
        labels: ground truth for scoring, where there is any; those of a continuous range are left out.
        task: the run's task; without one there are no rollouts.
        evaluation: of the run, where there is one.

    Raises:
        InputError: the run is not finished, or a file of it is damaged.
        WriteError: the system refused to write.
    """
    policy = run.policy()
    metrics = run.metrics()
    codes = policy.losses(demonstrations).argmin(axis=1)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manyways"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        title=run.title,
        version=manyways.__version__,
        config=run.config,
        settings={name: value for name, value in run.config["settings"].items() if name != "prior"},
        demonstrations=demonstrations,
        rows=_rows(policy, codes, task, evaluation),
        modes=task.discrete_modes.names if task and evaluation else (),
        evaluation=evaluation,
        purity=None if labels is None or labels.ndim > 1 else purity(codes, labels),
        nmi=None if labels is None or labels.ndim > 1 else normalized_mutual_information(codes, labels),
        seconds=metrics[-1]["seconds"],
        steps_per_second=np.median([line["steps_per_second"] for line in metrics]),
        pictures={
            "trajectories": _embedded(_trajectories(policy, demonstrations, codes, task)),
            "loss": _embedded(figures.loss_curve(metrics)),
            "usage": _embedded(figures.code_usage(metrics)),
        },
        commands=_commands(run),
    )
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return path


def _rows(policy: Policy, codes: NDArray[np.int64], task: Task | None, evaluation: Evaluation | None) -> list[_Row]:
    counts = np.bincount(codes, minlength=policy.prior.size)
    colours = figures.code_colours(policy.prior.size)
    rows = []
    for code, count in enumerate(counts):
        matched = evaluation.assignment[code] if evaluation else None
        rows.append(
            _Row(
                code=code,
                colour=colours[code],
                trajectories=int(count),
                share=count / len(codes),
                mode=task.discrete_modes.names[matched] if task and matched is not None else None,
                returns=evaluation.return_matrix[code] if evaluation else [],
                matched=matched,
            )
        )
    return rows


def _trajectories(
    policy: Policy, demonstrations: Demonstrations, codes: NDArray[np.int64], task: Task | None
) -> Figure:
    """Return the demonstrations by code and, where there is a task, one rollout under each code beside them."""
    shown = np.random.default_rng(0).permutation(len(demonstrations))[:_DRAWN]
    if task is None:
        project, labels = _plane(demonstrations)
        paths = [project(demonstrations[i][0]) for i in shown]
        return figures.paths_by_code([("demonstrations", paths, codes[shown])], policy.prior.size, labels)
    rollouts, rollout_codes = roll_out_codes(policy, task, policy.prior.size, _ROLLOUT_SEED)
    imitated = [
        task.picture.points(rollouts.observations[i, : length + 1]) for i, length in enumerate(rollouts.lengths)
    ]
    groups = [
        ("demonstrations, unlabelled", [task.picture.points(demonstrations[i][0]) for i in shown], codes[shown]),
        ("imitated: one rollout under each code", imitated, rollout_codes),
    ]
    return figures.paths_by_code(groups, policy.prior.size, task.picture.labels)


def _plane(demonstrations: Demonstrations) -> tuple[Callable[[Floats], Floats], tuple[str, str]]:
    """Return what puts observations (steps, observation size) into a plane (steps, 2), and the names of its axes."""
    size = demonstrations.observation_size
    if size == 1:
        return _against_steps, ("step", "observation")
    if size == 2:
        return lambda observations: observations, ("observation 0", "observation 1")
    every = max(1, demonstrations.steps // _STEPS_FOR_PLANE)
    projection = make_pipeline(StandardScaler(), PCA(2)).fit(demonstrations.observations[::every])
    return projection.transform, ("first principal component of the observations", "second principal component")


def _against_steps(observations: Floats) -> Floats:
    return np.column_stack([np.arange(len(observations)), observations])


def _embedded(figure: Figure) -> str:
    """Return the figure as a PNG in a data address, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(figures.png(figure)).decode()


def _commands(run: Run) -> list[str]:
    folder = shlex.quote(str(run.path))
    evaluate = [f"manyways evaluate {folder}"] if run.config["task"] else []
    return [run.config["command"], *evaluate, f"manyways report {folder}"]
