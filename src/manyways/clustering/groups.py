"""Groups of similar trajectories. They give initial codes, and a term of the search's loss.

With a random network the first search is a lottery: a code without trajectories never learns. So the trajectories are
grouped once by their content (`embedding`, `mixture`; `competition` chooses among several ways to group). Each group
then gives the relative negative log-likelihood of a trajectory under its code.

A mishap lies far from everything. As a group of its own it would force two modes into one group. So isolated
trajectories are left out of the fit, and trajectories far from all groups have equal likelihoods.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from manyways.clustering.constraints import Constraints
from manyways.clustering.embedding import Embedding
from manyways.clustering.known import kept
from manyways.clustering.mixture import cluster, isolated
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical

TRAJECTORIES_FOR_CENTRES = 10_000
_STEPS = 3  # of a trajectory, at most, that count as independent beside sure groups

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
_Array = TypeVar("_Array", Tensor, NDArray[np.float64])


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of trajectories, Gaussian in the embedding with one covariance.

    Args:
        embedding: of trajectories.
        metric: (dimensions, dimensions), a linear map of the embedding; after it the groups' covariance is the
            identity.
        centres: (groups, dimensions), after the map.
        max_distance: from the nearest centre, after the map; farther trajectories have equal likelihoods.
        residual_variance: σ² of one dimension of the normalised action under the policy of these groups.
        sure: whether gaps tell them apart beyond doubt, or held-out actions do.
    """

    embedding: Embedding
    metric: Floats
    centres: Floats
    max_distance: float = np.inf
    residual_variance: float = 0.0
    sure: bool = False

    @classmethod
    def in_embedding(cls, embedding: Embedding, demonstrations: Demonstrations, groups: int, seed: int) -> "Groups":
        """Find groups in this embedding; trajectories with a label are in the group of that number."""
        asked = Constraints.of(demonstrations, Categorical(groups))
        return cls.of_points(embedding, embedding(demonstrations), groups, seed, None, asked)

    @classmethod
    def of_points(
        cls,
        embedding: Embedding,
        points: Floats,
        groups: int,
        seed: int,
        known: Labels | None,
        asked: Constraints | None = None,
    ) -> "Groups":
        """Find groups of embedded trajectories, with the group of each that is `known` (trajectories,), else -1."""
        rows = np.random.default_rng(seed).permutation(len(points))[:TRAJECTORIES_FOR_CENTRES]
        if known is None and len(embedding.policies):  # each policy has its group, also where clusters would differ
            known = points.argmin(axis=1)
            known = known if asked is None else kept(known, asked)
        needed = np.zeros(len(points), bool) if known is None else known >= 0
        if asked is not None:
            needed[asked.asked] = True
        rows = np.union1d(rows, np.flatnonzero(needed))
        usual = ~isolated(points[rows]) | needed[rows]
        if usual.sum() < groups:
            usual[:] = True
        rows = rows[usual]
        points, known = points[rows], None if known is None else known[rows]
        constraints = None if asked is None else asked.select(rows)
        metric, centres, labels, _ = cluster(points, groups, seed, known=known, constraints=constraints)
        max_distance = np.linalg.norm(points @ metric - centres[labels], axis=1).max()
        return cls(embedding, metric, centres, float(max_distance))

    def relative_nll(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return the negative log-likelihood under each group less the least, in nats, (trajectories, groups).

        It is half the squared distance to the group's centre, in units of the spread within groups, less the least of
        the row. A row beyond `max_distance` of all groups is 0.
        """
        return self.relative_nll_of_points(self.embedding(demonstrations))

    def relative_nll_of_points(self, points: Floats) -> NDArray[np.float64]:
        """Return `relative_nll` of embedded trajectories (trajectories, dimensions)."""
        distances = cdist(points @ self.metric, self.centres)
        least = distances.min(axis=1, keepdims=True)
        nll: NDArray[np.float64] = np.where(least <= 1.001 * self.max_distance, (distances**2 - least**2) / 2, 0.0)
        return nll

    def nats_per_step(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return `relative_nll` for each step of the trajectory, (trajectories, groups).

        The policy's steps share what a trajectory is like, and say it again and again. So beside sure groups a few of
        them count, however many there are.
        """
        lengths = demonstrations.lengths[:, None]
        return self.relative_nll(demonstrations) / (np.minimum(lengths, _STEPS) if self.sure else lengths)

    def loss(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return what to add to the policy's mean squared errors over steps, (trajectories, groups)."""
        return nats_as_loss(self.nats_per_step(demonstrations), self.residual_variance)

    def with_residual(
        self, losses: NDArray[np.float64], demonstrations: Demonstrations, variance: Callable[[float], float]
    ) -> "Groups":
        """Return the same groups with the residual variance of a policy.

        Args:
            losses: (trajectories, codes), of the policy alone.
            demonstrations: of any lengths.
            variance: from a mean loss to σ² of one dimension of the normalised action.
        """
        least = np.average(losses.min(axis=1), weights=demonstrations.lengths)
        return replace(self, residual_variance=float(np.float32(variance(least))))

    def tensors(self) -> dict[str, Floats]:
        """Return these groups as tensors for `from_tensors`."""
        parts = {field.name: getattr(self.embedding, field.name) for field in fields(Embedding)}
        own = {
            "metric": self.metric,
            "centres": self.centres,
            "max_distance": np.array(self.max_distance),
            "residual_variance": np.array(self.residual_variance),
            "sure": np.array(self.sure),
        }
        arrays = {name: np.array(value, order="C") for name, value in (parts | own).items()}
        return {name: array if name == "mean" else array.astype(np.float32) for name, array in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Floats]) -> "Groups":
        """Return the groups of `tensors`.

        Raises:
            KeyError: a tensor is missing.
        """
        embedding = Embedding(**{field.name: tensors[field.name] for field in fields(Embedding)})
        max_distance, variance = (float(tensors[name]) for name in ("max_distance", "residual_variance"))
        sure = bool(tensors.get("sure", False))  # policies of the paper's tables are older
        return cls(embedding, tensors["metric"], tensors["centres"], max_distance, variance, sure)


def nats_as_loss(nats: _Array, residual_variance: Any) -> _Array:
    """Return nats for each step in units of the mean squared error over steps.

    By Equation 2 the negative log-likelihood of a step is its error over 2 σ².

    Args:
        nats: (trajectories, groups), for each step.
        residual_variance: σ² of one dimension of the normalised action.
    """
    return nats * (2 * residual_variance)
