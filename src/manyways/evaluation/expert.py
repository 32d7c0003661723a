"""The expert's own row of Tables 1 to 3: the same metrics, of its rollouts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manyways.evaluation.continuous import MORE, after_the_start, information, scaled_entropy
from manyways.evaluation.results import Result
from manyways.evaluation.rollouts import FIRST_SEED
from manyways.tasks import ContinuousModes, Task
from manyways.tasks.rollouts import roll_out_expert


@dataclass(frozen=True)
class ExpertMetrics(Result):
    """What a task's expert reaches, told its mode.

    Attributes:
        episodes: how many rollouts the returns are of; ten times as many for the metrics below.
        return_mean, return_std: over the rollouts, each under its own mode.
        hit_rate: share of the rollouts that end within the tolerance of their mode; None without a tolerance.
        mutual_information_nats: of the mode and the achieved mode at each step after the start (Table 3); None unless
            modes have one dimension.
        entropy_nats: of the achieved modes at the end, scaled to [-1, 1] and clipped (Table 2); None without a
            tolerance.
        achieved_mean: (rollouts, dimensions of a mode), the mean over each rollout's steps after the start; None unless
            modes are a range.
    """

    episodes: int
    return_mean: float
    return_std: float
    hit_rate: float | None = None
    mutual_information_nats: float | None = None
    entropy_nats: float | None = None
    achieved_mean: list[list[float]] | None = None


def evaluate_expert(
    task: Task, episodes: int = 100, seed: int = 0, on_step: Callable[[], object] = lambda: None
) -> ExpertMetrics:
    """Roll the expert out, without noise on its actions.

    Args:
        task: with an expert.
        episodes: spread evenly over a list of modes; over a range, ten times as many have modes drawn from it.
        seed: of the environments and the modes.
        on_step: called after each step of up to a hundred episodes at once.

    Raises:
        InputError: the task has no expert.
    """
    rng = np.random.default_rng(seed)
    ranges = isinstance(task.modes, ContinuousModes)
    modes = task.modes.sample(MORE * episodes, rng) if ranges else task.discrete_modes.spread(episodes)
    rollouts = roll_out_expert(task, modes, FIRST_SEED + seed, on_step)
    returns = rollouts.rewards_under(task.modes, modes).sum(axis=1)
    hits = shared = spread = achieved = None
    if isinstance(task.modes, ContinuousModes) and rollouts.achieved is not None:
        ends, lasting = rollouts.achieved[:, -1], after_the_start(rollouts, task)
        achieved = [values.mean(axis=0).tolist() for values in lasting]
        if task.modes.dimension == 1:
            shared = information(modes[:, 0].astype(np.float64), lasting, rng)
        if task.modes.tolerance is not None:
            hits = float((np.linalg.norm(ends - modes, axis=1) < task.modes.tolerance).mean())
            spread = scaled_entropy(ends, task.modes)
    return ExpertMetrics(episodes, float(returns.mean()), float(returns.std()), hits, shared, spread, achieved)
