"""What one does with a run, each in one call: train, find codes, evaluate, disturb.

The command line and the benchmarks call these functions and have no logic of their own. They write their files into the
run's folder, return what they found, and print nothing: `Progress` receives what they say on their way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyways.algorithms.defaults import require_few_codes
from manyways.errors import InputError
from manyways.files import write_json
from manyways.networks.encoder_names import find as find_encoder
from manyways.policies.modes import from_json, to_json
from manyways.runs.codes import Codes, find_codes, with_held_out
from manyways.runs.inputs import (
    load_data,
    require_task,
    resolve_demonstrations,
    resolve_mode_count,
    resolve_prior,
    resolve_task,
)
from manyways.runs.lock import training_in
from manyways.runs.loggers import Logger, make_loggers, require_loggers
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run, Which, require_room
from manyways.runs.starting import earlier_policy, origin, take_names

if TYPE_CHECKING:
    from torch import nn

    from manyways.demonstrations import Demonstrations, Edits, Selection
    from manyways.evaluation import ContinuousEvaluation, Coverage, Disturbed, Evaluation, Switching
    from manyways.policies.policy import Policy
    from manyways.runs.loop import Callback
    from manyways.tasks import Task


def train(
    settings: Any,
    out: str | Path,
    *,
    data: "str | Path | Demonstrations | None" = None,
    task: "str | Task | None" = None,
    modes: int | Literal["auto"] | None = None,
    code_size: int | None = None,
    weights: str | Path | None = None,
    selection: "Selection | None" = None,
    edits: "str | Path | Edits | Mapping[str, Any] | None" = None,
    init: "str | Path | Run | Policy | None" = None,
    names_from: "str | Path | Run | Policy | None" = None,
    loggers: Sequence[str | Logger] = ("tensorboard",),
    callback: "Callback | None" = None,
    progress: Progress = SILENT,
    command: str | None = None,
) -> Run:
    """Train into a run's folder, or go on where a run of the same settings and data stopped.

    Args:
        settings: of an algorithm, such as `SOGBC()`; without a `prior` it gets one from the next four arguments.
        out: folder of the run: new, empty, or that of the same run.
        data: demonstrations, or where they are (`Demonstrations.load`); the task's own unless given, which are
            collected on first use.
        task: to evaluate in, and to train in where the algorithm runs environments.
        modes: how many codes, or "auto" to count the modes in the demonstrations; a task's own number unless given.
        code_size: dimensions of a continuous code, instead of `modes`.
        weights: folder of the task's expert; the one that ships unless given.
        selection: which columns and episodes of the data to take; those of its format unless given.
        edits: names, exclusions, labels and pairs, or their file, as the page of `manyways explore` saves it.
        init: an earlier run, or a policy, of the same architecture to start from; modes keep their codes and names.
            What the settings leave open of its architecture is its own.
        names_from: an earlier run, whose names the modes get that have its demonstrations: see `Policy.take_names`.
        loggers: names (`LOGGERS`) and objects of one's own; metrics.jsonl is always written.
        callback: called with the training after each iteration; returns False to end it there, with the policy so far.
        progress: receives what is said on the way.
        command: how a person does it again; what this process was started with unless given.

    Raises:
        InputError: something that was given cannot be used, or another process trains in this folder.
        KeyboardInterrupt: the user interrupted; the same call goes on from there.
        WriteError: the system refused to write; the same call goes on from the last checkpoint.
    """
    from manyways.demonstrations import Edits, Selection
    from manyways.runs.loop import resume, train_to_end
    from manyways.runs.provenance import data_fingerprint, provenance

    if not hasattr(settings, "start"):
        raise InputError(f"the algorithm is {settings!r}; give its settings, such as manyways.SOGBC()")
    out = Path(out)
    require_room(out)
    require_loggers(loggers)
    if isinstance(encoder := getattr(settings, "encoder", None), str):
        find_encoder(encoder)  # before PyTorch is imported
    chosen, decided = resolve_task(task, weights), Edits.read(edits or {})
    first_policy = None if init is None else earlier_policy(init)
    named = first_policy if names_from is None else earlier_policy(names_from)
    if first_policy is not None:
        settings = _like(settings, first_policy, modes, code_size)
    if names_from is not None and not (settings.has_codes and named and named.discrete_prior):
        raise InputError(f"{settings.name} has no codes, so there is nothing to name; leave out names_from")
    source, demonstrations, taken = resolve_demonstrations(
        settings, data, chosen, progress, selection or Selection(), decided
    )
    if named is not None:
        named.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
    if settings.has_codes:
        demonstrations = decided.labelled(demonstrations)
    elif decided.names or decided.labels or decided.same or decided.different:
        progress.warn(f"{settings.name} has no codes, so the names, labels and pairs of the edits are not used")
    name = task if isinstance(task, str) else task.name if task is not None else None
    with training_in(out):
        prior, mode_count = getattr(settings, "prior", None), None
        if settings.has_codes and prior is None:
            if modes == "auto" and code_size is None:
                mode_count = resolve_mode_count(demonstrations, out, settings.seed, progress)
                labels = demonstrations.labels  # which are numbers of codes
                modes = max(mode_count["best"], 0 if labels is None else 1 + int(labels.max()))
            prior = resolve_prior(chosen, modes, code_size)
            settings = replace(settings, prior=prior)
            require_few_codes(prior, demonstrations)  # before PyTorch is imported
        elif modes is not None or code_size is not None:
            problem = "has its prior already" if settings.has_codes else "has no codes to choose from"
            raise InputError(f"{settings.name} {problem}; leave out modes and code_size")
        names: dict[int, str] = {}
        if settings.has_codes and edits is not None:
            decided.require_codes(getattr(settings.prior, "size", None))
            names = from_json(decided.names, getattr(settings.prior, "size", 0))
        environment = None
        if settings.runs_environments:
            assert chosen is not None
            environment = chosen.make_vec(settings.environments)
        try:
            with progress.section("getting ready"):
                learned = demonstrations
                if first_policy is not None:
                    from manyways.algorithms.from_policy import as_learned_by  # it imports PyTorch

                    learned = as_learned_by(first_policy, demonstrations)
                training = settings.start(learned, environment)
                if first_policy is not None:
                    training.start_from(first_policy)
            # Those of the training say what followed from the demonstrations.
            resolved = getattr(training, "settings", None)
            known = resolved if isinstance(resolved, type(settings)) else settings
            config = {
                "algorithm": settings.name,
                "settings": known.to_json(),
                "task": name,
                "weights": None if weights is None else str(Path(weights).resolve()),
                "data": source,
                **({"selection": taken.to_json()} if taken.to_json() else {}),
                **({} if edits is None else {"edits": decided.to_json()}),
                "mode_count": mode_count,
                **origin(init, first_policy),
                "provenance": provenance(
                    seeds=[settings.seed],
                    budget={"iterations": training.iterations},
                    data=data_fingerprint(demonstrations),
                    task=chosen,
                    command=command,
                ),
            }
            run = Run.create(out, config)
            run.encoder = _module(settings)
            resume(run, training)
            progress.say(
                f"{run.title}: {len(demonstrations):,} trajectories, {demonstrations.steps:,} steps; "
                f"{prior or 'no codes'}; {training.iterations:,} iterations{_plans(resolved)}"
            )
            evaluator = _evaluator(chosen, demonstrations, source, taken) if environment is not None else None
            written = make_loggers(loggers, out, training.iteration + 1, run.title, config)
            groups = init is None and getattr(settings, "init", None) == "clusters"
            first = "grouping trajectories" if groups and not training.iteration else ""
            train_to_end(run, training, written, evaluator, callback, progress, first)
            if names:
                own = run.names  # given since then
                run.set_names({code: name for code, name in names.items() if name not in own.values()} | own)
            if named is not None:
                take_names(run, named, demonstrations, progress, aligned=named is first_policy)
        finally:
            if environment is not None:
                environment.close()
    return run


def _like(settings: Any, policy: "Policy", modes: Any, code_size: int | None) -> Any:
    """Return the settings with what they leave open of a policy's architecture; codes that are asked for stay open."""
    from manyways.algorithms.from_policy import like

    filled = like(settings, policy)
    asked = settings.has_codes and settings.prior is None and (modes is not None or code_size is not None)
    return replace(filled, prior=None) if asked else filled


def _plans(settings: Any) -> str:
    """Return what a policy sees and plans, in words; nothing for one observation and one action."""
    history, horizon = getattr(settings, "history", None) or 1, getattr(settings, "horizon", None) or 1
    if history == horizon == 1:
        return ""
    does = "does the mean of its plans"
    if getattr(settings, "ensemble", "off") == "off":
        does = f"does {settings.window()['executed']}"
    return f"; sees {history} observations, plans {horizon} actions, {does}"


def _module(settings: Any) -> "nn.Module | None":
    """Return the encoder of the settings if it is a module, which a file cannot hold."""
    encoder = getattr(settings, "encoder", None)
    return None if isinstance(encoder, str) else encoder


def modes(
    run: "str | Path | Run",
    *,
    data: "str | Path | None" = None,
    selection: "Selection | None" = None,
    out: str | Path | None = None,
    policy: Which | None = None,
    progress: Progress = SILENT,
) -> Codes:
    """Find the code of every trajectory, write modes.json, and score the codes by labels, if there are any.

    Beside that stands what to look at: see `manyways.demonstrations.suspects`.

    Args:
        run: finished, of an algorithm with codes.
        data: demonstrations; those of the run unless given.
        selection: which columns and episodes to take; the columns of the run unless given, and the episodes of the run
            of its own data.
        out: the file to write; RUN/modes.json unless given.
        policy: the best that was evaluated on the way, or the last; the best unless given, where there is one.
        progress: receives what is said on the way.

    Raises:
        InputError: the run is not finished, its algorithm has no codes, or the data cannot be used.
        WriteError: the system refused to write.
    """
    from manyways.demonstrations.suspects import find_suspects

    run = _opened(run)
    if not run.has_policy or (data is None and run.config["data"] is None):
        run.coded_policy(policy)  # which says first if there is none, or none with codes
    source, demonstrations, labels = load_data(run, data, selection)  # needs no PyTorch
    chosen = run.coded_policy(policy)
    with progress.section("searching the trajectories' codes"):
        found = find_codes(chosen, demonstrations, labels)
        found = replace(found, suspects=find_suspects(demonstrations, found.encoding.losses))
    if data is None and (selection is None or not selection.to_json()):
        found = with_held_out(run, chosen, found, demonstrations)
    about = {"run": str(run.path), "data": source}
    write_json(Path(out or run.path / "modes.json"), about | found.to_json() | _provenance(run, demonstrations))
    return found


def evaluate(
    run: "str | Path | Run",
    *,
    episodes: int = 100,
    seed: int = 0,
    policy: Which | None = None,
    weights: str | Path | None = None,
    progress: Progress = SILENT,
) -> "tuple[Evaluation | ContinuousEvaluation | Coverage, Coverage | None]":
    """Roll the policy out and write evaluation.json.

    Discrete codes are matched to modes; beside that stands which modes rollouts are of when nobody chooses the code. Of
    continuous codes, those of demonstrations are rolled out, and codes drawn from the prior. Of a policy without codes
    there is what its rollouts are of.

    Args:
        run: finished, on a task.
        episodes: how many rollouts, spread evenly over the codes; ten times as many of drawn continuous codes.
        seed: of the environments.
        policy: the best that was evaluated on the way, or the last; the best unless given, where there is one.
        weights: folder of the expert to compare with; that of the run, or the one that ships, unless given.
        progress: receives what is said on the way.

    Returns:
        The evaluation, and the coverage of a policy with discrete codes beside it.

    Raises:
        InputError: the run is not finished or has no task, or codes and modes do not fit each other.
        WriteError: the system refused to write.
    """
    run = _opened(run)
    task = require_task(run, weights, f"give one with `manyways evaluate {run.path} --env ID`")

    from manyways.evaluation import evaluate as evaluate_codes
    from manyways.evaluation import evaluate_continuous, evaluate_coverage, steps_to_evaluate
    from manyways.latents import Categorical

    chosen = run.policy(policy)
    evaluation: Evaluation | ContinuousEvaluation | Coverage
    coverage = demonstrations = None
    if chosen.prior is None:
        with progress.section(f"{episodes} rollouts", 2 * task.episode_steps, "steps") as update:
            evaluation = evaluate_coverage(chosen, task, episodes, seed, update)
    elif isinstance(chosen.prior, Categorical):
        with progress.section(f"{episodes} rollouts, twice", 4 * task.episode_steps, "steps") as update:
            evaluation = evaluate_codes(chosen, task, episodes, seed, update)
            coverage = evaluate_coverage(chosen, task, episodes, seed, update)
    else:
        source, demonstrations, labels = load_data(run, None)
        if labels is None:
            raise InputError(f"{source} has no labels to score against; evaluate a run on `manyways collect` data")
        with progress.section(f"{11 * episodes} rollouts", steps_to_evaluate(task, episodes), "steps") as update:
            evaluation = evaluate_continuous(chosen, task, demonstrations, labels, episodes, seed, update)
    result = {"task": run.config["task"], "algorithm": run.config["algorithm"], "seed": run.seed}
    result |= {"names": to_json(chosen.names)} if chosen.names else {}
    result |= evaluation.to_json() | ({} if coverage is None else {"coverage": coverage.to_json()})
    if run.best is not None:
        result |= {"policy": policy or "best", "best": run.best}
    write_json(run.evaluation_file, result | _provenance(run, demonstrations, task, [seed]))
    return evaluation, coverage


def robustness(
    run: "str | Path | Run",
    *,
    random_actions: float = 0.2,
    episodes: int = 100,
    seed: int = 0,
    policy: Which | None = None,
    weights: str | Path | None = None,
    progress: Progress = SILENT,
) -> "tuple[Disturbed, Switching]":
    """Disturb the policy and write robustness.json: some actions random; and codes switched inside each rollout.

    Args:
        run: finished, on a task with a list of modes, of an algorithm with codes.
        random_actions: share of the actions that are random.
        episodes: how many rollouts of each kind.
        seed: of the environments and of what is random.
        policy: the best that was evaluated on the way, or the last; the best unless given, where there is one.
        weights: folder of the task's expert; that of the run, or the one that ships, unless given.
        progress: receives what is said on the way.

    Raises:
        InputError: the run is not finished, has no task or no discrete codes.
        WriteError: the system refused to write.
    """
    run = _opened(run)
    task = require_task(run, weights)

    from manyways.evaluation import with_random_actions, with_switched_codes

    chosen = run.coded_policy(policy)
    with progress.section(f"{episodes} rollouts, twice", 2 * task.episode_steps, "steps") as update:
        disturbed = with_random_actions(chosen, task, random_actions, episodes, seed, update)
        switching = with_switched_codes(chosen, task, disturbed.assignment, episodes, seed, update)
    result = {"random_actions": disturbed.to_json(), "switching": switching.to_json()}
    write_json(run.path / "robustness.json", result | _provenance(run, None, task, [seed]))
    return disturbed, switching


def _opened(run: "str | Path | Run") -> Run:
    return run if isinstance(run, Run) else Run.open(Path(run))


def _evaluator(
    task: "Task | None", demonstrations: "Demonstrations", source: str | None, selection: "Selection"
) -> Any:
    """Return what evaluates policies on the way."""
    from manyways.demonstrations import load_modes
    from manyways.evaluation import PolicyEvaluator

    assert task is not None
    return PolicyEvaluator(task, demonstrations, None if source is None else load_modes(source, selection))


def _provenance(
    run: Run, demonstrations: "Demonstrations | None", task: "Task | None" = None, seeds: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the provenance of a result on this run."""
    from manyways.runs.provenance import data_fingerprint, provenance

    last = run.metrics()[-1]
    budget = {"iterations": int(last["iteration"]), "environment_steps": int(last.get("environment_steps", 0))}
    data = run.config["provenance"]["data"] if demonstrations is None else data_fingerprint(demonstrations)
    return {"provenance": provenance(seeds=[run.seed, *seeds], budget=budget, data=data, task=task)}
