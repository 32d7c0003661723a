"""Tables 2 and 3: policies with continuous codes on tasks with continuous modes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.evaluation.metrics import entropy, mutual_information
from manyways.evaluation.results import Result
from manyways.evaluation.rollouts import FIRST_SEED, expert_returns, mean_and_std, roll_out_codes
from manyways.latents import Gaussian
from manyways.policies.policy import Policy
from manyways.tasks import ContinuousModes, Task
from manyways.tasks.rollouts import EPISODES_AT_ONCE, Rollouts, roll_out_expert

Floats = NDArray[np.floating[Any]]

MORE = 10  # times as many rollouts, for estimates from their distribution
_STEPS_FOR_INFORMATION = 5  # of each rollout; many steps with the same code bias the estimator


@dataclass(frozen=True)
class ContinuousEvaluation(Result):
    """Results of episodes under continuous codes: those of demonstrations, and ten times as many from the prior.

    Attributes:
        episodes: how many rollouts under the codes of demonstrations.
        return_mean, return_std: of rollouts under the codes of demonstrations, each under its demonstration's mode.
        expert_return_mean, expert_return_std: of the expert under the same modes; None without an expert.
        hit_rate: share of those rollouts that end within the tolerance of their demonstration's mode; None without a
            tolerance.
        mutual_information_nats: of the code and the achieved mode at each step after the start, over rollouts under
            codes of the prior (Table 3); None if either has several dimensions.
        expert_mutual_information_nats: the same for the mode and the expert's achieved mode; None without an expert.
        entropy_nats: of the final achieved modes of those rollouts, scaled to [-1, 1] and clipped (Table 2); None
            without a tolerance.
        expert_entropy_nats: the same for equally many uniform modes, the greatest possible value.
        codes: (episodes, code size), from the prior.
        achieved_mean, achieved_std: (episodes, dimensions of a mode), over the steps of each of these rollouts after
            the start.
        embedded_mutual_information_nats: of the mode of a demonstration and the achieved mode in the rollout under its
            code, over ten times as many demonstrations, or all: Table 3's number of VAE-GAIL, whose code has more
            dimensions than the mode. None if modes have several dimensions.
    """

    episodes: int
    return_mean: float
    return_std: float
    expert_return_mean: float | None
    expert_return_std: float | None
    hit_rate: float | None
    mutual_information_nats: float | None
    expert_mutual_information_nats: float | None
    entropy_nats: float | None
    expert_entropy_nats: float | None
    codes: list[list[float]]
    achieved_mean: list[list[float]]
    achieved_std: list[list[float]]
    embedded_mutual_information_nats: float | None = None


def evaluate_continuous(
    policy: Policy,
    task: Task,
    demonstrations: Demonstrations,
    modes: NDArray[Any],
    episodes: int = 100,
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> ContinuousEvaluation:
    """Roll out the policy, deterministically, under the codes of demonstrations and under codes drawn from the prior.

    Args:
        policy: with continuous codes, trained on the task's observations and actions.
        task: with continuous modes.
        demonstrations: `episodes` of them, evenly spaced, or all are encoded.
        modes: (trajectories, dimensions of a mode), the ground truth, for scoring.
        episodes: how many rollouts under the codes of demonstrations; ten times as many under codes of the prior.
        seed: of the environments and of the codes from the prior.
        on_step: called after each step of up to a hundred episodes at once; see `steps_to_evaluate`.

    Raises:
        InputError: codes or modes are not continuous, the demonstrations have no labels of that kind, there are fewer
            than four episodes, or the policy does not fit the task.
    """
    if not isinstance(policy.prior, Gaussian) or not isinstance(task.modes, ContinuousModes) or task.achieved is None:
        raise InputError(
            f"{task.name} and this policy do not both have continuous modes and codes; train with --code-size "
            "on a task of continuous modes, or with --modes on one whose modes can be listed"
        )
    if episodes < 4:
        raise InputError(f"{episodes} episodes are too few to estimate anything from; give 4 or more")
    require_labels(task, demonstrations, modes)
    trajectories = _evenly(len(demonstrations), episodes)
    encoding = policy.encode(demonstrations.select(trajectories), seed=seed)
    own = modes[trajectories]
    expert_mean, expert_std = mean_and_std(expert_returns(task, own, seed, on_step))
    rollouts = roll_out_codes(policy, task, encoding.codes, own, seed, on_step)
    returns = rollouts.rewards_under(task.modes, own).sum(axis=1)
    assert rollouts.achieved is not None
    ends = rollouts.achieved[:, -1]

    rng = np.random.default_rng(seed)
    codes = policy.prior.sample(MORE * episodes, rng)
    sampled = roll_out_codes(policy, task, codes, None, seed, on_step)
    assert sampled.achieved is not None
    achieved = after_the_start(sampled, task)
    tolerance = task.modes.tolerance
    uniform = task.modes.sample(len(codes), rng)
    of_codes = of_expert = of_embedded = None
    if task.modes.dimension == 1:
        if codes.shape[1] == 1:
            of_codes = information(codes[:, 0], achieved, rng)
        if task.has_expert:
            expert = roll_out_expert(task, uniform, FIRST_SEED + seed, on_step)
            assert expert.achieved is not None
            of_expert = information(uniform[:, 0], list(expert.achieved[:, task.starting_steps :]), rng)
        many = _evenly(len(demonstrations), MORE * episodes)
        embedded = policy.encode(demonstrations.select(many), seed=seed).codes
        reproduced = roll_out_codes(policy, task, embedded, modes[many], seed, on_step)
        of_embedded = information(modes[many, 0], after_the_start(reproduced, task), rng)
    return ContinuousEvaluation(
        episodes=len(trajectories),
        return_mean=float(returns.mean()),
        return_std=float(returns.std()),
        expert_return_mean=expert_mean,
        expert_return_std=expert_std,
        hit_rate=None if tolerance is None else float((np.linalg.norm(ends - own, axis=1) < tolerance).mean()),
        mutual_information_nats=of_codes,
        expert_mutual_information_nats=of_expert,
        entropy_nats=None if tolerance is None else scaled_entropy(sampled.achieved[:, -1], task.modes),
        expert_entropy_nats=None if tolerance is None else scaled_entropy(uniform, task.modes),
        codes=codes.tolist(),
        achieved_mean=[values.mean(axis=0).tolist() for values in achieved],
        achieved_std=[values.std(axis=0).tolist() for values in achieved],
        embedded_mutual_information_nats=of_embedded,
    )


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` of `count` indices, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def after_the_start(rollouts: Rollouts, task: Task) -> list[Floats]:
    """Return what each episode achieved at its steps after the start, (steps, dimensions) each."""
    assert rollouts.achieved is not None
    pairs = zip(rollouts.achieved, rollouts.lengths, strict=True)
    return [values[task.starting_steps : length] for values, length in pairs]


def require_labels(task: Task, demonstrations: Demonstrations, labels: NDArray[Any] | None) -> NDArray[Any]:
    """Return the labels if they are continuous modes of the demonstrations, (trajectories, dimensions of a mode).

    Raises:
        InputError: they are not.
    """
    assert isinstance(task.modes, ContinuousModes)
    if labels is None or labels.shape != (len(demonstrations), task.modes.dimension):
        problem = "there are no labels" if labels is None else f"the labels have shape {labels.shape}"
        raise InputError(
            f"{problem}, but {task.name} needs {task.modes.dimension} numbers for each of {len(demonstrations)} "
            f"trajectories; collect demonstrations with `manyways collect {task.name}`"
        )
    return labels


def steps_to_evaluate(task: Task, episodes: int) -> int:
    """Return how often at most `evaluate_continuous` calls `on_step`."""
    few, many = (-(-count // EPISODES_AT_ONCE) for count in (episodes, MORE * episodes))
    return task.episode_steps * (2 * few + 3 * many)


def information(values: Floats, achieved: Sequence[Floats], rng: np.random.Generator) -> float:
    """Return the mutual information in nats of a number of each episode and what it achieves.

    Args:
        values: (episodes,), codes or modes.
        achieved: of each episode, (steps, 1).
        rng: chooses the steps that are taken of each.
    """
    some = [rng.choice(each[:, 0], min(len(each), _STEPS_FOR_INFORMATION), replace=False) for each in achieved]
    return mutual_information(np.repeat(values, [len(each) for each in some]), np.concatenate(some))


def scaled_entropy(points: Floats, modes: ContinuousModes) -> float:
    """Return the entropy in nats of achieved modes (n, dimension), clipped to their box and scaled to [-1, 1]."""
    low, high = np.array(modes.low), np.array(modes.high)
    return entropy(2 * (np.clip(points, low, high) - low) / (high - low) - 1)
