"""Coverage: which modes a policy shows under random codes. Each rollout counts for the closest mode."""

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
    """The modes of a policy's rollouts. A rollout counts for the mode with the least gap to the expert's return.

    The mode of the greatest return would be wrong, since modes may have different returns, as velocities have. Without
    an expert the best rollout under each mode takes its place, and success is not defined.

    Attributes:
        episodes: how many rollouts.
        mode_counts: (modes,), how many rollouts count for each mode.
        behaviour_entropy: of `mode_counts`, as in D3IL (Jia et al. 2024): to the base of the number of modes, from 0,
            one mode alone, to 1, all equally often.
        success_rate: share of the rollouts with at least half of the expert's mean return under their mode; None
            without an expert.
        successful_entropy: the same entropy for successful rollouts alone, as in D3IL; 0 if there are none, None
            without an expert.
        return_mean, return_std: of the rollouts, each under its mode.
        returns: (modes,), the mean return of each mode's rollouts under it; None if there are none.
        expert_return_mean, expert_return_std: of equally many expert rollouts, spread over the modes, each under its
            own; None without an expert.
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
    """Roll the policy out under random codes, and the task's expert for comparison, if there is one.

    A policy with codes draws one from the prior for each episode and takes the mean action. A policy without codes
    draws its actions, with `seed`.

    Args:
        policy: trained on the task's observations and actions.
        task: with the reward under every mode.
        episodes: at least one for each mode.
        seed: of the environments, and of the policy's codes or actions.
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
    # Half of a negative mean would be above the mean; so the same distance below it counts.
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
    values = np.asarray(counts, dtype=np.float64)
    shares = values[values > 0]
    if len(shares) < 2:
        return 0.0
    shares = shares / shares.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(values)))


def _roll_out_freely(policy: Policy, task: Task, episodes: int, seed: int, on_step: Callable[[], object]) -> Rollouts:
    """Roll out the policy with codes drawn from its prior, or without any."""
    if policy.prior is not None:
        codes = policy.prior.sample(episodes, np.random.default_rng(seed))
        return roll_out_codes(policy, task, codes, None, seed, on_step)
    policy.seed(seed)
    states: dict[int, Any] = {}  # by the first episode of a part

    def act(part: slice, observations: Any, info: Any) -> Any:
        state = states.get(part.start)
        starts = np.full(part.stop - part.start, state is None)
        actions, states[part.start] = policy.predict(observations, state, starts)
        return actions

    return roll_out_in_parts(task, episodes, act, FIRST_SEED + seed, on_step)
