"""Rolling out a policy under its codes, and the task's expert under modes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import EPISODES_AT_ONCE, Act, Rollouts, roll_out

_FIRST_SEED = (
    10_000_000  # of the environments, far from those of demonstrations: no policy is tested on what it learned
)


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
        modes: (episodes, ...), those of the environments; None for the first.
        seed: of the environments.
        on_step: called after each step of all episodes at once.
        keep_observations: whether they are returned.

    Raises:
        InputError: the policy does not fit the task.
    """
    require_fit(policy, task)

    def act(chosen: slice, observations: Any, info: Any) -> Any:
        return policy.predict(observations, codes[chosen], deterministic=True)[0]

    return roll_out_in_parts(task, len(codes), act, seed, on_step, modes, keep_observations)


def roll_out_expert(
    task: Task, modes: NDArray[Any], seed: int, on_step: Callable[[], object] = lambda: None
) -> Rollouts | None:
    """Roll out the task's expert, one episode under each of `modes` (episodes, ...); None where it has no expert.

    Raises:
        InputError: the expert's file is damaged.
    """
    if not task.has_expert:
        return None
    task.require_expert()

    def act(chosen: slice, observations: Any, info: Any) -> Any:
        return task.expert(observations, modes[chosen], info)

    return roll_out_in_parts(task, len(modes), act, seed, on_step, modes)


def roll_out_in_parts(
    task: Task,
    episodes: int,
    act: Callable[[slice, Any, Any], Any],
    seed: int,
    on_step: Callable[[], object],
    modes: NDArray[Any] | None = None,
    keep_observations: bool = False,
) -> Rollouts:
    """Run so many episodes, as many at once as memory allows.

    Args:
        task: to run in.
        episodes: how many.
        act: from a slice, the episodes that run, their observations and `info`, to their actions.
        seed: of the environments.
        on_step: called after each step of a part.
        modes: (episodes, ...), those of the environments; None for the first.
        keep_observations: whether they are returned.
    """
    parts = []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        chosen = slice(start, min(start + EPISODES_AT_ONCE, episodes))
        environment = task.make_vec(chosen.stop - start, None if modes is None else modes[chosen])
        acts: Act = partial(act, chosen)
        first_seed = _FIRST_SEED + seed + start
        parts.append(roll_out(environment, acts, first_seed, on_step, task.achieved, keep_observations))
        environment.close()
    return Rollouts.together(parts)


def expert_returns(
    task: Task, modes: NDArray[Any], seed: int, on_step: Callable[[], object] = lambda: None
) -> NDArray[np.floating[Any]] | None:
    """Return the expert's return in an episode under each of `modes`, (episodes,); None where the task has none."""
    expert = roll_out_expert(task, modes, seed, on_step)
    return None if expert is None else expert.rewards_under(task.modes, modes).sum(axis=1)


def require_fit(policy: Policy, task: Task) -> None:
    """Raise `InputError` unless the policy has the task's observations and actions."""
    task.require_spaces(policy.observation_space, policy.action_space, "the policy")


def require_discrete(policy: Policy, task: Task, episodes: int) -> Categorical:
    """Return the codes of a policy on a task that both have lists, of codes and of modes.

    Raises:
        InputError: they have not, the policy does not fit the task, or there are fewer episodes than codes.
    """
    _ = task.discrete_modes
    prior = policy.discrete_prior
    if episodes < prior.size:
        raise InputError(f"{episodes} episodes cannot show {prior.size} codes; give {prior.size} or more")
    require_fit(policy, task)
    return prior


def mean_and_std(values: NDArray[np.floating[Any]] | None) -> tuple[float, float] | tuple[None, None]:
    """Return the mean and the standard deviation; None of nothing."""
    return (None, None) if values is None else (float(values.mean()), float(values.std()))
