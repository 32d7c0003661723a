"""What a code is: the prior p(z) of Section 3, which the search enumerates and a rollout draws from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError


@dataclass(frozen=True)
class Categorical:
    """A discrete latent variable: `size` one-hot codes, equally likely.

    Args:
        size: the number of codes, K; at least 1.

    Raises:
        InputError: fewer than one code.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"a categorical prior of {self.size} codes is empty; give 1 or more")

    @property
    def dimension(self) -> int:
        """How many numbers a code has."""
        return self.size

    def enumerate(self) -> NDArray[np.float32]:
        """Return every code, (codes, dimension)."""
        return np.eye(self.size, dtype=np.float32)

    def code(self, index: int) -> NDArray[np.float32]:
        """Return the code of this index, (dimension,).

        Raises:
            InputError: there is no such code.
        """
        if not 0 <= index < self.size:
            raise InputError(f"there is no code {index}; the codes are 0 to {self.size - 1}")
        return self.enumerate()[index]

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw `count` codes, (count, dimension)."""
        return self.enumerate()[rng.integers(self.size, size=count)]

    def to_json(self) -> dict[str, Any]:
        """Return what `prior_from_json` turns back into this prior."""
        return {"kind": "categorical", "size": self.size}


def prior_from_json(value: dict[str, Any]) -> Categorical:
    """Return the prior that `to_json` described.

    Raises:
        InputError: the description is of no prior known here.
    """
    if value.get("kind") != "categorical" or not isinstance(value.get("size"), int):
        raise InputError(f"{value!r} describes no prior known to this version; expected a categorical one")
    return Categorical(value["size"])
