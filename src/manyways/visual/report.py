"""One self-contained HTML page of a run: what was found, how it was found, and how well it is imitated."""

import base64
import shlex
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.figure import Figure

import manyways
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.spaces import describe
from manyways.evaluation import (
    ContinuousEvaluation,
    Coverage,
    Disturbed,
    EnvironmentEvaluation,
    Evaluation,
    Switching,
)
from manyways.files import write_bytes
from manyways.latents import Categorical, Gaussian
from manyways.policies.policy import Policy
from manyways.runs import inputs, workflow
from manyways.runs.codes import Codes, find_codes, with_held_out
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run
from manyways.tasks import ContinuousModes, DiscreteModes, Task
from manyways.visual import figures
from manyways.visual.trajectories import draw_trajectories

_EPISODES = 100  # of an evaluation that the page asks for
_PATHS_SHOWN = 8  # with switched codes, in one picture


def report(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write report.html into the run's folder and return its path.

    Args:
        run: finished; it is evaluated first if it is on a task whose modes fit its codes, and has not been.
        data: demonstrations; those of the run unless given.
        weights: folder of the expert to compare with; that of the run, or the one that ships, unless given.
        progress: receives what is said on the way.

    Raises:
        InputError: the run is not finished, or a file of it is damaged.
        WriteError: the system refused to write.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    policy, task = run.policy(), inputs.task_of(run, weights)
    _, demonstrations, labels = inputs.load_data(run, data)
    evaluation = run.evaluation()
    if evaluation is None and task is not None and _matches(policy, task):
        evaluation, _ = workflow.evaluate(run, episodes=_EPISODES, weights=weights, progress=progress)
    codes = None
    if policy.prior is not None:
        with progress.section("searching the trajectories' codes"):
            codes = find_codes(policy, demonstrations, labels)
        if data is None:
            codes = with_held_out(run, policy, codes, demonstrations)
    with progress.section("drawing"):
        page = _page(run, policy, demonstrations, codes, task, evaluation)
    path = run.path / "report.html"
    write_bytes(path, page.encode())
    return path


def draw_switching(run: Run, task: Task, disturbed: Disturbed, switching: Switching) -> Path:
    """Draw some rollouts through which the code was switched (Figure 6), as RUN/switching.png, and return its path.

    Colours are those of the modes, in their order; codes without a mode follow.
    """
    modes = task.discrete_modes.names
    left = [code for code, mode in enumerate(disturbed.assignment) if mode is None]
    place = [len(modes) + left.index(code) if mode is None else mode for code, mode in enumerate(disturbed.assignment)]
    names = [*modes, *(f"code {code}" for code in left)]
    paths = [(points, np.array(place)[active]) for points, active in switching.paths(task)[:_PATHS_SHOWN]]
    path = run.path / "switching.png"
    figures.save(figures.switched_paths([(run.title, paths)], len(names), task.picture.labels, names), path)
    return path


def _matches(policy: Policy, task: Task) -> bool:
    """Whether codes and modes are both discrete or both continuous, so that they can be scored by each other."""
    listed = isinstance(task.modes, DiscreteModes)
    return listed if policy.prior is None else isinstance(policy.prior, Categorical) == listed


def _page(
    run: Run,
    policy: Policy,
    demonstrations: Demonstrations,
    codes: Codes | None,
    task: Task | None,
    evaluation: Evaluation | ContinuousEvaluation | Coverage | EnvironmentEvaluation | None,
) -> str:
    """Return the page as HTML."""
    metrics = run.metrics()
    matched = evaluation if isinstance(evaluation, Evaluation) else None
    achieved = evaluation if isinstance(evaluation, ContinuousEvaluation) else None
    coverage = evaluation if isinstance(evaluation, Coverage) else None
    environment_ = evaluation if isinstance(evaluation, EnvironmentEvaluation) else None
    of_the_mean = None if codes is None else policy.uninformed_loss
    pictures = {
        "trajectories": draw_trajectories(policy, demonstrations, codes, task),
        "loss": figures.loss_curve(metrics, of_the_mean),
    }
    if any(line.get("code_usage/0") for line in metrics):  # where codes are searched
        listed = isinstance(policy.prior, Categorical)
        what = "share of trajectories won by each code" if listed else "share of codes in each tenth of the prior"
        pictures["usage"] = figures.code_usage(metrics, what)
    if any("discriminator_accuracy" in line for line in metrics):
        pictures["adversarial"] = figures.adversarial_curves(metrics)
    if codes is not None and codes.segments is not None and codes.counts is not None:
        pictures["segments"] = figures.segment_bands(codes.segments, len(codes.counts))
    counted = run.config["mode_count"]
    if counted is not None:
        votes = {int(number): share for number, share in counted["votes"].items()}
        names = [f"{number}: {split['by']}" for number, split in enumerate(counted["splits"], 2)]
        gaps = list(zip([*names, "the next"], counted["chances"].values(), strict=True))
        pictures["mode_count"] = figures.mode_count(votes, gaps, int(counted["best"]))
    if achieved is not None and task is not None:
        pictures["achieved"] = _achieved(achieved, policy, task)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manyways.visual"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.jinja").render(
        title=run.title,
        version=manyways.__version__,
        config=run.config,
        settings={name: value for name, value in run.config["settings"].items() if name != "prior"},
        prior=policy.prior,
        discrete=isinstance(policy.prior, Categorical),
        demonstrations=demonstrations,
        observation=describe(demonstrations.observation_space),
        action=describe(demonstrations.action_space),
        rows=_rows(codes, task, matched) if codes is not None and codes.counts is not None else [],
        modes=task.discrete_modes.names if task and (matched or coverage) else (),
        evaluation=None if environment_ else evaluation,
        rolled_out=environment_,
        matched=matched,
        achieved=achieved,
        coverage=coverage,
        codes=codes,
        loss=None if codes is None else float(codes.encoding.losses.mean()),
        of_the_mean=of_the_mean,
        seconds=metrics[-1]["seconds"],
        steps_per_second=np.median([line["steps_per_second"] for line in metrics]),
        pictures={name: _embedded(picture) for name, picture in pictures.items()},
        commands=_commands(run, len(demonstrations)),
        best=run.best,
        counted=counted,
    )


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
    name: str | None


def _rows(codes: Codes, task: Task | None, evaluation: Evaluation | None) -> list[_Row]:
    assert codes.counts is not None
    counts = codes.counts
    colours = figures.code_colours(len(counts))
    rows = []
    for code, count in enumerate(counts):
        matched = evaluation.assignment[code] if evaluation else None
        rows.append(
            _Row(
                code=code,
                colour=colours[code],
                trajectories=int(count),
                share=count / counts.sum(),
                mode=task.discrete_modes.names[matched] if task and matched is not None else None,
                returns=evaluation.return_matrix[code] if evaluation else [],
                matched=matched,
                name=codes.names.get(code),
            )
        )
    return rows


def _achieved(evaluation: ContinuousEvaluation, policy: Policy, task: Task) -> Figure:
    assert isinstance(policy.prior, Gaussian)
    assert isinstance(task.modes, ContinuousModes)
    return figures.codes_and_modes(
        policy.prior.cdf(evaluation.codes),
        np.array(evaluation.achieved_mean),
        np.array(evaluation.achieved_std),
        task.modes.labels or (task.modes.name,) * task.modes.dimension,
        (np.array(task.modes.low), np.array(task.modes.high)),
    )


def _embedded(figure: Figure) -> str:
    """Return the figure as a PNG in a data address, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(figures.png(figure)).decode()


def _commands(run: Run, trajectories: int) -> list[str]:
    """Return what to type to get this page again."""
    folder, train = shlex.quote(str(run.path)), run.config["provenance"]["command"]
    task, data = run.config["task"], run.config["data"]
    commands = [train]
    if task and data and Path(data).is_dir() and Path(data).name in train:  # else `train` collects by itself
        place = next((word for word in shlex.split(train) if word.endswith(Path(data).name)), data)
        commands.insert(0, f"manyways collect {task} --episodes {trajectories} --out {shlex.quote(place)}")
    if run.config["settings"].get("prior"):
        commands.append(f"manyways modes {folder}")
    if task:
        commands.append(f"manyways evaluate {folder}")
    return [*commands, f"manyways report {folder}"]
