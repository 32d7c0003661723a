"""The command `manyways train`: the options are those of the algorithm that was chosen."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import tyro

DEFAULT = "sog-bc"


def train(arguments: Sequence[str]) -> None:
    """Run `manyways train ALGORITHM ...`; without an algorithm, DEFAULT trains.

    Args:
        arguments: what stands behind `manyways train`.
    """
    from manyways.algorithms import get_algorithm

    if arguments and arguments[0] in ("-h", "--help"):
        _show_help()
        return
    first = arguments[0] if arguments else ""
    if not first or first.startswith("-") or _is_data(first):
        name, rest = DEFAULT, list(arguments)
    else:
        name, rest = first, list(arguments[1:])
    _train(name, get_algorithm(name), rest)


def _is_data(argument: str) -> bool:
    """Whether an argument is demonstrations rather than an algorithm."""
    from manyways.demonstrations.formats import SUFFIXES

    return argument.lower().endswith(SUFFIXES) or "/" in argument or Path(argument).exists()


def _show_help() -> None:
    from manyways.algorithms import algorithm_names, get_algorithm
    from manyways.cli.tables import show_algorithms

    print("usage: manyways train [ALGORITHM] [DATA] --out RUN [OPTIONS]\n")
    print("Learn a policy with a code for each mode; a run that was stopped goes on when the same command is given")
    print(f"again. Without ALGORITHM, {DEFAULT} trains. An algorithm of your own is MODULE:CLASS.\n")
    show_algorithms([get_algorithm(name) for name in algorithm_names()])


def _train(name: str, settings_class: type, arguments: list[str]) -> None:
    from manyways.cli.arguments import command_class, settings_from, start_of

    chosen = tyro.cli(command_class(settings_class), prog=f"manyways train {name}", args=arguments)
    settings = settings_from(settings_class, chosen)

    from manyways.cli.console import progress, say, what_next
    from manyways.cli.tables import show_codes_found
    from manyways.runs import workflow

    run = workflow.train(
        settings,
        chosen.out,
        data=chosen.data,
        selection=chosen.taken.selection(),
        edits=chosen.edits,
        task=chosen.task,
        modes=getattr(chosen, "modes", None),
        code_size=getattr(chosen, "code_size", None),
        weights=chosen.weights,
        init=start_of(settings_class, chosen),
        names_from=getattr(chosen, "names_from", None),
        loggers=chosen.loggers,
        progress=progress,
        command=shlex.join(["manyways", *sys.argv[1:]]),
    )
    show_codes_found(run.policy())
    say(f"{run.metrics()[-1]['seconds']:.0f} s of training")
    if "tensorboard" in chosen.loggers:
        say(f"Its curves: tensorboard --logdir {shlex.quote(str(run.path))}")
    if run.best is not None:
        say(
            f"best iteration {run.best['iteration']:,}, after {run.best['environment_steps']:,} environment steps: "
            f"mean return {run.best['return_mean']:.1f}; kept in {run.path / 'best'}, the last beside it in {run.path}"
        )
    step = "evaluate" if chosen.task else "modes" if run.policy().prior is not None else "report"
    what_next(run.path / "policy.safetensors", f"manyways {step} {shlex.quote(str(run.path))}")
