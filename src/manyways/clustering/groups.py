"""Groups of similar trajectories: codes to begin with, and what the search asks beside the policy's error.

From a random network the first search is a lottery: a code that wins nothing never learns, and stays dead. So the
trajectories are grouped once by what happens in them (`embedding`, `mixture`). The groups then say in nats how unlikely
a trajectory is under each code.

A mishap lies far from everything, other mishaps too, and would be a group of its own at the price of two modes in one.
So trajectories that are isolated shape no group, and of what is far from all groups these say nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from manyways.clustering.embedding import Embedding
from manyways.clustering.mixture import cluster, isolated
from manyways.demonstrations import Demonstrations

_TRAJECTORIES_FOR_CENTRES = 10_000

Floats = NDArray[np.floating[Any]]
_Numbers = TypeVar("_Numbers", Tensor, NDArray[np.float64])


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of trajectories, Gaussian in the embedding with one covariance.

    Args:
        embedding: of trajectories.
        metric: (dimensions, dimensions), takes the embedding to where the groups' covariance is the identity.
        centres: (groups, dimensions), there.
        reach: how far from its centre a trajectory may lie, there, and still be told from other groups'.
        residual_variance: σ² of one number of the normalised action under the policy that these groups go with.
    """

    embedding: Embedding
    metric: Floats
    centres: Floats
    reach: float = np.inf
    residual_variance: float = 0.0

    @classmethod
    def fit(cls, demonstrations: Demonstrations, groups: int, seed: int) -> "Groups":
        """Find so many groups among the demonstrations, at most as many as there are trajectories."""
        embedding = Embedding.fit(demonstrations, seed)
        chosen = np.random.default_rng(seed).permutation(len(demonstrations))[:_TRAJECTORIES_FOR_CENTRES]
        points = embedding(demonstrations)[np.sort(chosen)]
        shaping = points[~isolated(points)]
        if len(shaping) < groups:
            shaping = points
        metric, centres, labels, _ = cluster(shaping, groups, seed)
        reach = np.linalg.norm(shaping @ metric - centres[labels], axis=1).max()
        return cls(embedding, metric, centres, float(reach))

    def nats(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return how unlikely each trajectory is under each group, beside the likeliest, (trajectories, groups).

        That is half the squared distance to each group's centre in units of the spread within groups, less the least
        of the row: negative log-likelihoods, up to what a row's numbers share. Out of reach of all groups a row is 0.
        """
        distances = cdist(self.embedding(demonstrations) @ self.metric, self.centres)
        least = distances.min(axis=1, keepdims=True)
        nats: NDArray[np.float64] = np.where(least <= 1.001 * self.reach, (distances**2 - least**2) / 2, 0.0)
        return nats

    def loss(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return the nats as a mean squared error over steps, (trajectories, groups), to be added to the policy's."""
        lengths = demonstrations.lengths[:, None].astype(np.float64)
        return nats_as_loss(self.nats(demonstrations), lengths, self.residual_variance)

    def with_residual(
        self, losses: NDArray[np.float64], demonstrations: Demonstrations, variance: Callable[[float], float]
    ) -> "Groups":
        """Return the same groups beside a policy with these losses on the demonstrations.

        Args:
            losses: (trajectories, codes), by the policy alone.
            demonstrations: of any lengths.
            variance: from a mean loss to σ² of one number of the normalised action.
        """
        least = np.average(losses.min(axis=1), weights=demonstrations.lengths)
        return replace(self, residual_variance=float(np.float32(variance(least))))

    def tensors(self) -> dict[str, Floats]:
        """Return what `from_tensors` makes these groups of."""
        parts = {field.name: getattr(self.embedding, field.name) for field in fields(Embedding)}
        own = {
            "metric": self.metric,
            "centres": self.centres,
            "reach": np.array(self.reach),
            "residual_variance": np.array(self.residual_variance),
        }
        arrays = {name: np.array(value, order="C") for name, value in (parts | own).items()}
        return {name: array if name == "mean" else array.astype(np.float32) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Floats]) -> "Groups":
        """Return the groups that `tensors` described.

        Raises:
            KeyError: a tensor is missing.
        """
        embedding = Embedding(**{field.name: tensors[field.name] for field in fields(Embedding)})
        reach, variance = (float(tensors[name]) for name in ("reach", "residual_variance"))
        return cls(embedding, tensors["metric"], tensors["centres"], reach, variance)


def nats_as_loss(nats: _Numbers, lengths: _Numbers, residual_variance: Any) -> _Numbers:
    """Return nats of whole trajectories in units of their mean squared error over steps.

    By Equation 2 a trajectory's negative log-likelihood is its length times its loss over twice the variance of the
    residual, so that a nat weighs as much as 2 σ² / length of loss.

    Args:
        nats: (trajectories, groups).
        lengths: (trajectories, 1).
        residual_variance: σ² of one number of the normalised action.
    """
    return nats * (2 * residual_variance) / lengths
