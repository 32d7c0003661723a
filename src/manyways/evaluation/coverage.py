"""Which modes a policy shows when its codes are drawn at random: each rollout counts for the mode it is closest to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.errors import InputError
from manyways.evaluation.results import Result
from manyways.evaluation.rollouts import (
    FIRST_SEED,
    expert_returns,
    mean_and_std,
    require_fit,
    roll_out_codes,
)
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import Rollouts, roll_out_in_parts

Floats = NDArray[np.floating[Any]]

_SUCCESS = 0.5  # of the expert's mean return


@dataclass(frozen=True)
class Coverage(Result):
    """Which modes a policy's rollouts show. A rollout counts for the mode whose expert it falls least short of.

    Not for the mode under which its return is greatest: modes may be worth different amounts, as velocities are.
    Where the task has no expert, the best rollout under each mode takes its place, and success is not defined.

    Attributes:
        episodes: how many rollouts.
        mode_counts: (modes,), how many rollouts count for each mode.
        behaviour_entropy: of `mode_counts`, as in D3IL (Jia et al. 2024): to the base of the number of modes, so that
            0 is one mode alone and 1 all equally often.
        success_rate: share of the rollouts whose return under their mode is at least half of the expert's mean there;
            None without an expert.
        successful_entropy: the same entropy of the successful rollouts alone, which is D3IL's; 0 where there are none,
            None without an expert.
        return_mean, return_std: of the rollouts, each under its mode.
        returns: (modes,), the mean return of the rollouts of each mode under it; None where there are none.
        expert_return_mean, expert_return_std: of as many expert rollouts, spread over the modes, each under its own;
            None without an expert.
    """

    episodes: int
    mode_counts: list[int]
    behaviour_entropy: float
    success_rate: float | None
    successful_entropy: float | None
    return_mean: float
    return_std: float
    returns: list[float | None]
    expert_return_mean: float | None
    expert_return_std: float | None


def evaluate_coverage(
    policy: Policy,
    task: Task,
    episodes: int = 100,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> Coverage:
    """Roll the policy out with codes drawn at random, and the task's expert beside it, if there is one.

    A policy with codes draws one from the prior for each episode and takes the mean action under it; one without codes
    draws its actions, from `seed` on.

    Args:
        policy: trained on the task's observations and actions.
        task: with the reward under every mode.
        episodes: at least one for each mode.
        seed: of the environments, and of what the policy draws.
        on_step: called after each step of all episodes at once, twice as often as an episode has steps.

    Raises:
        InputError: there are fewer episodes than modes, the policy does not fit the task, or the task's modes cannot
            be listed.
    """
    modes = task.discrete_modes
    if episodes < len(modes):
        raise InputError(f"{episodes} episodes cannot show {len(modes)} modes; give {len(modes)} or more")
    require_fit(policy, task)
    own = modes.spread(episodes)
    expert = expert_returns(task, own, seed, on_step)
    rollouts = _roll_out_freely(policy, task, episodes, seed, on_step)
    return summarize(rollouts.returns, expert, own)


def summarize(returns: Floats, expert: Floats | None, expert_modes: NDArray[np.int64]) -> Coverage:
    """Return the coverage of rollouts.

    Args:
        returns: (episodes, modes), of each rollout under each mode.
        expert: (expert episodes,), its returns, each under its own mode; None where there is no expert.
        expert_modes: (expert episodes,), these modes.
    """
    count = returns.shape[1]
    if expert is None:
        reference = returns.max(axis=0)
    else:
        reference = np.array([expert[expert_modes == mode].mean() for mode in range(count)])
    closest = (returns - reference).argmax(axis=1)
    best = returns[np.arange(len(returns)), closest]
    # Half of a negative mean would ask for more than the expert's; so a return as far below it is meant.
    successful = best >= (reference - (1 - _SUCCESS) * np.abs(reference))[closest]
    counts = np.bincount(closest, minlength=count)
    expert_mean, expert_std = mean_and_std(expert)
    successes = np.bincount(closest[successful], minlength=count)
    return Coverage(
        episodes=len(returns),
        mode_counts=counts.tolist(),
        behaviour_entropy=behaviour_entropy(counts),
        success_rate=None if expert is None else float(successful.mean()),
        successful_entropy=None if expert is None else behaviour_entropy(successes),
        return_mean=float(best.mean()),
        return_std=float(best.std()),
        returns=[float(best[closest == mode].mean()) if counts[mode] else None for mode in range(count)],
        expert_return_mean=expert_mean,
        expert_return_std=expert_std,
    )


def behaviour_entropy(counts: ArrayLike) -> float:
    """Return the entropy of how often each mode occurs, to the base of the number of modes (D3IL, Section 3).

    Args:
        counts: (modes,), of rollouts.

    Returns:
        From 0, one mode alone or no rollouts at all, to 1, all modes equally often.
    """
    numbers = np.asarray(counts, dtype=np.float64)
    occurring = numbers[numbers > 0]
    if len(occurring) < 2:
        return 0.0
    shares = occurring / occurring.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(numbers)))


def _roll_out_freely(policy: Policy, task: Task, episodes: int, seed: int, on_step: Callable[[], object]) -> Rollouts:
    """Roll out the policy with codes drawn from its prior, or without any."""
    if policy.prior is not None:
        codes = policy.prior.sample(episodes, np.random.default_rng(seed))
        return roll_out_codes(policy, task, codes, None, seed, on_step)
    policy.seed(seed)
    states: dict[int, Any] = {}  # by the first episode of those that run together

    def act(chosen: slice, observations: Any, info: Any) -> Any:
        state = states.get(chosen.start)
        starts = np.full(chosen.stop - chosen.start, state is None)
        actions, states[chosen.start] = policy.predict(observations, state, starts)
        return actions

    return roll_out_in_parts(task, episodes, act, FIRST_SEED + seed, on_step)
