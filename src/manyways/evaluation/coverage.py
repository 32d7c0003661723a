"""Which modes a policy does when nobody tells it one: rollouts, each judged by the mode it is closest to."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from manyways.errors import InputError
from manyways.evaluation.evaluate import _roll_out, roll_out_codes, roll_out_expert
from manyways.policies.codeless import CodelessPolicy
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import Rollouts

_NUMBERS = (
    "behaviour_entropy",
    "success_rate",
    "successful_entropy",
    "return_mean",
    "return_std",
    "expert_return_mean",
    "expert_return_std",
)

_SUCCESS = 0.5  # of the expert's mean return


@dataclass(frozen=True)
class Coverage:
    """Which modes a policy's rollouts are of. A rollout is of the mode whose expert it falls least short of.

    Not of the mode under which its return is greatest: modes may be worth different amounts, as velocities are.

    Attributes:
        episodes: how many rollouts.
        mode_counts: (modes,), how many rollouts are of each mode.
        behaviour_entropy: of `mode_counts`, as in D3IL (Jia et al. 2024): to the base of the number of modes, so that
            0 is one mode alone and 1 all equally often.
        success_rate: share of the rollouts whose return under their mode is at least half of the expert's mean there.
        successful_entropy: the same entropy of the successful rollouts alone, which is D3IL's; 0 where there are none.
        return_mean, return_std: of the rollouts, each under its mode.
        returns: (modes,), the mean return of the rollouts of each mode under it; None where there are none.
        expert_return_mean, expert_return_std: of as many expert rollouts, spread over the modes, each under its own.
    """

    episodes: int
    mode_counts: list[int]
    behaviour_entropy: float
    success_rate: float
    successful_entropy: float
    return_mean: float
    return_std: float
    returns: list[float | None]
    expert_return_mean: float
    expert_return_std: float

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Coverage":
        """Return what `to_json` described; other fields are passed over.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        return cls(
            episodes=int(value["episodes"]),
            mode_counts=[int(count) for count in value["mode_counts"]],
            returns=[None if mean is None else float(mean) for mean in value["returns"]],
            **{name: float(value[name]) for name in _NUMBERS},
        )


def evaluate_coverage(
    policy: Policy | CodelessPolicy,
    task: Task,
    episodes: int = 100,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> Coverage:
    """Roll the policy out, its way left to chance, and the task's expert beside it.

    A policy with codes draws one from the prior for each episode and does the mean action under it; one without draws
    whatever it does, from its beginning: what it draws starts anew with `seed`.

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
    rollouts = _roll_out_freely(policy, task, episodes, seed, on_step)
    own = modes.spread(episodes)
    expert = roll_out_expert(task, own, seed, on_step).rewards_under(modes, own).sum(axis=1)
    expert_means = np.array([expert[own == mode].mean() for mode in range(len(modes))])
    return summarize(rollouts.returns, expert_means, expert)


def summarize(
    returns: NDArray[np.floating[Any]], expert_means: NDArray[np.floating[Any]], expert: NDArray[np.floating[Any]]
) -> Coverage:
    """Return the coverage of rollouts.

    Args:
        returns: (episodes, modes), of each rollout under each mode.
        expert_means: (modes,), the expert's mean return under each mode.
        expert: (expert episodes,), its returns, each under its own mode.
    """
    count = len(expert_means)
    closest = (returns - expert_means).argmax(axis=1)
    best = returns[np.arange(len(returns)), closest]
    # Half of a negative mean would ask for more than the expert does; so much worse than it is meant.
    successful = best >= (expert_means - (1 - _SUCCESS) * np.abs(expert_means))[closest]
    counts = np.bincount(closest, minlength=count)
    return Coverage(
        episodes=len(returns),
        mode_counts=counts.tolist(),
        behaviour_entropy=behaviour_entropy(counts),
        success_rate=float(successful.mean()),
        successful_entropy=behaviour_entropy(np.bincount(closest[successful], minlength=count)),
        return_mean=float(best.mean()),
        return_std=float(best.std()),
        returns=[float(best[closest == mode].mean()) if counts[mode] else None for mode in range(count)],
        expert_return_mean=float(expert.mean()),
        expert_return_std=float(expert.std()),
    )


def behaviour_entropy(counts: ArrayLike) -> float:
    """Return the entropy of how often each mode occurs, to the base of the number of modes (D3IL, Section 3).

    Args:
        counts: (modes,), of rollouts.

    Returns:
        From 0, one mode alone or no rollouts at all, to 1, all modes equally often.
    """
    given = np.asarray(counts, dtype=np.float64)
    occurring = given[given > 0]
    if len(occurring) < 2:
        return 0.0
    shares = occurring / occurring.sum()
    return float(-(shares * np.log(shares)).sum() / np.log(len(given)))


def _roll_out_freely(
    policy: Policy | CodelessPolicy, task: Task, episodes: int, seed: int, on_step: Callable[[], object]
) -> Rollouts:
    """Roll out the policy without telling it which way."""
    if not isinstance(policy, CodelessPolicy):
        codes = policy.prior.sample(episodes, np.random.default_rng(seed))
        return roll_out_codes(policy, task, codes, None, seed, on_step)
    task.require_sizes(policy.observation_size, policy.action_size, "the policy")
    policy.seed(seed)
    states: dict[int, Any] = {}  # by the first episode of those that run together

    def act(chosen: slice, observations: Any) -> Any:
        state = states.get(chosen.start)
        starts = np.full(len(observations), state is None)
        actions, states[chosen.start] = policy.predict(observations, state, starts)
        return actions

    return _roll_out(task, episodes, None, act, seed, on_step)
