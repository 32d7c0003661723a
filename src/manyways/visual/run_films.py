"""Films of a run: one episode under every code."""

from pathlib import Path
from typing import Any

from manyways.policies.policy import Policy
from manyways.runs.inputs import require_task
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run, Which
from manyways.tasks.rollouts import Act
from manyways.visual.films import film as film_episode

_FRAMES_PER_SECOND = 25


def film(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    seconds: float = 8.0,
    seed: int = 0,
    policy: Which | None = None,
    progress: Progress = SILENT,
) -> list[Path]:
    """Film one episode under every code, as code-N.mp4, or one as episode.mp4 where there are no codes.

    Of continuous codes, each dimension is taken at 10%, 50% and 90% of the prior while the others are in the middle.

    Args:
        run: finished, on a task.
        out: folder of the films; RUN/films unless given.
        seconds: of simulated time at most.
        seed: of the environment.
        policy: the best that was evaluated on the way, or the last; the best unless given, where there is one.
        progress: receives what is said on the way.

    Returns:
        The films' paths.

    Raises:
        InputError: the run is not finished or has no task, or films cannot be made on this machine.
        WriteError: the system refused to write.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    task, chosen = require_task(run), run.policy(policy)
    folder = run.path / "films" if out is None else Path(out)
    codes: dict[str, Any] = {"episode": None}
    if chosen.prior is not None:
        codes = {f"code-{name}": code for name, code in chosen.prior.examples().items()}
    paths = []
    for name, code in codes.items():
        path = folder / f"{name}.mp4"
        with progress.section(f"filming {name}", round(seconds * _FRAMES_PER_SECOND), "frames at most") as update:
            film_episode(task, _actor(chosen, code), path, seconds=seconds, seed=seed, on_frame=update)
        paths.append(path)
    return paths


def _actor(policy: Policy, code: Any) -> Act:
    """Return what acts in one episode, under a code or, where there is none, with the policy's own state."""
    state = code

    def act(observations: Any, info: Any) -> Any:
        nonlocal state
        actions, state = policy.predict(observations, state, deterministic=code is not None)
        return actions

    return act
