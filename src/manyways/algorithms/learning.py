"""What a run needs to know of an algorithm, whichever it is."""

from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from manyways.policies.codeless import CodelessPolicy
from manyways.policies.policy import Policy


class Algorithm(Protocol):
    """An algorithm's settings."""

    name: ClassVar[str]

    @property
    def seed(self) -> int:
        """Of everything random."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""


class Training(Protocol):
    """An algorithm between its first and its last iteration."""

    iteration: int
    loss: float
    code_usage: NDArray[np.int64]

    @property
    def iterations(self) -> int:
        """How many there are in all."""

    @property
    def finished(self) -> bool:
        """Whether the last is done."""

    @property
    def learning_rate(self) -> float:
        """Of the next iteration."""

    @property
    def steps_per_iteration(self) -> int:
        """How many steps the next iteration learns from."""

    def step(self) -> None:
        """Do an iteration."""

    def scalars(self) -> dict[str, float]:
        """Return what the last iteration measured, `loss` among it."""

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""

    def policy(self) -> Policy | CodelessPolicy:
        """Return the policy as it stands."""
