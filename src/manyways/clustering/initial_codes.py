"""Codes to begin with, by how trajectories, or any rows, differ most."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.clustering.embedding import kernel_mean_embedding
from manyways.demonstrations import Demonstrations
from manyways.latents import Gaussian


def continuous_codes(demonstrations: Demonstrations, prior: Gaussian, seed: int) -> NDArray[np.float32]:
    """Return codes along the directions in which trajectories' embeddings differ most, (trajectories, dimension)."""
    embeddings = kernel_mean_embedding(demonstrations, seed)
    return ComponentCodes.fit(embeddings, prior)(embeddings)


@dataclass(frozen=True, eq=False)
class ComponentCodes:
    """Codes along the directions in which rows differ most: similar rows have similar codes, which fill the prior.

    Args:
        prior: whose codes they are.
        components: the principal ones, as many as the prior has numbers or, if these are fewer, as the rows allow.
        values: (rows, components), those of the rows they were measured on, each column sorted.
    """

    prior: Gaussian
    components: PCA
    values: NDArray[np.floating[Any]]

    @classmethod
    def fit(cls, rows: NDArray[np.floating[Any]], prior: Gaussian) -> "ComponentCodes":
        """Measure the components of rows (rows, numbers)."""
        components = PCA(min(prior.dimension, *rows.shape), svd_solver="full").fit(rows)
        return cls(prior, components, np.sort(components.transform(rows), axis=0))

    def __call__(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return a code for each row, (rows, dimension), by its rank along each component; 0 beyond the components."""
        codes = np.zeros((len(rows), self.prior.dimension), dtype=np.float32)
        for number, values in enumerate(self.components.transform(rows).T):
            known = self.values[:, number]
            rank = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / 2
            shares = rank.clip(0.5, len(known) - 0.5) / len(known)
            codes[:, [number]] = Gaussian(1).quantile(shares[:, None])
        return codes
