"""Temporal ensembling: plans overlap, and what is done is their mean (Zhao et al. 2023).

At each step the policy plans anew. Of the plans that hold an action for this step, one of age a weighs exp(-m a). So m
above 0 prefers new plans, 0 all alike, and below 0 old ones, as Zhao et al. do with 0.01.

In the state (`state.Memory`) the mean of the plans so far takes the place of the waiting actions. How many there were
takes the place of how many wait; at most horizon - 1, since older ones hold no action that is to come.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.policies.state import Memory

Floats = NDArray[np.floating[Any]]


class Ensemble:
    """The mean of overlapping plans.

    Args:
        decay: m.
        horizon: actions of a plan.
        switches: (actions,), which dimensions have two values, and (actions,) each of these two: a mean becomes the
            nearer one.
    """

    def __init__(self, decay: float, horizon: int, switches: tuple[NDArray[np.bool_], Floats, Floats]) -> None:
        self.decay = decay
        self._switches = switches[0]
        self._low, self._high = (np.where(self._switches, end, 0) for end in switches[1:])
        weights = np.exp(-decay * np.arange(1, horizon))  # of plans of age 1 and more
        sums = np.concatenate([[0.0], np.cumsum(weights)])
        plans, ahead = np.arange(horizon)[:, None], np.arange(horizon)
        # (plans so far, steps ahead): what those weigh together that reach so far ahead.
        self._before = sums[np.minimum(plans, horizon - 1 - ahead)]

    def act(self, plan: Floats, memory: Memory) -> Floats:
        """Return the actions of this step, (n, actions), and write the means of what is to come into the memory.

        Args:
            plan: (n, horizon, actions), made at this step.
            memory: of n environments, before this step.
        """
        weight = self._before[memory.remaining][..., None]
        memory.waiting = ((weight * memory.waiting + plan) / (weight + 1)).astype(memory.waiting.dtype)
        memory.remaining = np.minimum(memory.remaining + 1, plan.shape[1] - 1) + 1  # `pack` takes one off
        done = memory.waiting[:, 0]
        return np.where(self._switches, np.where(done < (self._low + self._high) / 2, self._low, self._high), done)


def ensemble_of(description: Mapping[str, Any]) -> float | None:
    """Return `ensemble` from a policy's file; None where it has none.

    Raises:
        TypeError, ValueError: it is no finite number.
    """
    value = description.get("ensemble")
    if value is not None and not math.isfinite(value):
        raise ValueError(f"no plans are averaged by {value}")
    return None if value is None else float(value)
