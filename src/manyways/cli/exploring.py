"""The command `manyways explore`: the interactive page of a run, or of demonstrations by way of a short training."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from manyways.cli.arguments import DataOptions, Taken
from manyways.cli.runs import json_object
from manyways.errors import InputError

if TYPE_CHECKING:
    from manyways.runs.run import Run
    from manyways.visual.live import Live

_optional = tyro.conf.arg(help_behavior_hint="(optional)")


def explore(
    source: str,
    /,
    *,
    modes: Annotated[int | Literal["auto"] | None, _optional] = None,
    out: Annotated[Path | None, _optional] = None,
    iterations: int = 300,
    taken: Taken = DataOptions(),  # noqa: B008 (it is frozen)
    serve: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    port: int = 0,
    env: Annotated[str | None, _optional] = None,
    env_kwargs: Annotated[str | None, _optional, tyro.conf.arg(metavar="JSON")] = None,
) -> None:
    """Write RUN/explore.html: every demonstration as a line, modes in words, what to look at; to name and to clean.

    It is the page of `manyways report`, without new rollouts. It needs no network. It saves what you decide as
    edits.json, which `manyways train --edits` takes.

    Args:
        source: Folder of a finished run; or demonstrations, on which SOG-BC is trained briefly first.
        modes: For demonstrations: how many codes, or auto to count the modes; auto unless given.
        out: For demonstrations: folder of the run; runs/NAME, by the name of the data, unless given.
        iterations: For demonstrations: gradient steps; few are enough to see the modes.
        taken: For demonstrations: what to take of them.
        serve: Show the page on this machine alone, where it saves edits.json into the run's folder, until interrupted.
        port: To listen on; a free one unless given.
        env: With --serve: environment to run live beside the page, a Gymnasium id or MODULE:FACTORY that renders; that
            of the run's task unless given, where there is one.
        env_kwargs: Arguments of the environment as JSON.
    """
    folder = Path(source)
    is_run = (folder / "config.json").is_file() and not (folder / "meta" / "info.json").is_file()
    if is_run and (modes is not None or out is not None or taken.words()):
        raise InputError(f"{source} is a run already; leave out --modes, --out and what is to be taken of data")
    if not 0 <= port < 65_536:
        raise InputError(f"the port is {port}; give one from 1 to 65535, or 0 for a free one")

    if not serve and (env is not None or env_kwargs is not None):
        raise InputError("an environment runs beside a page that is served; give --serve too")
    arguments = {} if env_kwargs is None else json_object(env_kwargs, "--env-kwargs")

    from manyways.cli.console import progress, say, what_next
    from manyways.runs.run import Run

    if is_run:
        run = Run.open(folder)
    else:
        out = out or Path("runs") / folder.name.partition(".")[0]
        run = _trained(source, out, "auto" if modes is None else modes, iterations, taken)

    from manyways.visual.report import explore as write_page

    path = write_page(run, progress=progress)
    if not serve:
        what_next(path, f"open {shlex.quote(str(path))} in a browser")
        return
    from manyways.visual.serving import Server

    with Server(run, port, progress=progress, live=_live(run, env, arguments)) as server:
        say(f"Wrote {path}")
        say(f"Open {server.address} in a browser on this machine; end with Ctrl-C")
        server.run()


def _live(run: "Run", env: str | None, env_kwargs: dict[str, Any]) -> "Live | None":
    """Return the simulator to show; None where there is no environment, or there are no codes."""
    from manyways.runs.inputs import task_of
    from manyways.visual.live import Live

    if env is not None:
        return Live.of(run.coded_policy(), env, env_kwargs, env)
    policy, task = run.policy(), task_of(run)
    return None if task is None or policy.prior is None else Live.of(policy, task.make, env_kwargs, task.name)


def _trained(source: str, out: Path, modes: int | Literal["auto"], iterations: int, taken: DataOptions) -> "Run":
    from manyways.algorithms.settings import SOGBC
    from manyways.cli.console import progress
    from manyways.runs import workflow

    command = f"manyways train {shlex.quote(source)}{taken.words()} --modes {modes} --out {shlex.quote(str(out))}"
    settings = SOGBC(iterations=iterations)
    chosen: dict[str, Any] = {"data": source, "modes": modes, "selection": taken.selection(), "command": command}
    return workflow.train(settings, out, loggers=(), progress=progress, **chosen)
