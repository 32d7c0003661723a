"""How well groups of trajectories explain actions, by policies in closed form.

A group is worth having if a policy of its own predicts actions better. The policy of a group is a ridge regression,
drawn towards the regression of all trajectories, and judged on trajectories that it was not fitted on. It is linear in
the state, or in the state and the action before, or in random features of the state (Rahimi & Recht 2007):
whichever predicts best with some groups.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized

_FEATURES = 100
_STEPS = 60_000
_VALUES = 30_000_000  # of all states together, at most
_STATE = 400  # dimensions of a state; of larger ones as many principal components
_FOLDS = 5
_RIDGE = 1e-3  # of the regression of all, as a share of the steps
_OWN_RIDGES = (1e-2, 1e-1, 1.0)  # of a group's regression, which draw it towards that of all; the best one counts

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Regressions:
    """Regressions of actions on states, for any groups of the same trajectories.

    Args:
        features: (steps, features), of each family of regressions.
        actions: (steps, action size), normalised.
        owners: (steps,), the trajectory of each step.
        folds: (trajectories,), of the cross-validation.
    """

    features: tuple[Floats, ...]
    actions: Floats
    owners: Labels
    folds: Labels

    @classmethod
    def of(cls, demonstrations: Demonstrations, seed: int, most: int = _STEPS) -> "Regressions":
        """Return the regressions of demonstrations; at most so many of their steps, evenly spaced, are used."""
        rng = np.random.default_rng(seed)
        size = max(1, demonstrations.vectors(slice(0, 1)).shape[1])
        stride = max(1, -(-demonstrations.steps // min(most, max(1000, _VALUES // size))))
        # A trajectory's first step has no action before it.
        rows = np.setdiff1d(np.arange(0, demonstrations.steps, stride), demonstrations.starts)
        states = normalized(demonstrations.vectors(rows))
        every_action = normalized(demonstrations.action_vectors())
        actions = every_action[rows]
        if states.shape[1] > _STATE:
            states = normalized(PCA(min(_STATE, len(states)), random_state=seed).fit_transform(states))
        weights = rng.standard_normal((states.shape[1], _FEATURES)) / np.sqrt(states.shape[1])
        hidden = np.tanh(1.5 * states @ weights + rng.standard_normal(_FEATURES))
        linear = np.concatenate([states, np.ones((len(states), 1))], axis=1)
        features = tuple(np.concatenate([linear, *more], axis=1) for more in ([], [every_action[rows - 1]], [hidden]))
        folds = rng.permutation(len(demonstrations)) % _FOLDS
        return cls(features, actions, demonstrations.trajectory_of(rows), folds)

    def held_out_nll(self, partitions: list[Labels]) -> list[NDArray[np.float64]]:
        """Return the negative log-likelihood of each trajectory's actions in nats, up to a constant, (trajectories,).

        The first is without groups, the others are in the order of the partitions.

        Args:
            partitions: the group of each trajectory, (trajectories,), in several ways.
        """
        every = [np.zeros(len(self.folds), np.int64), *partitions]
        families = [[self._held_out_nll(labels, features) for labels in every] for features in self.features]
        return min(families, key=lambda family: min(nll.sum() for nll in family))

    def _held_out_nll(self, labels: Labels, features: Floats) -> NDArray[np.float64]:
        groups = np.unique(labels, return_inverse=True)[1]
        cells = [
            [
                np.flatnonzero((groups[self.owners] == group) & (self.folds[self.owners] == fold))
                for fold in range(_FOLDS)
            ]
            for group in range(groups.max() + 1)
        ]
        # (groups, folds, features, features or actions), and (groups, folds)
        grams = np.stack([[features[rows].T @ features[rows] for rows in folds] for folds in cells])
        products = np.stack([[features[rows].T @ self.actions[rows] for rows in folds] for folds in cells])
        steps = np.array([[len(rows) for rows in folds] for folds in cells])
        eye = np.eye(features.shape[1])
        errors = np.zeros((len(_OWN_RIDGES), *self.actions.shape))
        for fold in range(_FOLDS):
            gram, product, count = (sums.sum(axis=1) - sums[:, fold] for sums in (grams, products, steps))
            common = np.linalg.solve(gram.sum(axis=0) + (_RIDGE * count.sum() + 1e-6) * eye, product.sum(axis=0))
            for group, folds in enumerate(cells):
                rows = folds[fold]
                for place, ridge in enumerate(_OWN_RIDGES):
                    pull = ridge * count[group] + 1
                    own = np.linalg.solve(gram[group] + pull * eye, product[group] + pull * common)
                    errors[place, rows] = self.actions[rows] - features[rows] @ own
        squares = np.square(errors)
        variance = squares.mean(axis=1, keepdims=True) + 1e-9
        nll = min((squares / variance + np.log(variance)).sum(axis=2) / 2, key=lambda one: one.sum())
        return np.bincount(self.owners, nll, minlength=len(labels)).astype(np.float64)
