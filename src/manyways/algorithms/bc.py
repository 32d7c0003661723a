"""Behaviour cloning (Equation 2): one policy without a choice, which averages different ways into none of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from manyways.algorithms.sog_bc import SOGBC, Training
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical
from manyways.policies.policy import Policy


@dataclass(frozen=True, kw_only=True)
class BC:
    """Settings of behaviour cloning: SOG-BC's, with a single code.

    Args:
        iterations: gradient steps.
        trajectories_per_batch: trajectories in a gradient step; one is drawn as often as it is long.
        steps_per_trajectory: steps of each, drawn at random.
        learning_rate: of Muon and Adam at the start; falls to 0 linearly.
        hidden: width of the network.
        seed: of everything random.
        device: "auto" takes a GPU where there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str] = "bc"

    iterations: int = 3000
    trajectories_per_batch: int = 64
    steps_per_trajectory: int = 64
    learning_rate: float = 5e-3
    hidden: int = 128
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _ = self._with_one_code  # which checks the settings

    @property
    def _with_one_code(self) -> SOGBC:
        return SOGBC(prior=Categorical(1), first_codes="random", **vars(self))

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return dict(vars(self))

    def start(self, demonstrations: Demonstrations) -> Training:
        """Return training at its first iteration, to be stepped, saved and restored by the caller."""
        return self._with_one_code.start(demonstrations)

    def fit(self, demonstrations: Demonstrations, callback: Callable[[Training], object] | None = None) -> Policy:
        """Learn from the demonstrations; `callback` is called with the training after each iteration."""
        return self._with_one_code.fit(demonstrations, callback)
