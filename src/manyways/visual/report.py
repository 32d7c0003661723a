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
from manyways.demonstrations import Demonstrations
from manyways.evaluation import ContinuousEvaluation, Evaluation, normalized_mutual_information, purity
from manyways.evaluation.rollouts import roll_out_codes
from manyways.files import write_bytes
from manyways.latents import Categorical, Gaussian
from manyways.policies.policy import Policy
from manyways.runs.run import Run
from manyways.tasks import ContinuousModes, Task
from manyways.visual import figures

_DRAWN = 150  # demonstrations in the picture; more only hide each other
_ROLLOUT_SEED = 0
_COLOURS = 20  # for the codes of a continuous prior
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
    evaluation: Evaluation | ContinuousEvaluation | None,
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
    policy = run.coded_policy()
    metrics = run.metrics()
    codes = policy.encode(demonstrations).codes
    discrete = isinstance(policy.prior, Categorical)
    matched = evaluation if isinstance(evaluation, Evaluation) else None
    achieved = evaluation if isinstance(evaluation, ContinuousEvaluation) else None
    indices = codes.argmax(axis=1)
    scored = discrete and labels is not None and labels.ndim == 1
    pictures = {
        "trajectories": _trajectories(policy, demonstrations, codes, task),
        "loss": figures.loss_curve(metrics),
    }
    if any(sum(line["code_usage"]) > 0 for line in metrics):  # where codes are searched
        pictures["usage"] = figures.code_usage(metrics)
    if any("environment_steps" in line for line in metrics):
        pictures["adversarial"] = figures.adversarial_curves(metrics)
    counted = run.config.get("mode_count")
    if counted is not None:
        votes, lengths = (
            {int(number): value for number, value in counted[name].items()} for name in ("votes", "description_length")
        )
        pictures["mode_count"] = figures.mode_count(votes, lengths, int(counted["best"]))
    if achieved is not None and task is not None:
        pictures["achieved"] = _achieved(achieved, policy, task)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manyways.visual"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("report.html.jinja").render(
        title=run.title,
        version=manyways.__version__,
        config=run.config,
        settings={name: value for name, value in run.config["settings"].items() if name != "prior"},
        prior=policy.prior,
        discrete=discrete,
        demonstrations=demonstrations,
        rows=_rows(policy, indices, task, matched) if discrete else [],
        modes=task.discrete_modes.names if task and matched else (),
        evaluation=evaluation,
        matched=matched,
        achieved=achieved,
        purity=purity(indices, labels) if scored and labels is not None else None,
        nmi=normalized_mutual_information(indices, labels) if scored and labels is not None else None,
        seconds=metrics[-1]["seconds"],
        steps_per_second=np.median([line["steps_per_second"] for line in metrics]),
        pictures={name: _embedded(picture) for name, picture in pictures.items()},
        commands=_commands(run),
        best=run.best,
        counted=counted,
    )
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return path


def _rows(policy: Policy, codes: NDArray[np.int64], task: Task | None, evaluation: Evaluation | None) -> list[_Row]:
    size = policy.discrete_prior.size
    colours = figures.code_colours(size)
    rows = []
    for code, count in enumerate(np.bincount(codes, minlength=size)):
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


def _trajectories(policy: Policy, demonstrations: Demonstrations, codes: Floats, task: Task | None) -> Figure:
    """Return the demonstrations by code and, where there is a task, rollouts under codes beside them."""
    count, colours = _colours(policy, codes)
    shown = np.random.default_rng(0).permutation(len(demonstrations))[:_DRAWN]
    if task is None:
        project, labels = _plane(demonstrations)
        paths = [project(demonstrations[i][0]) for i in shown]
        return figures.paths_by_code([("demonstrations", paths, colours[shown])], count, labels)
    tried = policy.prior.enumerate() if isinstance(policy.prior, Categorical) else codes[shown[:_COLOURS]]
    rollouts = roll_out_codes(policy, task, tried, None, _ROLLOUT_SEED, keep_observations=True)
    imitated = [task.picture.points(rollouts.observations_of(episode)) for episode in range(len(tried))]
    under = "under each code" if isinstance(policy.prior, Categorical) else "under some of their codes"
    groups = [
        ("demonstrations, unlabelled", [task.picture.points(demonstrations[i][0]) for i in shown], colours[shown]),
        (f"imitated: one rollout {under}", imitated, _colours(policy, tried)[1]),
    ]
    return figures.paths_by_code(groups, count, task.picture.labels)


def _colours(policy: Policy, codes: Floats) -> tuple[int, NDArray[np.int64]]:
    """Return how many colours there are, and which of them each code has: of a continuous one by its first number."""
    if isinstance(policy.prior, Categorical):
        return policy.prior.size, codes.argmax(axis=1)
    return _COLOURS, np.minimum(policy.prior.cdf(codes[:, 0]) * _COLOURS, _COLOURS - 1).astype(np.int64)


def _achieved(evaluation: ContinuousEvaluation, policy: Policy, task: Task) -> Figure:
    assert isinstance(policy.prior, Gaussian)
    assert isinstance(task.modes, ContinuousModes)
    return figures.codes_and_modes(
        policy.prior.cdf(evaluation.codes),
        np.array(evaluation.achieved_mean),
        np.array(evaluation.achieved_std),
        task.modes.name,
        (np.array(task.modes.low), np.array(task.modes.high)),
    )


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
