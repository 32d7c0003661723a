"""Pictures of trajectories in the plane: demonstrations, rollouts beside them, and codes that are switched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from manyways.demonstrations import Demonstrations
from manyways.evaluation import Disturbed, Switching
from manyways.evaluation.rollouts import roll_out_codes
from manyways.latents import Categorical
from manyways.policies.modes import label
from manyways.policies.policy import Policy
from manyways.runs.codes import Codes
from manyways.runs.run import Run
from manyways.tasks import Task
from manyways.tasks.rollouts import Rollouts, roll_out
from manyways.visual import figures

_DRAWN = 150  # demonstrations in the picture; more only hide each other
_PATHS_SHOWN = 8  # with switched codes, in one picture
_ROLLOUTS = 12  # of a policy without codes
_ROLLOUT_SEED = 0
_COLOURS = 20  # for the codes of a continuous prior
_NUMBERS_FOR_PLANE = 10_000_000  # more do not move the principal components

Floats = NDArray[np.floating[Any]]


def draw_trajectories(policy: Policy, demonstrations: Demonstrations, codes: Codes | None, task: Task | None) -> Figure:
    """Return the demonstrations in the colours of their codes and, where there is a task, rollouts beside them.

    Args:
        policy: that is rolled out.
        demonstrations: some of which are drawn.
        codes: of all of them; None for a policy without codes.
        task: to roll out in, which says how a trajectory is drawn; without one, principal components are.
    """
    chosen = np.random.default_rng(0).permutation(len(demonstrations))[:_DRAWN]
    some = demonstrations.select(chosen)
    if task is None:
        paths, labels = _in_plane(some)
    else:
        paths, labels = [task.picture.points(some[i][0]) for i in range(len(some))], task.picture.labels
    prior = policy.prior
    if codes is None or prior is None:
        groups = [("demonstrations", paths, np.zeros(len(paths), np.int64))]
        if task is not None:
            rolled_out = _drawn(task, _roll_out(policy, task))
            groups.append(("rollouts", rolled_out, np.zeros(len(rolled_out), np.int64)))
        return figures.paths_by_code(groups, 1, labels, names=())
    listed = isinstance(prior, Categorical)
    count = prior.size if isinstance(prior, Categorical) else _COLOURS

    def colours(some_codes: Floats) -> NDArray[np.int64]:
        if isinstance(prior, Categorical):
            return some_codes.argmax(axis=1)
        return np.minimum(prior.cdf(some_codes[:, 0]) * _COLOURS, _COLOURS - 1).astype(np.int64)

    own = codes.encoding.codes[chosen]
    groups = [("demonstrations, by code", paths, colours(own))]
    if task is not None:
        tried = prior.enumerate() if isinstance(prior, Categorical) else own[:_COLOURS]
        rollouts = roll_out_codes(policy, task, tried, None, _ROLLOUT_SEED, keep_observations=True)
        groups.append(("rollouts, by code", _drawn(task, rollouts), colours(tried)))
    dimension = "the code" if prior.dimension == 1 else "the code's dimension 0"
    bar = None if listed else (f"the prior's CDF of {dimension}", 0.0, 1.0)
    names = [f"code {label(policy.names, code)}" for code in range(count)] if listed else None
    return figures.paths_by_code(groups, count, labels, bar=bar, names=names)


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


def _drawn(task: Task, rollouts: Rollouts) -> list[Floats]:
    return [task.picture.points(rollouts.observations_of(episode)) for episode in range(len(rollouts.lengths))]


def _roll_out(policy: Policy, task: Task) -> Rollouts:
    """Roll out a policy without codes, which draws what it does."""
    policy.seed(_ROLLOUT_SEED)
    environment = task.make_vec(_ROLLOUTS)
    state: Any = None

    def act(observations: Any, info: Any) -> Any:
        nonlocal state
        starts = np.full(_ROLLOUTS, state is None)
        actions, state = policy.predict(observations, state, starts)
        return actions

    try:
        return roll_out(environment, act, _ROLLOUT_SEED, keep_observations=True)
    finally:
        environment.close()


def _in_plane(demonstrations: Demonstrations) -> tuple[list[Floats], tuple[str, str]]:
    """Return the trajectories' observations in a plane, (steps, 2) each, and the names of its axes."""
    vectors = demonstrations.vectors()
    ends = np.cumsum(demonstrations.lengths)[:-1]
    size = vectors.shape[1]
    project: Callable[[Floats], Floats] = lambda rows: rows  # noqa: E731
    labels = ("observation 0", "observation 1")
    if size == 1:
        return [np.column_stack([np.arange(len(rows)), rows]) for rows in np.split(vectors, ends)], (
            "step",
            "observation",
        )
    if size > 2:
        every = max(1, vectors.size // _NUMBERS_FOR_PLANE)
        project = make_pipeline(StandardScaler(), PCA(2, random_state=0)).fit(vectors[::every]).transform
        labels = ("first principal component of the observations", "second principal component")
    return np.split(project(vectors), ends), labels
