"""Initial continuous codes, by the principal components of trajectories, or of any rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.clustering.embedding import kernel_mean_embedding
from manyways.demonstrations import Demonstrations
from manyways.latents import Gaussian


def continuous_codes(demonstrations: Demonstrations, prior: Gaussian, seed: int) -> NDArray[np.float32]:
    """Return codes by the principal components of the trajectories' embeddings, (trajectories, dimension)."""
    embeddings = kernel_mean_embedding(demonstrations, seed)
    return ComponentCodes.fit(embeddings, prior)(embeddings)


@dataclass(frozen=True, eq=False)
class ComponentCodes:
    """Codes by principal components: similar rows have similar codes, and the codes fill the prior.

    Args:
        prior: of the codes.
        components: the principal ones, one for each dimension of the prior, or fewer if there are too few rows.
        values: (rows, components) of the training rows, each column sorted.
    """

    prior: Gaussian
    components: PCA
    values: NDArray[np.floating[Any]]

    @classmethod
    def fit(cls, rows: NDArray[np.floating[Any]], prior: Gaussian) -> "ComponentCodes":
        """Measure the components of rows (rows, dimensions)."""
        components = PCA(min(prior.dimension, *rows.shape), svd_solver="full").fit(rows)
        return cls(prior, components, np.sort(components.transform(rows), axis=0))

    def __call__(self, rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return a code for each row, (rows, dimension), by its rank along each component; 0 beyond the components."""
        codes = np.zeros((len(rows), self.prior.dimension), dtype=np.float32)
        for component, values in enumerate(self.components.transform(rows).T):
            sample = self.values[:, component]
            rank = (np.searchsorted(sample, values, "left") + np.searchsorted(sample, values, "right")) / 2
            shares = rank.clip(0.5, len(sample) - 0.5) / len(sample)
            codes[:, [component]] = Gaussian(1).quantile(shares[:, None])
        return codes
