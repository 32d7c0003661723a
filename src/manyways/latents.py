"""Priors p(z) of codes (Section 3): a search enumerates them, a rollout draws from them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

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

    def __str__(self) -> str:
        return f"{self.size} code{'s' * (self.size != 1)}"

    @property
    def dimension(self) -> int:
        """The dimensions of a code."""
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

    def has(self, codes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which of `codes` (..., dimension) are codes, (...): one 1, else 0."""
        return np.asarray((np.abs(codes).sum(axis=-1) == 1) & (codes.max(axis=-1) == 1))

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw `count` codes, (count, dimension)."""
        return self.enumerate()[rng.integers(self.size, size=count)]

    def examples(self) -> dict[str, NDArray[np.float32]]:
        """Return every code under its name, for pictures and films."""
        return {str(index): self.code(index) for index in range(self.size)}

    def usage(self, codes: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count how often each code is among `codes` (n, dimension), (size,)."""
        return np.bincount(codes.argmax(axis=1), minlength=self.size)

    def to_json(self) -> dict[str, Any]:
        """Return a description for `prior_from_json`."""
        return {"kind": "categorical", "size": self.size}


@dataclass(frozen=True)
class Gaussian:
    """A continuous latent variable: codes of `dimension` dimensions, standard normal.

    Args:
        dimension: of a code; at least 1.

    Raises:
        InputError: fewer than one dimension.
    """

    dimension: int

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise InputError(f"a Gaussian prior of {self.dimension} dimensions is empty; give 1 or more")

    def __str__(self) -> str:
        return f"a continuous code of {self.dimension} dimension" + "s" * (self.dimension > 1)

    def has(self, codes: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which of `codes` (..., dimension) are codes, (...): finite numbers."""
        return np.asarray(np.isfinite(codes).all(axis=-1))

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw `count` codes, (count, dimension)."""
        return rng.standard_normal((count, self.dimension), dtype=np.float32)

    def quantile(self, probabilities: ArrayLike) -> NDArray[np.float32]:
        """Return codes (..., dimension) from the prior's CDF of each of their dimensions, between 0 and 1.

        Raises:
            InputError: these are not `dimension` probabilities, or not between 0 and 1.
        """
        shares = np.asarray(probabilities, dtype=np.float64)
        if shares.shape[-1:] != (self.dimension,) or not ((shares > 0) & (shares < 1)).all():
            raise InputError(f"{shares.tolist()} are not {self.dimension} probabilities between 0 and 1")
        from scipy.special import ndtri

        codes: NDArray[np.float32] = ndtri(shares).astype(np.float32)
        return codes

    def cdf(self, codes: ArrayLike) -> NDArray[np.float64]:
        """Return the prior's CDF of each dimension of the codes, (..., dimension)."""
        from scipy.special import ndtr

        probabilities: NDArray[np.float64] = ndtr(np.asarray(codes, dtype=np.float64))
        return probabilities

    def grid(self, per_dimension: int) -> NDArray[np.float32]:
        """Return codes at the middles of equally likely parts of the prior, (per_dimension ** dimension, dimension).

        The last dimension varies fastest.
        """
        middles = (np.arange(per_dimension) + 0.5) / per_dimension
        axes = np.meshgrid(*[middles] * self.dimension, indexing="ij")
        return self.quantile(np.stack(axes, axis=-1).reshape(-1, self.dimension))

    def examples(self) -> dict[str, NDArray[np.float32]]:
        """Return codes by name: each dimension low, in the middle and high, the others in the middle."""
        examples = {}
        for dimension in range(self.dimension):
            for share in (0.1, 0.5, 0.9):
                probabilities = np.full(self.dimension, 0.5)
                probabilities[dimension] = share
                name = f"{share:.0%}" if self.dimension == 1 else f"dimension-{dimension}-at-{share:.0%}"
                examples[name.replace("%", "-percent")] = self.quantile(probabilities)
        return examples

    def usage(self, codes: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count how many entries of `codes` (n, dimension) are in each tenth of the prior, (10,)."""
        return np.bincount(np.minimum(self.cdf(codes) * 10, 9).astype(np.int64).ravel(), minlength=10)

    def to_json(self) -> dict[str, Any]:
        """Return a description for `prior_from_json`."""
        return {"kind": "gaussian", "dimension": self.dimension}


Prior = Categorical | Gaussian


def prior_from_json(value: dict[str, Any]) -> Prior:
    """Return the prior that `to_json` described.

    Raises:
        InputError: this describes no known prior.
    """
    for kind, name, prior in (("categorical", "size", Categorical), ("gaussian", "dimension", Gaussian)):
        if value.get("kind") == kind and isinstance(value.get(name), int):
            return prior(value[name])
    raise InputError(f"{value!r} describes no prior known to this version; expected a categorical or Gaussian one")
