"""Table 1's number: roll out every code, match codes to modes, and take the returns under the matched modes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.evaluation.metrics import match_codes
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import EPISODES_AT_ONCE, Rollouts, roll_out

_MEANS = ("return_mean", "return_std", "expert_return_mean", "expert_return_std")


_FIRST_SEED = 10_000_000  # of the environments: nobody is examined on the episodes that were demonstrated


@dataclass(frozen=True)
class Evaluation:
    """Returns of a policy's rollouts, each under the mode that its code is matched to.

    Attributes:
        episodes: how many rollouts, spread evenly over the codes.
        return_mean, return_std: over the rollouts of matched codes.
        expert_return_mean, expert_return_std: of as many expert rollouts, each under its own mode.
        assignment: for each code its mode, or None where there are more codes than modes.
        return_matrix: (codes, modes), the mean return of each code under each mode.
    """

    episodes: int
    return_mean: float
    return_std: float
    expert_return_mean: float
    expert_return_std: float
    assignment: list[int | None]
    return_matrix: list[list[float]]

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """Return what `to_json` described; other fields are passed over.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        return cls(
            episodes=int(value["episodes"]),
            **{name: float(value[name]) for name in _MEANS},
            assignment=[None if mode is None else int(mode) for mode in value["assignment"]],
            return_matrix=[[float(cell) for cell in row] for row in value["return_matrix"]],
        )


def evaluate(
    policy: Policy, task: Task, episodes: int = 100, seed: int = 0, on_step: Callable[[], object] = lambda: None
) -> Evaluation:
    """Roll the policy out, deterministically, and the task's expert beside it.

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
    matched = matched_returns(policy, task, episodes, seed, on_step)
    modes = task.modes.spread(episodes)
    expert = roll_out_expert(task, modes, seed, on_step)
    expert_returns = expert.rewards_under(task.modes, modes).sum(axis=1)
    return Evaluation(
        episodes=episodes,
        return_mean=float(matched.own.mean()),
        return_std=float(matched.own.std()),
        expert_return_mean=float(expert_returns.mean()),
        expert_return_std=float(expert_returns.std()),
        assignment=matched.assignment,
        return_matrix=matched.matrix.tolist(),
    )


@dataclass(frozen=True, eq=False)
class Matched:
    """Rollouts whose codes were matched to modes.

    Attributes:
        own: (rollouts of matched codes,), the return of each under the mode of its code.
        assignment: for each code its mode, or None where there are more codes than modes.
        matrix: (codes, modes), the mean return of each code under each mode.
        agreement: share of those rollouts that fall least short of the best code's mean under the mode of their code.
    """

    own: NDArray[np.floating[Any]]
    assignment: list[int | None]
    matrix: NDArray[np.floating[Any]]
    agreement: float

    @classmethod
    def of(cls, returns: NDArray[np.floating[Any]], codes: NDArray[np.int64], count: int) -> "Matched":
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
    """Roll every code out, deterministically, and match codes to modes; arguments as for `evaluate`.

    Raises:
        InputError: as `evaluate`.
    """
    _ = task.discrete_modes  # without a list of modes there is nothing to match codes to
    rollouts, codes = roll_out_each_code(policy, task, episodes, seed, on_step)
    return Matched.of(rollouts.returns, codes, policy.discrete_prior.size)


def roll_out_each_code(
    policy: Policy, task: Task, episodes: int, seed: int, on_step: Callable[[], object] = lambda: None
) -> tuple[Rollouts, NDArray[np.int64]]:
    """Roll out every discrete code in turn, deterministically.

    Returns:
        The rollouts, and the index of each one's code (episodes,).

    Raises:
        InputError: there are fewer episodes than codes, or the policy does not fit the task.
    """
    prior = policy.discrete_prior
    if episodes < prior.size:
        raise InputError(f"{episodes} episodes cannot show {prior.size} codes; give {prior.size} or more")
    codes = np.arange(episodes) % prior.size
    return roll_out_codes(policy, task, prior.enumerate()[codes], None, seed, on_step), codes


def roll_out_codes(
    policy: Policy,
    task: Task,
    codes: NDArray[np.float32],
    modes: NDArray[Any] | None,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
) -> Rollouts:
    """Roll out the policy, deterministically, one episode for each code.

    Args:
        policy: trained on the task's observations and actions.
        task: to run it in.
        codes: (episodes, code size).
        modes: (episodes, ...), those of the environments; None for the first.
        seed: of the environments.
        on_step: called after each step of all episodes at once.

    Raises:
        InputError: the policy does not fit the task.
    """
    task.require_sizes(policy.observation_size, policy.action_size, "the policy")

    def act(chosen: slice, observations: Any) -> Any:
        return policy.predict(observations, codes[chosen], deterministic=True)[0]

    return _roll_out(task, len(codes), modes, act, seed, on_step)


def roll_out_expert(task: Task, modes: NDArray[Any], seed: int, on_step: Callable[[], object]) -> Rollouts:
    """Roll out the task's expert, one episode under each of `modes` (episodes, ...)."""

    def act(chosen: slice, observations: Any) -> Any:
        return task.expert(observations, modes[chosen])

    return _roll_out(task, len(modes), modes, act, seed, on_step)


def _roll_out(
    task: Task,
    episodes: int,
    modes: NDArray[Any] | None,
    act: Callable[[slice, Any], Any],
    seed: int,
    on_step: Callable[[], object],
) -> Rollouts:
    """Run so many episodes, as many at once as memory allows; `act` is told which of them it acts in."""
    parts = []
    for start in range(0, episodes, EPISODES_AT_ONCE):
        chosen = slice(start, min(start + EPISODES_AT_ONCE, episodes))
        count = chosen.stop - start
        environment = task.make_vec(count, None if modes is None else modes[chosen])
        first_seed = _FIRST_SEED + seed + start
        parts.append(roll_out(environment, partial(act, chosen), first_seed, on_step, task.achieved))
        environment.close()
    return Rollouts.together(parts)
