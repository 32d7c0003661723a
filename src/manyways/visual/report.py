"""The page of a run, one file that needs no network: its demonstrations and modes, edits of both, and all numbers."""

import base64
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup

import manyways
from manyways.demonstrations import Demonstrations, Edits
from manyways.demonstrations.spaces import describe
from manyways.errors import InputError
from manyways.evaluation import ContinuousEvaluation, Coverage, EnvironmentEvaluation, Evaluation
from manyways.files import read_json, write_bytes
from manyways.latents import Categorical, Gaussian
from manyways.policies.policy import Policy
from manyways.runs import inputs, workflow
from manyways.runs.codes import Codes, find_codes, with_held_out
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run
from manyways.tasks import ContinuousModes, DiscreteModes, Task
from manyways.visual.contents import charts, contents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EPISODES = 100  # of an evaluation that the page asks for


def report(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write the whole page as report.html into the run's folder and return its path.

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
    if run.evaluation() is None and task is not None and _matches(policy, task):
        workflow.evaluate(run, episodes=_EPISODES, weights=weights, progress=progress)
    path = run.path / "report.html"
    write_bytes(path, page(run, data=data, weights=weights, pictures=True, progress=progress).encode())
    return path


def explore(run: str | Path | Run, *, data: str | Path | None = None, progress: Progress = SILENT) -> Path:
    """Write the page as explore.html into the run's folder, without new rollouts, and return its path.

    Arguments and errors are those of `report`.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    path = run.path / "explore.html"
    write_bytes(path, page(run, data=data, progress=progress).encode())
    return path


def page(run: Run, **how: Any) -> str:
    """Return the page as HTML; arguments and errors are those of `prepared`."""
    return prepared(run, **how)()


def prepared(
    run: Run,
    *,
    data: str | Path | None = None,
    weights: str | Path | None = None,
    pictures: bool = False,
    served: bool = False,
    live: bool = False,
    progress: Progress = SILENT,
) -> Callable[[], str]:
    """Return what gives the page as HTML, with the edits as they are saved then.

    Args:
        run: finished.
        data: demonstrations; those of the run unless given.
        weights: folder of the expert; that of the run, or the one that ships, unless given.
        pictures: whether to draw demonstrations, and rollouts of a policy that has a task, beside the interactive ones.
        served: whether it saves into the run's folder.
        live: whether a simulator is shown beside it, see `Live`.
        progress: receives what is said on the way.

    Raises:
        InputError: as for `report`.
    """
    policy, task, metrics = run.policy(), inputs.task_of(run, weights), run.metrics()
    _, demonstrations, labels = inputs.load_data(run, data)
    codes = None
    if policy.prior is not None:
        with progress.section("searching the trajectories' codes"):
            codes = find_codes(policy, demonstrations, labels)
        if data is None:
            codes = with_held_out(run, policy, codes, demonstrations)
    with progress.section("looking at the trajectories"):
        shown = contents(policy, demonstrations, codes)
    shown |= {
        "title": run.title,
        "edits_file": str(run.path / "edits.json") if served else "edits.json",
        "command": _words(run.config["provenance"]["command"]),
        "charts": charts(metrics, run.config["mode_count"], codes),
        "served": served,
        "live": live,
    }
    evaluation, drawn = run.evaluation(), {}
    if pictures:
        with progress.section("drawing"):
            drawn = _pictures(policy, demonstrations, codes, task, evaluation)
    if (run.path / "switching.png").is_file():
        drawn["switching"] = _embedded((run.path / "switching.png").read_bytes())
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("manyways.visual"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    parts = {"css": _template("page.css"), "js": _template("page.js")}
    parts |= {f"{name}_js": _template(f"{name}.js") for name in ("edits", "live", "charts")}
    render = partial(
        environment.get_template("page.html.jinja").render,
        **{name: Markup(text) for name, text in parts.items()},
        plotly=Markup(_plotly()),
        charts=shown["charts"],
        served=served,
        live=live,
        pictures=drawn,
        modes=task.discrete_modes.names if task and isinstance(evaluation, Evaluation | Coverage) else (),
        robustness=_robustness(run),
        **_facts(run, policy, demonstrations, codes, evaluation),
        seconds=metrics[-1]["seconds"],
        steps_per_second=np.median([line["steps_per_second"] for line in metrics]),
    )

    def rendered() -> str:
        decided = {"edits": {}, "unread": ""} if data is not None else _decided(run, shown, progress)
        return render(data=Markup(_json(shown | decided)))

    return rendered


_Evaluated = Evaluation | ContinuousEvaluation | Coverage | EnvironmentEvaluation | None


def _facts(
    run: Run, policy: Policy, demonstrations: Demonstrations, codes: Codes | None, evaluation: _Evaluated
) -> dict[str, Any]:
    """Return the numbers and words of the page."""
    kinds = {
        "matched": Evaluation,
        "achieved": ContinuousEvaluation,
        "coverage": Coverage,
        "rolled_out": EnvironmentEvaluation,
    }
    return {
        **{name: evaluation if isinstance(evaluation, kind) else None for name, kind in kinds.items()},
        "evaluation": None if isinstance(evaluation, EnvironmentEvaluation) else evaluation,
        "title": run.title,
        "version": manyways.__version__,
        "config": run.config,
        "settings": {name: value for name, value in run.config["settings"].items() if name != "prior"},
        "counted": run.config["mode_count"],
        "prior": policy.prior,
        "discrete": isinstance(policy.prior, Categorical) and policy.prior.size > 1,
        "coded": isinstance(policy.prior, Gaussian) or (policy.prior is not None and policy.prior.size > 1),
        "demonstrations": demonstrations,
        "observation": describe(demonstrations.observation_space),
        "action": describe(demonstrations.action_space),
        "codes": codes,
        "loss": None if codes is None else float(codes.encoding.losses.mean()),
        "of_the_mean": None if codes is None else policy.uninformed_loss,
        "commands": _commands(run, len(demonstrations)),
        "best": run.best,
    }


def _matches(policy: Policy, task: Task) -> bool:
    """Whether codes and modes are both discrete or both continuous, so that they can be scored by each other."""
    listed = isinstance(task.modes, DiscreteModes)
    return listed if policy.prior is None else isinstance(policy.prior, Categorical) == listed


def _robustness(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Return how a policy was disturbed and what it returned; nothing where it was not."""
    path = run.path / "robustness.json"
    if not path.exists():
        return []
    found = read_json(path)
    try:
        share, codes = found["random_actions"]["share"], len(found["random_actions"]["assignment"])
        hows = {"random_actions": f"{share:.0%} random actions", "switching": f"the code switched through all {codes}"}
        return [(how, found[name]) for name, how in hows.items()]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}); run `manyways robustness` again") from error


def _pictures(
    policy: Policy, demonstrations: Demonstrations, codes: Codes | None, task: Task | None, evaluation: _Evaluated
) -> dict[str, str]:
    from manyways.visual import figures
    from manyways.visual.trajectories import draw_trajectories

    drawn = {"trajectories": draw_trajectories(policy, demonstrations, codes, task)}
    if isinstance(evaluation, ContinuousEvaluation) and task is not None:
        drawn["achieved"] = _achieved(evaluation, policy, task)
    return {name: _embedded(figures.png(figure)) for name, figure in drawn.items()}


def _achieved(evaluation: ContinuousEvaluation, policy: Policy, task: Task) -> "Figure":
    from manyways.visual import figures

    assert isinstance(policy.prior, Gaussian)
    assert isinstance(task.modes, ContinuousModes)
    return figures.codes_and_modes(
        policy.prior.cdf(evaluation.codes),
        np.array(evaluation.achieved_mean),
        np.array(evaluation.achieved_std),
        task.modes.labels or (task.modes.name,) * task.modes.dimension,
        (np.array(task.modes.low), np.array(task.modes.high)),
    )


def _embedded(picture: bytes) -> str:
    """Return a PNG as a data address, so that the page needs no other file."""
    return "data:image/png;base64," + base64.b64encode(picture).decode()


def _decided(run: Run, shown: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Return the `edits` that the page begins with, as saved, else those of the training; and what is `unread`."""
    path, own, problem = run.path / "edits.json", replace(run.edits, names={}), ""  # the policy has the names
    if path.exists():
        try:
            saved = Edits.read(path)
            codes = dict(zip(shown["ids"], shown.get("codes", []), strict=False))
            if all(codes.get(name, code) == code for name, code in saved.anchors.items()):
                own = saved
            else:
                problem = f"{path} numbers the modes otherwise, since some were merged"
        except InputError as error:
            problem = str(error)
    if problem:
        progress.warn(f"{problem}; the page begins without it")
    return {"edits": own.to_json(), "unread": problem}


def _words(command: str) -> list[str]:
    """Return the words of a command, an option and its value apart."""
    words = shlex.split(command)
    return [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]


def _json(value: Any) -> str:
    """Return JSON that can stand in a page: nothing in it ends or begins an element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> str:
    return (resources.files("manyways.visual") / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return Plotly's JavaScript, which lies in its wheel."""
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


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
