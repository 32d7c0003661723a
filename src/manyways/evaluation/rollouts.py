"""Rollouts of a policy under its codes, and the returns of the task's expert."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import Rollouts, roll_out_expert, roll_out_in_parts

# Of the environments, far from those of demonstrations, so that no policy is tested on its training episodes.
FIRST_SEED = 10_000_000


def roll_out_codes(
    policy: Policy,
    task: Task,
    codes: NDArray[np.float32],
    modes: NDArray[Any] | None,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
    keep_observations: bool = False,
) -> Rollouts:
    """Roll out the policy, deterministically, one episode for each code.

    Args:
        policy: trained on the task's observations and actions.
        task: to run it in.
        codes: (episodes, code size).
        modes: (episodes, ...), of the environments; None for the first mode.
        seed: of the environments.
        on_step: called after each step of all episodes at once.
        keep_observations: whether they are returned.

    Raises:
        InputError: the policy does not fit the task.
    """
    require_fit(policy, task)

    def act(part: slice, observations: Any, info: Any) -> Any:
        return policy.predict(observations, codes[part], deterministic=True)[0]

    return roll_out_in_parts(task, len(codes), act, FIRST_SEED + seed, on_step, modes, keep_observations)


def expert_returns(
    task: Task, modes: NDArray[Any], seed: int, on_step: Callable[[], object] = lambda: None
) -> NDArray[np.floating[Any]] | None:
    """Return the expert's return in an episode under each of `modes`, (episodes,); None without an expert."""
    if not task.has_expert:
        return None
    rollouts = roll_out_expert(task, modes, FIRST_SEED + seed, on_step)
    return rollouts.rewards_under(task.modes, modes).sum(axis=1)


def require_fit(policy: Policy, task: Task) -> None:
    """Raise `InputError` unless the policy has the task's observations and actions."""
    task.require_spaces(policy.observation_space, policy.action_space, "the policy")


def require_discrete(policy: Policy, task: Task, episodes: int) -> Categorical:
    """Return the prior of a policy with discrete codes on a task with discrete modes.

    Raises:
        InputError: codes or modes are continuous, the policy does not fit the task, or there are fewer episodes than
            codes.
    """
    _ = task.discrete_modes
    prior = policy.discrete_prior
    if episodes < prior.size:
        raise InputError(f"{episodes} episodes cannot show {prior.size} codes; give {prior.size} or more")
    require_fit(policy, task)
    return prior


def mean_and_std(values: NDArray[np.floating[Any]] | None) -> tuple[float, float] | tuple[None, None]:
    """Return the mean and the standard deviation; None for None."""
    return (None, None) if values is None else (float(values.mean()), float(values.std()))
