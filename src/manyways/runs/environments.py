"""A run's policy in any environment, written into evaluation.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyways.files import write_json
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run, Which
from manyways.runs.starting import earlier_policy

if TYPE_CHECKING:
    from manyways.evaluation.environments import EnvironmentEvaluation
    from manyways.policies.policy import Policy
    from manyways.tasks.any_environment import Environment

EVALUATION_FILE = "evaluation.json"


def evaluate_env(
    policy: "str | Path | Run | Policy",
    environment: "Environment",
    *,
    episodes: int = 100,
    seed: int = 0,
    success: str | None = None,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    which: Which | None = None,
    progress: Progress = SILENT,
) -> "EnvironmentEvaluation":
    """Roll a policy out in any Gymnasium environment, under every code and where nobody chooses.

    What is found is written to evaluation.json in the folder, unless the policy is in memory.

    Args:
        policy: a run, a folder of a run or of a policy, or a policy.
        environment: a Gymnasium id, `module:factory`, a factory or an environment.
        episodes: how many rollouts, spread evenly over the codes; as many where nobody chooses.
        seed: of the environment, and of what the policy draws.
        success: `KEY` of `info` that is true once in the episode, `KEY>=NUMBER`, or `return>=NUMBER`; is_success or
            success, where `info` has one, unless given.
        max_steps: after which an episode is cut; the environment's own limit, or 1000, unless given.
        env_kwargs: of the environment or its factory.
        which: the best policy of a run that was evaluated on the way, or the last; the best unless given.
        progress: receives what is said on the way.

    Raises:
        InputError: there is no policy, the environment cannot be made or fails, its spaces do not fit the policy, or
            `info` has no such key.
        WriteError: the system refused to write.
    """
    from manyways.latents import Categorical
    from manyways.tasks.any_environment import Success, require_known

    if success is not None:
        Success.parse(success)
    if isinstance(environment, str):
        require_known(environment)
    from manyways.evaluation.environments import evaluate_in  # PyTorch: an error is told before it is loaded

    chosen = earlier_policy(policy, which)
    total = (1 if chosen.prior in (None, Categorical(1)) else 2) * episodes
    with progress.section(f"{total} rollouts", total, "rollouts") as update:
        found = evaluate_in(
            chosen,
            environment,
            episodes=episodes,
            seed=seed,
            success=success,
            max_steps=max_steps,
            env_kwargs=env_kwargs,
            on_episode=update,
        )
    if isinstance(policy, str | Path | Run):
        _write(policy, found, seed, env_kwargs, which)
    return found


def _write(
    place: "str | Path | Run",
    found: "EnvironmentEvaluation",
    seed: int,
    env_kwargs: Mapping[str, Any] | None,
    which: Which | None,
) -> None:
    from manyways.runs.provenance import provenance

    folder = place.path if isinstance(place, Run) else Path(place)
    run = Run.open(folder) if (folder / "config.json").is_file() else None
    arguments = {name: repr(value) for name, value in (env_kwargs or {}).items()}
    result: dict[str, Any] = found.to_json() | {"env_kwargs": arguments}
    data = None
    if run is not None:
        result |= {"algorithm": run.config["algorithm"], "seed": run.seed}
        result |= {"policy": which or "best", "best": run.best} if run.best is not None else {}
        data = run.config["provenance"]["data"]
    write_json(folder / EVALUATION_FILE, result | {"provenance": provenance(seeds=[seed], data=data)})
