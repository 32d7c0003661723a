"""The commands that take a run's folder: arguments to calls, nothing more."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from manyways.cli.arguments import DataOptions, Taken
from manyways.errors import InputError

_optional = tyro.conf.arg(help_behavior_hint="(optional)")
Which = Annotated[Literal["best", "last"] | None, _optional]
OptionalPath = Annotated[Path | None, _optional]


def modes(
    run: Path,
    /,
    *,
    data: Annotated[str | None, _optional] = None,
    taken: Taken = DataOptions(),  # noqa: B008 (it is frozen)
    out: OptionalPath = None,
    policy: Which = None,
) -> None:
    """Write the code of every trajectory, and how well the codes agree with labels, if there are any.

    For discrete codes also the loss under each code. For continuous ones also the spread of nearly as good codes: for
    each dimension, which share of the prior explains the trajectory with a loss at most a tenth above the least.

    Args:
        run: Folder of a finished run.
        data: Demonstrations; those that the run was trained on unless given.
        taken: What to take of the data; the run's columns unless given, and its episodes where it is its data.
        out: File to write; RUN/modes.json unless given.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
    """
    from manyways.cli.console import progress, what_next
    from manyways.cli.tables import show_codes
    from manyways.runs import workflow

    selection = taken.selection()
    show_codes(workflow.modes(run, data=data, selection=selection, out=out, policy=policy, progress=progress))
    what_next(run / "modes.json" if out is None else out, _next("report", run))


def evaluate(
    run: Path,
    /,
    *,
    env: Annotated[str | None, _optional] = None,
    env_kwargs: Annotated[str | None, _optional, tyro.conf.arg(metavar="JSON")] = None,
    success: Annotated[str | None, _optional] = None,
    max_steps: Annotated[int | None, _optional] = None,
    episodes: int = 100,
    seed: int = 0,
    policy: Which = None,
    weights: OptionalPath = None,
) -> None:
    """Roll out every code, match codes to modes, and write RUN/evaluation.json.

    Beside that: which modes its rollouts are of when nobody chooses the code, and of a policy without codes that alone.

    Of continuous codes are rolled out those of demonstrations, each beside the expert in its mode, and ones drawn from
    the prior.

    With --env, in any Gymnasium environment: return, success and length of each code with 95% confidence intervals.

    Args:
        run: Folder of a finished run on a task; with --env of any run, or of a policy.
        env: Gymnasium id, such as gym_pusht/PushT-v0, or MODULE:FACTORY.
        env_kwargs: Arguments of the environment as JSON, such as '{"obs_type": "state"}'.
        success: What counts as success: a key of info that is true once in the episode, KEY>=NUMBER or return>=NUMBER;
            is_success or success unless given.
        max_steps: After which an episode is cut; the environment's own limit, or 1000, unless given.
        episodes: How many rollouts, spread evenly over the codes; ten times as many of drawn continuous codes.
        seed: Of the environments.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
        weights: Folder of the expert to compare with; that of the run, or the one that ships, unless given.
    """
    from manyways.cli.console import progress, what_next

    if env is not None:
        from manyways.cli.tables import show_environment
        from manyways.runs.environments import evaluate_env

        arguments = {} if env_kwargs is None else json_object(env_kwargs, "--env-kwargs")
        found_there = evaluate_env(
            run,
            env,
            episodes=episodes,
            seed=seed,
            success=success,
            max_steps=max_steps,
            env_kwargs=arguments,
            which=policy,
            progress=progress,
        )
        show_environment(found_there)
        what_next(run / "evaluation.json", _next("compare", run) + " OTHER_RUN")
        return
    if env_kwargs is not None or success is not None or max_steps is not None:
        raise InputError("--env-kwargs, --success and --max-steps are of an environment; give --env too")

    from manyways.cli.tables import show_evaluation
    from manyways.runs import workflow
    from manyways.runs.inputs import require_task
    from manyways.runs.run import Run

    opened = Run.open(run)
    found = workflow.evaluate(opened, episodes=episodes, seed=seed, policy=policy, weights=weights, progress=progress)
    show_evaluation(*found, require_task(opened), opened.names if found[1] is not None else {})
    what_next(opened.evaluation_file, _next("report", run))


def name(
    run: Path,
    code: Annotated[int | None, _optional, tyro.conf.arg(metavar="[CODE]")] = None,
    name: Annotated[str | None, _optional, tyro.conf.arg(metavar="[NAME]")] = None,
    /,
    *,
    remove: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Give a code a name, by which Python, the tables and the page call it; without CODE, list the names.

    Args:
        run: Folder of a finished run.
        code: Index of the code.
        name: What to call it.
        remove: Take the name away.
    """
    from manyways.cli.tables import show_counts
    from manyways.policies.modes import named, read_names
    from manyways.runs.run import Run

    opened = Run.open(run)
    names = opened.names
    if code is not None:
        if (name is None) != remove:
            raise InputError(f"code {code} needs either a name or --remove; give one of them")
        names = named(names, code, name, len(read_names(run)[1]))
        opened.set_names(names)
    elif not opened.has_policy:
        opened.set_names({})  # which says why it cannot
    show_counts(read_names(run)[1], names)


def compare(runs: tuple[Path, ...], /, *, out: Path = Path("comparison")) -> None:
    """Put several runs side by side: held-out loss, agreement with labels, and what their rollouts achieved.

    Writes the table as OUT.json and one picture as OUT.png. Rollouts come from `manyways evaluate`.

    Args:
        runs: Folders of two or more finished runs.
        out: Files to write, without their suffixes.
    """
    from manyways.runs.run import Run

    opened = [Run.open(run) for run in runs]  # before what takes seconds to import

    from manyways.cli.console import progress, say
    from manyways.cli.tables import show_comparison
    from manyways.files import write_json
    from manyways.runs.comparison import compare as compare_runs
    from manyways.runs.provenance import provenance
    from manyways.visual import figures
    from manyways.visual.comparison import draw_comparison

    lines = compare_runs(opened, progress=progress)
    show_comparison(lines)
    write_json(out.with_name(out.name + ".json"), {"runs": [x.to_json() for x in lines], "provenance": provenance()})
    figure = draw_comparison(lines)
    if figure is not None:
        figures.save(figure, out.with_name(out.name + ".png"))
    say(f"Wrote {out}.json" + (f" and {out}.png" if figure is not None else ""))


def report(run: Path, /, *, data: Annotated[str | None, _optional] = None, weights: OptionalPath = None) -> None:
    """Write RUN/report.html: demonstrations, modes and all numbers on one interactive page that needs no network.

    Args:
        run: Folder of a finished run; evaluated first if it is on a task and has not been.
        data: Demonstrations; those that the run was trained on unless given.
        weights: Folder of the expert to compare with; that of the run, or the one that ships, unless given.
    """
    from manyways.runs.run import Run

    opened = Run.open(run)  # before what takes seconds to import

    from manyways.cli.console import progress, what_next
    from manyways.visual.report import report as write_report

    path = write_report(opened, data=data, weights=weights, progress=progress)
    what_next(path, f"open {shlex.quote(str(path))} in a browser")


def export(run: Path, out: Path, /, *, policy: Which = None) -> None:
    """Write the policy as ONNX: observation, code and window in, action or chunk out, all in real units.

    Args:
        run: Folder of a finished run, or of a policy.
        out: File to write, which ends in .onnx.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
    """
    from manyways.cli.console import progress, say
    from manyways.runs.starting import earlier_policy

    chosen = earlier_policy(run, policy)
    with progress.section("exporting"):
        chosen.export(out)
    say(f"Wrote {out}")


def push(run: Path, name: str, /, *, private: bool = False, policy: Which = None) -> None:
    """Upload the policy to the Hugging Face Hub, with a card of its modes, its numbers and its pictures.

    Numbers and pictures are those that `manyways modes`, `evaluate` and `report` have left in the folder.

    Args:
        run: Folder of a finished run.
        name: USER/NAME on the Hub.
        private: Whether a new one is private.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
    """
    from manyways.cli.console import progress, say
    from manyways.runs.sharing import push as push_run

    with progress.section("uploading"):
        address = push_run(run, name, private=private, policy=policy)
    say(f"Uploaded to {address}")


def film(run: Path, /, *, out: OptionalPath = None, seconds: float = 8.0, seed: int = 0, policy: Which = None) -> None:
    """Film one episode under every code, as RUN/films/code-N.mp4; without codes, one episode.

    Of continuous codes, each dimension is taken at 10%, 50% and 90% of the prior while the others are in the middle.

    Args:
        run: Folder of a finished run on a task.
        out: Folder of the films; RUN/films unless given.
        seconds: Of simulated time at most.
        seed: Of the environment.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
    """
    from manyways.runs.inputs import require_task
    from manyways.runs.run import Run

    opened = Run.open(run)  # before what takes seconds to import
    require_task(opened)

    from manyways.cli.console import progress, say
    from manyways.visual.run_films import film as film_run

    for path in film_run(opened, out=out, seconds=seconds, seed=seed, policy=policy, progress=progress):
        say(f"Wrote {path}")


def robustness(
    run: Path,
    /,
    *,
    random_actions: float = 0.2,
    episodes: int = 100,
    seed: int = 0,
    policy: Which = None,
    weights: OptionalPath = None,
) -> None:
    """Disturb the policy, and write RUN/robustness.json and RUN/switching.png (Figures 6 and 7).

    Once some actions are random; once the code is switched inside each rollout, through all codes in random order.

    Args:
        run: Folder of a finished run on a task with a list of modes.
        random_actions: Share of the actions that are random.
        episodes: How many rollouts of each kind.
        seed: Of the environments and of what is random.
        policy: The best that was evaluated during training, or the last; the best unless given, where there are two.
        weights: Folder of the task's expert; that of the run, or the one that ships, unless given.
    """
    from manyways.runs.inputs import require_task
    from manyways.runs.run import Run

    opened = Run.open(run)  # before what takes seconds to import
    task = require_task(opened, weights)

    from manyways.cli.console import progress, say, what_next
    from manyways.cli.tables import show_robustness
    from manyways.runs import workflow
    from manyways.visual.trajectories import draw_switching

    disturbed, switching = workflow.robustness(
        opened,
        random_actions=random_actions,
        episodes=episodes,
        seed=seed,
        policy=policy,
        weights=weights,
        progress=progress,
    )
    show_robustness(disturbed, switching)
    picture = draw_switching(opened, task, disturbed, switching)
    say(f"Wrote {run / 'robustness.json'}")
    what_next(picture, _next("film", run))


def json_object(text: str, option: str) -> dict[str, Any]:
    """Return what an option says as JSON.

    Raises:
        InputError: it is no object.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{option} is {text!r}, which is no JSON ({error}); give an object, such as " + "{}") from None
    if not isinstance(value, dict):
        raise InputError(f"{option} is {text!r}; give an object, such as " + '{"render_mode": "rgb_array"}')
    return value


def _next(command: str, run: Path) -> str:
    return f"manyways {command} {shlex.quote(str(run))}"
