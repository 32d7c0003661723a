"""GAIL (Ho & Ermon 2016; Equation 1): the adversarial loop without codes."""

from dataclasses import dataclass, field
from typing import ClassVar

from manyways.algorithms.adversarial.loop import Adversarial, Method
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Prior


@dataclass(frozen=True, kw_only=True)
class GAIL(Adversarial):
    """Settings of GAIL; those of `Adversarial` otherwise.

    Args:
        prior: a single code, which chooses nothing.
    """

    name: ClassVar[str] = "gail"

    prior: Prior = field(default_factory=lambda: Categorical(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior != Categorical(1):
            raise InputError(f"GAIL has no codes to choose from, but {self.prior} were given; leave them out")

    def method(self, demonstrations: Demonstrations) -> Method:
        """Return what this algorithm adds to the loop: nothing."""
        return Method(self, demonstrations)
