"""The paper's criterion for the best training iteration: the mean return of some rollouts in the task."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.evaluation.continuous import require_labels
from manyways.evaluation.evaluate import matched_returns
from manyways.evaluation.rollouts import roll_out_codes
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks import DiscreteModes, Task

_SEED = 5_000_000  # of the environments; demonstrations and evaluations have other seeds


@dataclass(frozen=True)
class PolicyReturns:
    """The returns of a policy's rollouts.

    Attributes:
        return_mean: over the rollouts, each under the mode of its code.
        returns: of each code that has a mode.
        agreement: see `Matched`; None for continuous modes.
    """

    return_mean: float
    returns: tuple[float, ...]
    agreement: float | None

    def scalars(self) -> dict[str, float]:
        """Return the values by name, for curves."""
        scalars = {"return_mean": self.return_mean}
        scalars |= {f"return/code-{code}": value for code, value in enumerate(self.returns)}
        return scalars | ({} if self.agreement is None else {"code_mode_agreement": self.agreement})


class PolicyEvaluator:
    """Evaluates policies on a task during training, all with the same seeds.

    Args:
        task: with the reward under every mode.
        demonstrations: for continuous modes, the source of codes for rollouts.
        labels: for continuous modes, those of the demonstrations, for scoring only, (trajectories, dimensions).
        episodes: rollouts under each code, or in all for continuous codes.

    Raises:
        InputError: modes are continuous and there are no labels.
    """

    def __init__(
        self, task: Task, demonstrations: Demonstrations, labels: NDArray[Any] | None, episodes: int = 10
    ) -> None:
        self._task = task
        self._episodes = episodes
        if not isinstance(task.modes, DiscreteModes):
            labels = require_labels(task, demonstrations, labels)
            rows = np.unique(np.linspace(0, len(demonstrations) - 1, episodes).astype(np.int64))
            self._demonstrations, self._labels = demonstrations.select(rows), labels[rows]

    def __call__(self, policy: Policy) -> PolicyReturns:
        """Roll the policy out, deterministically."""
        task = self._task
        if isinstance(task.modes, DiscreteModes) and isinstance(policy.prior, Categorical):
            matched = matched_returns(policy, task, self._episodes * policy.prior.size, _SEED)
            returns = tuple(
                float(matched.matrix[code, mode]) for code, mode in enumerate(matched.assignment) if mode is not None
            )
            return PolicyReturns(float(matched.own.mean()), returns, matched.agreement)
        if isinstance(task.modes, DiscreteModes):
            raise InputError(f"{task.name} has a list of modes and this policy continuous codes; give it --modes")
        codes = policy.encode(self._demonstrations).codes
        rollouts = roll_out_codes(policy, task, codes, self._labels, _SEED)
        returns_of_episodes = rollouts.rewards_under(task.modes, self._labels).sum(axis=1)
        return PolicyReturns(float(returns_of_episodes.mean()), (), None)
