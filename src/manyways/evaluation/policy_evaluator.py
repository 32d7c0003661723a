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

_SEED = 5_000_000  # of the environments: neither those that are demonstrated nor those of evaluations


@dataclass(frozen=True)
class PolicyReturns:
    """The returns of a policy's rollouts.

    Attributes:
        return_mean: over the rollouts, each under the mode of its code.
        returns: of each code that has a mode.
        agreement: share of the rollouts that fall least short of the best code under the mode of their own; None where
            modes are a range.
    """

    return_mean: float
    returns: tuple[float, ...]
    agreement: float | None

    def scalars(self) -> dict[str, float]:
        """Return the numbers by name, for curves."""
        scalars = {"return_mean": self.return_mean}
        scalars |= {f"return/code-{code}": value for code, value in enumerate(self.returns)}
        return scalars | ({} if self.agreement is None else {"code_mode_agreement": self.agreement})


class PolicyEvaluator:
    """Evaluates policies on a task in the course of training, all with the same seeds.

    Args:
        task: with the reward under every mode.
        demonstrations: whose codes are rolled out where modes are a range.
        labels: their modes (trajectories, numbers of a mode), needed only there, and for scoring alone.
        episodes: rollouts under each code, or in all where codes are continuous.

    Raises:
        InputError: modes are a range and there are no labels.
    """

    def __init__(
        self, task: Task, demonstrations: Demonstrations, labels: NDArray[Any] | None, episodes: int = 10
    ) -> None:
        self._task = task
        self._episodes = episodes
        if not isinstance(task.modes, DiscreteModes):
            labels = require_labels(task, demonstrations, labels)
            chosen = np.unique(np.linspace(0, len(demonstrations) - 1, episodes).astype(np.int64))
            self._demonstrations, self._labels = demonstrations.select(chosen), labels[chosen]

    def __call__(self, policy: Policy) -> PolicyReturns:
        """Roll the policy out, deterministically."""
        task = self._task
        if isinstance(task.modes, DiscreteModes) and isinstance(policy.prior, Categorical):
            matched = matched_returns(policy, task, self._episodes * policy.prior.size, _SEED)
            found = [code for code, mode in enumerate(matched.assignment) if mode is not None]
            returns = tuple(float(matched.matrix[code, matched.assignment[code]]) for code in found)
            return PolicyReturns(float(matched.own.mean()), returns, matched.agreement)
        if isinstance(task.modes, DiscreteModes):
            raise InputError(f"{task.name} has a list of modes and this policy continuous codes; give it --modes")
        codes = policy.encode(self._demonstrations).codes
        rollouts = roll_out_codes(policy, task, codes, self._labels, _SEED)
        returned = rollouts.rewards_under(task.modes, self._labels).sum(axis=1)
        return PolicyReturns(float(returned.mean()), (), None)
