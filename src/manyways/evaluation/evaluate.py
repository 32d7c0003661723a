"""Table 1: roll out every code, match codes to modes, and take the returns under the matched modes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.evaluation.metrics import match_codes
from manyways.evaluation.results import Result
from manyways.evaluation.rollouts import expert_returns, mean_and_std, require_discrete, roll_out_codes
from manyways.policies.policy import Policy
from manyways.tasks import Task

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Evaluation(Result):
    """Returns of a policy's rollouts, each under the matched mode of its code.

    Attributes:
        episodes: how many rollouts, spread evenly over the codes.
        return_mean, return_std: over the rollouts of matched codes.
        expert_return_mean, expert_return_std: of equally many expert rollouts, each under its own mode; None without an
            expert.
        assignment: for each code its mode, or None if there are more codes than modes.
        return_matrix: (codes, modes), the mean return of each code under each mode.
    """

    episodes: int
    return_mean: float
    return_std: float
    expert_return_mean: float | None
    expert_return_std: float | None
    assignment: list[int | None]
    return_matrix: list[list[float]]


def evaluate(
    policy: Policy, task: Task, episodes: int = 100, seed: int = 0, on_step: Callable[[], object] = lambda: None
) -> Evaluation:
    """Roll the policy out, deterministically, and the task's expert for comparison, if there is one.

    Args:
        policy: trained on the task's observations and actions.
        task: with the reward under every mode.
        episodes: at least one for each code.
        seed: of the environments.
        on_step: called after each step of all episodes at once, twice as often as an episode has steps.

    Raises:
        InputError: there are fewer episodes than codes, the policy does not fit the task, or the task's modes cannot
            be listed.
    """
    require_discrete(policy, task, episodes)
    expert_mean, expert_std = mean_and_std(expert_returns(task, task.modes.spread(episodes), seed, on_step))
    matched = matched_returns(policy, task, episodes, seed, on_step)
    return Evaluation(
        episodes=episodes,
        return_mean=float(matched.own.mean()),
        return_std=float(matched.own.std()),
        expert_return_mean=expert_mean,
        expert_return_std=expert_std,
        assignment=matched.assignment,
        return_matrix=matched.matrix.tolist(),
    )


@dataclass(frozen=True, eq=False)
class Matched:
    """Rollouts with a matching of codes to modes.

    Attributes:
        own: (rollouts of matched codes,), the return of each under the mode of its code.
        assignment: for each code its mode, or None if there are more codes than modes.
        matrix: (codes, modes), the mean return of each code under each mode.
        agreement: share of those rollouts whose gap to the best code's mean is least under the mode of their code.
    """

    own: Floats
    assignment: list[int | None]
    matrix: Floats
    agreement: float

    @classmethod
    def of(cls, returns: Floats, codes: NDArray[np.int64], count: int) -> "Matched":
        """Match the codes of rollouts.

        Args:
            returns: (rollouts, modes), the return of each under every mode.
            codes: (rollouts,), the index of each one's code.
            count: how many codes there are.
        """
        matrix = np.stack([returns[codes == code].mean(axis=0) for code in range(count)])
        assignment = match_codes(matrix)
        rows = np.array([row for row, code in enumerate(codes) if assignment[code] is not None])
        modes = np.array([assignment[code] for code in codes[rows]])
        agreement = float(((returns[rows] - matrix.max(axis=0)).argmax(axis=1) == modes).mean())
        return cls(returns[rows, modes], assignment, matrix, agreement)


def matched_returns(
    policy: Policy, task: Task, episodes: int, seed: int, on_step: Callable[[], object] = lambda: None
) -> Matched:
    """Roll every code out in turn, deterministically, and match codes to modes; arguments as for `evaluate`.

    Raises:
        InputError: as `evaluate`.
    """
    prior = require_discrete(policy, task, episodes)
    codes = np.arange(episodes) % prior.size
    rollouts = roll_out_codes(policy, task, prior.enumerate()[codes], None, seed, on_step)
    return Matched.of(rollouts.returns, codes, prior.size)
