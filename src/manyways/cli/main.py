"""The command `manyways`: arguments to calls, nothing more."""

import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from manyways.cli.reproduce import app as reproduce
from manyways.errors import InputError, ManywaysError

if TYPE_CHECKING:
    from manyways.demonstrations import Demonstrations
    from manyways.evaluation import ContinuousEvaluation, Coverage, Evaluation
    from manyways.latents import Prior
    from manyways.policies.policy import Policy
    from manyways.runs.run import Run
    from manyways.tasks import Task

app = tyro.extras.SubcommandApp()
expert = tyro.extras.SubcommandApp()

_PATHS_SHOWN = 8  # with switched codes, in one picture

# A setting that is left out; what that means stands in the help instead of "None".
_algorithms_own = tyro.conf.arg(help_behavior_hint="(default: the algorithm's own)")
_optional = tyro.conf.arg(help_behavior_hint="(optional)")


def main() -> None:
    """Run the command line; exit with 2 where the user can mend what went wrong, with 130 when interrupted."""
    sys.path.append(str(Path.cwd()))  # where a task of one's own, module:ATTRIBUTE, may be
    try:
        app.cli(
            prog="manyways",
            description=(
                "Learns every way a task is done from demonstrations that nobody labelled, "
                "and gives back one policy with a code that selects the way."
            ),
            config=(tyro.conf.DisallowNone,),
        )
    except ManywaysError as error:
        # One line, whatever the library underneath had to say.
        print(f"manyways: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("manyways: interrupted; run the same command again to go on", file=sys.stderr)
        raise SystemExit(130) from None


@app.command
def tasks() -> None:
    """List the tasks with their modes, sizes, lengths and experts."""
    from manyways.cli.console import show_tasks
    from manyways.tasks import get_task, task_names

    show_tasks([get_task(name) for name in task_names()])


@app.command
def collect(
    task: str,
    /,
    *,
    out: Path,
    episodes: Annotated[int | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    noise: Annotated[float | None, _optional] = None,
    seed: int = 0,
) -> None:
    """Collect demonstrations of a task's expert, as a Minari data set.

    Args:
        task: Name of the task, such as circles.
        out: Folder of the data set; must not exist yet, or be empty.
        episodes: How many; the task's own number unless given.
        weights: Folder of an expert's training; the expert that came with manyways unless given.
        noise: Standard deviation of what disturbs the expert's actions, in halves of their range; the task's own
            unless given.
        seed: Of the modes, the environment and the noise.
    """
    from manyways.cli.console import what_next

    chosen = _task_with(task, weights)
    _collect(chosen, chosen.demonstrations if episodes is None else episodes, out, seed, noise)
    what_next(out, f"manyways inspect {shlex.quote(str(out))}")


@app.command
def inspect(path: str, /) -> None:
    """Show what is in a data set: counts, lengths, ranges, constant and non-finite columns.

    Args:
        path: An NPZ file, the folder of a Minari data set, or the id of a local one.
    """
    import numpy as np

    from manyways.cli.console import say, show_summary
    from manyways.demonstrations import Demonstrations, load_modes, summarise
    from manyways.demonstrations.formats import read

    demonstrations = Demonstrations(*read(path))  # without asking that all is finite, which is shown instead
    labels = load_modes(path)
    show_summary(summarise(demonstrations), path, None if labels is None else len(np.unique(labels, axis=0)))
    say(f"Next: manyways train --data {shlex.quote(path)} --modes K --out RUN")


@app.command
def train(
    *,
    out: Path,
    task: Annotated[str | None, _optional] = None,
    data: Annotated[str | None, _optional] = None,
    modes: Annotated[int | Literal["auto"] | None, _optional] = None,
    code_size: Annotated[int | None, _optional] = None,
    algorithm: str = "sog-bc",
    seed: int = 0,
    total_steps: Annotated[int | None, _algorithms_own] = None,
    environments: Annotated[int | None, _algorithms_own] = None,
    steps_per_update: Annotated[int | None, _algorithms_own] = None,
    pretraining: Annotated[int | None, _algorithms_own] = None,
    lambda_s: Annotated[float | None, _algorithms_own] = None,
    lambda_i: Annotated[float | None, _algorithms_own] = None,
    discriminator_learning_rate: Annotated[float | None, _algorithms_own] = None,
    gradient_penalty: Annotated[float | None, _algorithms_own] = None,
    target_kl: Annotated[float | None, _algorithms_own] = None,
    random_actions: Annotated[float | None, _algorithms_own] = None,
    switch_codes: Annotated[float | None, _algorithms_own] = None,
    iterations: Annotated[int | None, _algorithms_own] = None,
    learning_rate: Annotated[float | None, _algorithms_own] = None,
    trajectories_per_batch: Annotated[int | None, _algorithms_own] = None,
    steps_per_trajectory: Annotated[int | None, _algorithms_own] = None,
    hidden: Annotated[int | None, _algorithms_own] = None,
    first_codes: Annotated[Literal["trajectories", "random"] | None, _algorithms_own] = None,
    candidates: Annotated[int | None, _algorithms_own] = None,
    block: Annotated[int | None, _algorithms_own] = None,
    rounds: Annotated[int | None, _algorithms_own] = None,
    device: Annotated[str | None, _algorithms_own] = None,
) -> None:
    """Learn a policy with a code for each way; a run that was stopped goes on when the same command is given again.

    Settings left out are the algorithm's own.

    Args:
        out: Folder of the run: new, empty, or that of the same run.
        task: Task to train on and evaluate in, such as circles; its expert's demonstrations are collected on first use.
        data: Own demonstrations instead: an NPZ file, the folder of a Minari data set, or the id of a local one.
        modes: How many codes, or auto to count the ways in the demonstrations; a task's own number unless given.
        code_size: Numbers of a continuous code, instead of modes; as many as a task's continuous modes unless given.
        algorithm: sog-bc, bc, mdn, bet or diffusion, which learn from demonstrations alone; sog-gail, gail, infogail or
            vae-gail, which also run the task's environment.
        seed: Of everything random.
        total_steps: Environment steps.
        environments: How many are run at once.
        steps_per_update: Steps of each between two updates.
        pretraining: Gradient steps of behaviour cloning before the environments are run.
        lambda_s: Weight of the demonstrations' squared error beside PPO's loss (sog-gail).
        lambda_i: Weight of the posterior's log-likelihood in the reward (infogail).
        discriminator_learning_rate: Of its Adam.
        gradient_penalty: Weight of the discriminator's gradient penalty.
        target_kl: How far an update may move the policy.
        random_actions: Share of the actions in rollouts that are random, for a policy that is harder to disturb.
        switch_codes: Probability at each step that a rollout's code changes, for a policy that goes from way to way.
        iterations: Gradient steps, of algorithms that learn from demonstrations alone.
        learning_rate: At the start; falls to 0 linearly.
        trajectories_per_batch: Trajectories in a gradient step.
        steps_per_trajectory: Steps of each, by which its code is chosen.
        hidden: Width of the network; sog-bc takes 128, and 256 where a state has more numbers than that.
        first_codes: Start from groups of similar trajectories, or at random as the paper does.
        candidates: Samples of the prior that are tried for each block of a continuous code.
        block: Numbers of a continuous code that are searched together.
        rounds: Of the search over all blocks.
        device: Such as cpu or cuda; auto takes a GPU where there is one.
    """
    from manyways.algorithms import get_algorithm
    from manyways.algorithms.adversarial.loop import Adversarial
    from manyways.cli.console import say, what_next
    from manyways.demonstrations import Demonstrations
    from manyways.latents import Categorical
    from manyways.runs.run import Run
    from manyways.search import Search
    from manyways.tasks import get_task

    chosen = get_task(task) if task else None
    settings_class = get_algorithm(algorithm)
    if chosen is None and data is None:
        raise InputError("there is nothing to learn from; give --task NAME or --data PATH")
    runs_environments = issubclass(settings_class, Adversarial)
    if runs_environments and chosen is None:
        raise InputError(
            f"{algorithm} runs the environment, so it needs --task NAME; --algorithm sog-bc needs data alone"
        )
    has_codes = _has_codes(settings_class)
    if not has_codes and (modes is not None or code_size is not None):
        raise InputError(f"{algorithm} has no codes to choose from; leave out --modes and --code-size")
    counted = modes == "auto" and code_size is None
    prior = None if counted or not has_codes else _prior(chosen, modes, code_size)
    given = {
        "total_steps": total_steps,
        "environments": environments,
        "steps_per_update": steps_per_update,
        "pretraining": pretraining,
        "lambda_s": lambda_s,
        "lambda_i": lambda_i,
        "discriminator_learning_rate": discriminator_learning_rate,
        "gradient_penalty": gradient_penalty,
        "target_kl": target_kl,
        "random_actions": random_actions,
        "switch_codes": switch_codes,
        "iterations": iterations,
        "learning_rate": learning_rate,
        "trajectories_per_batch": trajectories_per_batch,
        "steps_per_trajectory": steps_per_trajectory,
        "hidden": hidden,
        "first_codes": first_codes,
        "device": device,
    }
    searched = _given({"candidates": candidates, "block": block, "rounds": rounds})
    chosen_settings: dict[str, Any] = _given(given) | ({"search": Search(**searched)} if searched else {})
    _require_settings(settings_class, chosen_settings)
    if data is None:
        assert chosen is not None
        data = str(_default_demonstrations(chosen))
    demonstrations = Demonstrations.load(data)
    if chosen is not None:
        chosen.require_spaces(demonstrations.observation_space, demonstrations.action_space, data)
    mode_count = None
    if counted:
        mode_count = _mode_count(demonstrations, out, seed)
        prior = Categorical(int(mode_count["best"]))
        say(
            f"{prior.size} ways counted, {mode_count['sureness']:.0%} sure; "
            f"the next best number is {mode_count['runner_up']} (--modes {mode_count['runner_up']})"
        )
    if has_codes:
        chosen_settings["prior"] = prior
    settings = settings_class(seed=seed, **chosen_settings)
    training = _start(settings, demonstrations, chosen)
    command = shlex.join(["manyways", *sys.argv[1:]])
    place = str(Path(data).resolve()) if Path(data).exists() else data  # else the id of a Minari data set
    run = Run.create(out, settings, demonstrations, task=task, data=place, command=command, mode_count=mode_count)
    say(
        f"{run.title}: {len(demonstrations):,} trajectories, {demonstrations.steps:,} steps; "
        f"{prior or 'no codes'}; {training.iterations:,} iterations"
    )
    _train(run, training, chosen, demonstrations, data)
    say(f"{run.metrics()[-1]['seconds']:.0f} s of training; its curves: tensorboard --logdir {shlex.quote(str(out))}")
    if run.best is not None:
        say(
            f"best iteration {run.best['iteration']:,}, after {run.best['environment_steps']:,} environment steps: "
            f"mean return {run.best['return_mean']:.1f}; kept in {out / 'best'}, the last beside it in {out}"
        )
    what_next(out / "policy.safetensors", f"manyways {'evaluate' if task else 'report'} {shlex.quote(str(out))}")


@app.command
def modes(
    run: Path, /, *, data: Annotated[str | None, _optional] = None, out: Annotated[Path | None, _optional] = None
) -> None:
    """Write for every trajectory its code and the loss under each code, and the codes' agreement with labels, if any.

    For continuous codes: each trajectory's code, its loss, and the spread of nearly as good ones: for each number of
    the code, which share of the prior explains the trajectory with a loss at most a tenth above the least.

    Args:
        run: Folder of a finished run.
        data: Demonstrations; those that the run was trained on unless given.
        out: File to write; RUN/modes.json unless given.
    """
    from manyways.cli.console import say, show_encoding, what_next
    from manyways.demonstrations import Demonstrations, load_modes
    from manyways.evaluation import normalized_mutual_information, purity
    from manyways.files import write_json
    from manyways.latents import Categorical
    from manyways.runs.run import Run

    opened = Run.open(run)
    source = _data_of(opened, data)
    demonstrations = Demonstrations.load(source)
    labels = load_modes(source)
    result: dict[str, Any] = {"run": str(run), "data": source}
    policy = opened.coded_policy()
    if isinstance(policy.prior, Categorical):
        losses = policy.losses(demonstrations)
        codes = losses.argmin(axis=1)
        result |= {"codes": codes.tolist(), "losses": losses.tolist()}
    else:
        encoding = policy.encode(demonstrations)
        result |= {"codes": encoding.codes.tolist(), "losses": encoding.losses.tolist()}
        if encoding.spread is not None:
            result["spread"] = encoding.spread.tolist()
        show_encoding(encoding)
    if labels is not None and labels.ndim == 1 and isinstance(policy.prior, Categorical):
        result["purity"] = purity(codes, labels)
        result["normalized_mutual_information"] = normalized_mutual_information(codes, labels)
        say(
            f"agreement with the labels: purity {result['purity']:.4f}, "
            f"normalized mutual information {result['normalized_mutual_information']:.4f}"
        )
    out = run / "modes.json" if out is None else out
    write_json(out, result)
    what_next(out, f"manyways report {shlex.quote(str(run))}")


@app.command
def evaluate(
    run: Path,
    /,
    *,
    episodes: int = 100,
    seed: int = 0,
    policy: Annotated[Literal["best", "last"] | None, _optional] = None,
) -> None:
    """Roll out every code, match codes to modes, and write RUN/evaluation.json.

    Beside that: which modes its rollouts are of when nobody chooses the code, and of a policy without codes that alone.

    Of continuous codes are rolled out those of demonstrations, each beside the expert in its mode, and ones drawn from
    the prior.

    Args:
        run: Folder of a finished run on a task.
        episodes: How many rollouts, spread evenly over the codes; ten times as many of drawn continuous codes.
        seed: Of the environments.
        policy: The best that was judged during training, or the last; the best unless given, where there are two.
    """
    from manyways.cli.console import show_evaluation, what_next
    from manyways.runs.run import Run

    opened = Run.open(run)
    task = _task_to_run(opened)
    show_evaluation(*_evaluate(opened, task, episodes, seed, policy), task)
    what_next(opened.evaluation_file, f"manyways report {shlex.quote(str(run))}")


@app.command
def report(run: Path, /, *, data: Annotated[str | None, _optional] = None) -> None:
    """Write RUN/report.html, one page of pictures and numbers that needs no network.

    Args:
        run: Folder of a finished run; evaluated first if it is on a task and has not been.
        data: Demonstrations; those that the run was trained on unless given.
    """
    from manyways.cli.console import what_next
    from manyways.demonstrations import Demonstrations, load_modes
    from manyways.evaluation import Coverage
    from manyways.runs.run import Run
    from manyways.visual.report import write_report

    opened = Run.open(run)
    source = _data_of(opened, data)
    demonstrations = Demonstrations.load(source)
    task = _task_of(opened)
    policy, evaluation = opened.coded_policy(), opened.evaluation()
    if evaluation is None and task is not None and _matches(policy, task):
        evaluation, _ = _evaluate(opened, task, episodes=100, seed=0)
    assert not isinstance(evaluation, Coverage)  # the policy has codes
    path = write_report(opened, demonstrations, load_modes(source), task, evaluation)
    what_next(path, f"open {shlex.quote(str(path))} in a browser")


@app.command
def film(run: Path, /, *, out: Annotated[Path | None, _optional] = None, seconds: float = 8.0, seed: int = 0) -> None:
    """Film one episode under every code, as RUN/films/code-N.mp4.

    Of continuous codes, each number is taken at 10%, 50% and 90% of the prior while the others are in the middle.

    Args:
        run: Folder of a finished run on a task.
        out: Folder of the films; RUN/films unless given.
        seconds: Of simulated time at most.
        seed: Of the environment.
    """
    from manyways.runs.run import Run

    opened = Run.open(run)
    task, policy = _task_to_run(opened), opened.coded_policy()
    task.require_spaces(policy.observation_space, policy.action_space, "the policy")
    acts = {
        f"code-{name}": (None, lambda seen, info, code=code: policy.predict(seen, code, deterministic=True)[0])
        for name, code in policy.prior.examples().items()
    }
    _film(task, acts, run / "films" if out is None else out, seconds, seed)


@app.command
def robustness(
    run: Path,
    /,
    *,
    random_actions: float = 0.2,
    episodes: int = 100,
    seed: int = 0,
    policy: Annotated[Literal["best", "last"] | None, _optional] = None,
) -> None:
    """Disturb the policy, and write RUN/robustness.json and RUN/switching.png (Figures 6 and 7).

    Once some actions are random; once the code is switched inside each rollout, through all codes in random order.

    Args:
        run: Folder of a finished run on a task with a list of modes.
        random_actions: Share of the actions that are random.
        episodes: How many rollouts of each kind.
        seed: Of the environments and of what is random.
        policy: The best that was judged during training, or the last; the best unless given, where there are two.
    """
    from manyways.cli.console import counting, say, what_next
    from manyways.evaluation import with_random_actions, with_switched_codes
    from manyways.files import write_json
    from manyways.runs.run import Run
    from manyways.visual.figures import save, switched_paths

    opened = Run.open(run)
    task, chosen = _task_to_run(opened), opened.coded_policy(policy)
    names = task.discrete_modes.names
    with counting(f"{episodes} rollouts, twice", 2 * task.episode_steps, "steps") as count:
        disturbed = with_random_actions(chosen, task, random_actions, episodes, seed, count)
        switching = with_switched_codes(chosen, task, disturbed.assignment, episodes, seed, count)
    write_json(run / "robustness.json", {"random_actions": disturbed.to_json(), "switching": switching.to_json()})
    labelled = [f"code {code}" if mode is None else names[mode] for code, mode in enumerate(disturbed.assignment)]
    paths = switching.paths(task)[:_PATHS_SHOWN]
    save(switched_paths([(opened.title, paths)], len(labelled), task.picture.labels, labelled), run / "switching.png")
    say(
        f"with {random_actions:.0%} random actions: mean return {disturbed.return_mean:.1f} ± "
        f"{disturbed.return_std:.1f}; {disturbed.survived:.0%} of the rollouts last to the end"
    )
    say(
        f"with the code switched through all {len(labelled)}: mean return {switching.return_mean:.1f} ± "
        f"{switching.return_std:.1f}; {switching.survived:.0%} of the rollouts last to the end"
    )
    say(f"Wrote {run / 'robustness.json'}")
    what_next(run / "switching.png", f"manyways film {shlex.quote(str(run))}")


@expert.command(name="train")
def train_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    hours: Annotated[float | None, _optional] = None,
    start_from: Annotated[Path | None, _optional] = None,
    seed: int = 0,
) -> None:
    """Train a task's expert until it reaches the task's floor; the same command goes on where it stopped.

    Args:
        task: Name of the task.
        out: Folder of the training; experts/TASK unless given.
        hours: Stop after so many hours of work, those of earlier calls included, with the best so far.
        start_from: Folder of the training of another task that looks the same to its expert; ants do.
        seed: Of everything random.
    """
    from manyways.cli.console import expert_progress, show_card, what_next
    from manyways.experts import train_expert
    from manyways.tasks import get_task

    chosen = get_task(task)
    out = Path("experts") / chosen.name if out is None else out
    command = f"manyways expert train {task}" + (f" --seed {seed}" if seed else "")
    command += f" --start-from {shlex.quote(str(start_from))}" if start_from else ""
    with expert_progress(chosen) as on_evaluation:
        trained = train_expert(
            chosen, out, seed=seed, command=command, hours=hours, start_from=start_from, on_evaluation=on_evaluation
        )
    show_card(trained.card)
    what_next(out / f"{chosen.name}.safetensors", f"manyways expert picture {task} --weights {shlex.quote(str(out))}")


@expert.command(name="evaluate")
def evaluate_expert(
    task: str, /, *, weights: Annotated[Path | None, _optional] = None, episodes: int = 100, seed: int = 20_000_000
) -> None:
    """Run a task's expert deterministically in fresh episodes, all modes equally often.

    Args:
        task: Name of the task.
        weights: Folder of a training; the expert that came with manyways unless given.
        episodes: How many.
        seed: Of the environments.
    """
    from manyways.cli.console import show_expert_evaluation
    from manyways.experts import evaluate_expert

    chosen = _task_with(task, weights)
    show_expert_evaluation(chosen, evaluate_expert(chosen, episodes, seed), episodes)


@expert.command(name="picture")
def picture_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    episodes: int = 30,
    seed: int = 0,
) -> None:
    """Draw what a task's expert does under its modes, as Figures 1 and 2 do, in a PNG.

    Args:
        task: Name of the task.
        out: The picture; TASK.png unless given.
        weights: Folder of a training; the expert that came with manyways unless given.
        episodes: How many are drawn, spread over the modes.
        seed: Of the environments.
    """
    from manyways.cli.console import counting, what_next
    from manyways.tasks.rollouts import roll_out
    from manyways.visual.figures import expert_modes, save

    chosen = _task_with(task, weights)
    out = Path(f"{chosen.name}.png") if out is None else out
    modes = chosen.modes.spread(episodes)
    environment = chosen.make_vec(episodes, modes)
    with counting(f"{episodes} episodes of the expert", chosen.episode_steps, "steps") as count:
        rollouts = roll_out(environment, chosen.expert_under(modes), seed, count)
    environment.close()
    save(expert_modes(chosen, rollouts, modes), out)
    what_next(out, f"manyways expert film {task}")


@expert.command(name="film")
def film_expert(
    task: str,
    /,
    *,
    out: Annotated[Path | None, _optional] = None,
    weights: Annotated[Path | None, _optional] = None,
    seconds: float = 8.0,
    seed: int = 0,
) -> None:
    """Film one episode of a task's expert under every mode, in MP4; of a range of modes, four.

    Args:
        task: Name of the task.
        out: Folder of the films; films/TASK unless given.
        weights: Folder of a training; the expert that came with manyways unless given.
        seconds: Of simulated time at most.
        seed: Of the environment.
    """
    from manyways.tasks import DiscreteModes

    chosen = _task_with(task, weights)
    modes = chosen.modes.spread(len(chosen.modes) if isinstance(chosen.modes, DiscreteModes) else 4)
    acts = {f"mode-{number}": (mode, chosen.expert_under(mode[None])) for number, mode in enumerate(modes)}
    _film(chosen, acts, Path("films") / chosen.name if out is None else out, seconds, seed)


app.command(expert, name="expert", help="Train, draw or film the experts of the tasks.")
app.command(reproduce, name="reproduce", help="Redo the appendices' experiments on SOG itself, with their figures.")


def _film(task: "Task", acts: dict[str, Any], folder: Path, seconds: float, seed: int) -> None:
    """Film each act: under its name a mode, and what acts."""
    from manyways.cli.console import counting, say
    from manyways.visual.films import film

    for name, (mode, act) in acts.items():
        path = folder / f"{name}.mp4"
        with counting(f"filming {name}", round(seconds * 25), "frames at most") as count:
            film(task, act, path, mode=mode, seconds=seconds, seed=seed, on_frame=count)
        say(f"Wrote {path}")


def _has_codes(settings_class: type[Any]) -> bool:
    """Whether an algorithm's policies have codes to choose from."""
    from manyways.algorithms.adversarial.gail import GAIL

    return "prior" in {field.name for field in fields(settings_class)} and settings_class is not GAIL


def _require_settings(settings_class: type[Any], given: dict[str, Any]) -> None:
    """Raise `InputError` unless all of these are settings of the algorithm."""
    for name in sorted(set(given) - {field.name for field in fields(settings_class)}):
        option = "--candidates, --block and --rounds" if name == "search" else "--" + name.replace("_", "-")
        raise InputError(f"{option} is no setting of {settings_class.name}; leave it out")


def _start(settings: Any, demonstrations: "Demonstrations", task: "Task | None") -> Any:
    """Return training at its first iteration, with the task's environments where it runs them."""
    from manyways.algorithms.adversarial.loop import Adversarial

    if not isinstance(settings, Adversarial):
        return settings.start(demonstrations)
    assert task is not None
    return settings.start(demonstrations, task.make_vec(settings.environments))


def _train(run: "Run", training: Any, task: "Task | None", demonstrations: "Demonstrations", data: str) -> None:
    """Train to the end, showing how far it is, what each iteration gives, and failures as they are seen."""
    from manyways.algorithms.adversarial.loop import AdversarialTraining
    from manyways.cli.console import progress, say, show_policy
    from manyways.demonstrations import load_modes
    from manyways.evaluation import PolicyEvaluator

    judge = None
    if isinstance(training, AdversarialTraining):
        assert task is not None
        judge = PolicyEvaluator(task, demonstrations, load_modes(data))
    told: list[str] = []
    with progress("training", training.iterations, "iterations") as update:

        def show(training: Any) -> None:
            update(training.iteration, f"loss {training.loss:.4f}")
            for warning in getattr(training, "warnings", ()):
                if warning not in told:
                    told.append(warning)
                    say(f"Warning: {warning}")

        policy = run.train(training, show, judge)
        update(training.iterations, "")
    show_policy(policy)


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that were not left out."""
    return {name: value for name, value in settings.items() if value is not None}


def _prior(task: "Task | None", modes: int | Literal["auto"] | None, code_size: int | None) -> "Prior":
    """Return the codes that were asked for, or those that the task's modes call for."""
    from manyways.latents import Categorical, Gaussian
    from manyways.tasks import DiscreteModes

    if modes is not None and code_size is not None:
        raise InputError(f"both --modes {modes} and --code-size {code_size} were given; a code is one or the other")
    if isinstance(modes, int):
        return Categorical(modes)
    if code_size is not None:
        return Gaussian(code_size)
    if task is None:
        raise InputError(
            "the number of ways is not known; give --modes K or --modes auto, or --code-size D for a range of ways"
        )
    return Categorical(len(task.modes)) if isinstance(task.modes, DiscreteModes) else Gaussian(task.modes.dimension)


def _matches(policy: "Policy", task: "Task") -> bool:
    """Whether codes and modes are both discrete or both continuous, so that they can be scored by each other."""
    from manyways.latents import Categorical
    from manyways.tasks import DiscreteModes

    return isinstance(policy.prior, Categorical) == isinstance(task.modes, DiscreteModes)


def _task_with(name: str, weights: Path | None) -> "Task":
    """Return the task of this name, with the expert of a training's folder, if one is given."""
    from manyways.tasks import get_task
    from manyways.tasks.expert import Expert

    task = get_task(name)
    return task if weights is None else task.with_expert(Expert.load(weights, task.name))


def _task_to_run(run: "Run") -> "Task":
    """Return the run's task, of a run that has one."""
    task = _task_of(run)
    if task is None:
        raise InputError(
            f"{run.path} was trained on data without an environment, so nothing can be rolled out; "
            "see `manyways modes` and `manyways report` for what was found"
        )
    return task


def _collect(task: "Task", episodes: int, path: Path, seed: int, noise: float | None = None) -> None:
    from manyways.cli.console import counting
    from manyways.tasks.collect import collect, steps_of

    with counting(f"collecting {episodes} episodes of {task.name}", steps_of(task, episodes), "steps") as count:
        collect(task, episodes, path, seed, count, noise)


def _mode_count(demonstrations: "Demonstrations", out: Path, seed: int) -> dict[str, Any]:
    """Count the ways, or return what was counted when the run in this folder began."""
    from manyways.clustering.count import count_modes
    from manyways.runs.run import Run

    if (out / "config.json").exists():
        counted: dict[str, Any] | None = Run.open(out).config.get("mode_count")
        if counted is not None:
            return counted
    return count_modes(demonstrations, seed=seed).to_json()


def _default_demonstrations(task: "Task") -> Path:
    """Return where the task's demonstrations are, collecting them on first use."""
    from manyways.tasks.collect import cached_demonstrations

    path = cached_demonstrations(task)
    if not path.exists():
        _collect(task, task.demonstrations, path, seed=0)
    return path


def _data_of(run: "Run", given: str | None) -> str:
    """Return where the demonstrations are: as given, or where the run had them."""
    source: str = given or run.config["data"]
    if given is None and Path(source).is_absolute() and not Path(source).exists():
        raise InputError(
            f"{source}, which {run.path} was trained on, is not there any more; give its place with --data"
        )
    return source


def _task_of(run: "Run") -> "Task | None":
    from manyways.tasks import get_task

    return None if run.config["task"] is None else get_task(run.config["task"])


def _evaluate(
    run: "Run", task: "Task", episodes: int, seed: int, which: Literal["best", "last"] | None = None
) -> "tuple[Evaluation | ContinuousEvaluation | Coverage, Coverage | None]":
    """Evaluate the policy and write what was found; where modes can be listed, with its coverage beside it."""
    from manyways.cli.console import counting
    from manyways.demonstrations import Demonstrations, load_modes
    from manyways.evaluation import evaluate, evaluate_continuous, evaluate_coverage, steps_to_evaluate
    from manyways.latents import Categorical
    from manyways.policies.policy import Policy

    policy = run.policy(which)
    evaluation: Evaluation | ContinuousEvaluation | Coverage
    coverage = None
    if not isinstance(policy, Policy):
        with counting(f"{episodes} rollouts, and of the expert", 2 * task.episode_steps, "steps") as count:
            evaluation = evaluate_coverage(policy, task, episodes, seed, count)
    elif isinstance(policy.prior, Categorical):
        with counting(f"{episodes} rollouts, twice, and of the expert", 4 * task.episode_steps, "steps") as count:
            evaluation = evaluate(policy, task, episodes, seed, count)
            coverage = evaluate_coverage(policy, task, episodes, seed, count)
    else:
        source = _data_of(run, None)
        demonstrations, labels = Demonstrations.load(source), load_modes(source)
        if labels is None:
            raise InputError(f"{source} has no labels to score against; evaluate a run on `manyways collect` data")
        with counting(
            f"{11 * episodes} rollouts, and of the expert", steps_to_evaluate(task, episodes), "steps"
        ) as count:
            evaluation = evaluate_continuous(policy, task, demonstrations, labels, episodes, seed, count)
    run.write_evaluation(evaluation, coverage, which)
    return evaluation, coverage
