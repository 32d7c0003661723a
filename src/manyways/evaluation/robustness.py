"""Returns of a policy under disturbances: random actions (Figure 7), and changes of the code (Figure 6)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations.observations import Observations, rows_of
from manyways.errors import InputError
from manyways.evaluation.evaluate import Matched
from manyways.evaluation.results import Result
from manyways.evaluation.rollouts import FIRST_SEED, require_discrete, require_fit
from manyways.policies.policy import Policy
from manyways.tasks import Task
from manyways.tasks.rollouts import roll_out_in_parts
from manyways.tasks.spaces import random_actions, require_bounds

Floats = NDArray[np.floating[Any]]

_PATHS = ("observations", "lengths", "active")  # fields that are not written to a file


@dataclass(frozen=True)
class Disturbed(Result):
    """Returns of rollouts with some random actions, each under the matched mode of its code.

    Attributes:
        share: of random actions, on average.
        episodes: how many rollouts, spread evenly over the codes.
        return_mean, return_std: over the rollouts of matched codes.
        survived: share of all rollouts that did not terminate, as by a fall.
        assignment: for each code its mode, or None if there are more codes than modes.
        return_matrix: (codes, modes), the mean return of each code under each mode.
    """

    share: float
    episodes: int
    return_mean: float
    return_std: float
    survived: float
    assignment: list[int | None]
    return_matrix: list[list[float]]


@dataclass(frozen=True, eq=False)
class Switching:
    """Returns of rollouts in which every code is active once, each for an equal part of the longest episode.

    A part's return is the sum of its rewards under the matched mode of the active code, without rewards after an early
    end. Parts of codes without a mode have no return.

    Attributes:
        episodes: how many rollouts.
        return_mean, return_std: of the sum over a rollout's parts, over rollouts.
        survived: share of the rollouts that did not terminate, as by a fall.
        return_by_part: (parts,), the mean return of the first, the second, ... part; every part but the first begins
            with a switch. None if no rollout had a code with a mode then.
        return_by_code: (codes,), the mean return of the parts in which each code was active; None for a code without a
            mode.
        observations: (episodes, steps + 1, ...) or a dictionary of such arrays, including the final ones, padded with
            the last.
        lengths: (episodes,), in steps.
        active: (episodes, steps), the index of the active code at each step, also after an early end.
    """

    episodes: int
    return_mean: float
    return_std: float
    survived: float
    return_by_part: list[float | None]
    return_by_code: list[float | None]
    observations: Observations
    lengths: NDArray[np.int64]
    active: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file, without the paths."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _PATHS}

    def paths(self, task: Task) -> list[tuple[Floats, NDArray[np.int64]]]:
        """Return for each rollout the points of the task's picture (steps + 1, 2), and the active code at each step."""
        return [
            (task.picture.points(rows_of(self.observations, (episode, slice(length + 1)))), active[:length])
            for episode, (active, length) in enumerate(zip(self.active, self.lengths, strict=True))
        ]


def with_random_actions(
    policy: Policy,
    task: Task,
    share: float = 0.2,
    episodes: int = 100,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> Disturbed:
    """Roll every code out, with the mean action at most steps and a random action at others (Figure 7).

    The steps with random actions, and these actions, depend on the seed alone, so all policies get the same ones.

    Args:
        policy: with discrete codes, trained on the task's observations and actions.
        task: with the reward under every mode, and bounds of its actions.
        share: the probability of a random action, independent for each step and rollout; 0 to 1.
        episodes: at least one for each code.
        seed: of the environments and of the random actions.
        on_step: called after each step of up to a hundred episodes at once.

    Raises:
        InputError: the share is no probability, there are fewer episodes than codes, the policy does not fit the task,
            codes or modes cannot be listed, or actions have no bounds.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of {share} random actions is no probability; give 0 to 1")
    prior = require_discrete(policy, task, episodes)
    space: Any = task.spaces[1]
    require_bounds(space, task.name, "or 0 as the share of random actions")
    codes = np.arange(episodes) % prior.size
    states = prior.enumerate()[codes]
    generators: dict[int, np.random.Generator] = {}

    def act(part: slice, observations: Any, info: Any) -> Any:
        rng = generators.setdefault(part.start, np.random.default_rng((seed, part.start)))
        actions = policy.predict(observations, states[part], deterministic=True)[0]
        random = (rng.random((len(actions), 1)) < share).reshape(-1, *[1] * (np.ndim(actions) - 1))
        return np.where(random, random_actions(space, len(actions), rng), actions)

    rollouts = roll_out_in_parts(task, episodes, act, FIRST_SEED + seed, on_step)
    matched = Matched.of(rollouts.returns, codes, prior.size)
    return Disturbed(
        share=share,
        episodes=episodes,
        return_mean=float(matched.own.mean()),
        return_std=float(matched.own.std()),
        survived=float(1 - rollouts.terminated.mean()),
        assignment=matched.assignment,
        return_matrix=matched.matrix.tolist(),
    )


def with_switched_codes(
    policy: Policy,
    task: Task,
    assignment: Sequence[int | None],
    episodes: int = 100,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> Switching:
    """Roll the policy out, deterministically, while the code changes (Figure 6).

    The longest episode is divided into a part for each code. Every rollout has its own order of the codes, which
    depends on the seed alone.

    Args:
        policy: with discrete codes, trained on the task's observations and actions.
        task: with the reward under every mode.
        assignment: for each code its mode or None, from `evaluate`.
        episodes: how many rollouts.
        seed: of the environments and of the orders.
        on_step: called after each step of up to a hundred episodes at once.

    Raises:
        InputError: the assignment is not one of the policy's codes to the task's modes, there is no episode, the policy
            does not fit the task, or codes or modes cannot be listed.
    """
    count, modes = policy.discrete_prior.size, len(task.discrete_modes)
    assigned = {mode for mode in assignment if mode is not None}
    if len(assignment) != count or not assigned or not assigned <= set(range(modes)):
        raise InputError(
            f"{list(assignment)} does not assign {modes} modes to {count} codes; "
            "give the `assignment` that `evaluate` found for this policy and task"
        )
    if episodes < 1:
        raise InputError(f"{episodes} episodes show nothing; give 1 or more")
    require_fit(policy, task)
    orders = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (episodes, 1)), axis=1)
    parts = np.arange(task.episode_steps) * count // task.episode_steps  # of every step
    active = orders[:, parts]
    codes = policy.discrete_prior.enumerate()
    steps: Counter[int] = Counter()

    def act(part: slice, observations: Any, info: Any) -> Any:
        now = active[part, steps[part.start]]
        steps[part.start] += 1
        return policy.predict(observations, codes[now], deterministic=True)[0]

    rollouts = roll_out_in_parts(task, episodes, act, FIRST_SEED + seed, on_step, keep_observations=True)
    assert rollouts.observations is not None
    active = active[:, : rollouts.actions.shape[1]]
    mode_of = np.array([-1 if mode is None else mode for mode in assignment])[active]  # (episodes, steps)
    own = np.take_along_axis(rollouts.mode_rewards, mode_of[..., None], axis=2)[..., 0] * (mode_of >= 0)
    by_part = np.stack([own[:, parts[: own.shape[1]] == part].sum(axis=1) for part in range(count)], axis=1)
    counts = np.array([mode is not None for mode in assignment])[orders]  # (episodes, parts)
    returns = by_part.sum(axis=1)
    return Switching(
        episodes=episodes,
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        survived=float(1 - rollouts.terminated.mean()),
        return_by_part=[_mean(by_part[counts[:, part], part]) for part in range(count)],
        return_by_code=[_mean(by_part[counts & (orders == code)]) for code in range(count)],
        observations=rollouts.observations,
        lengths=rollouts.lengths,
        active=active,
    )


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None
