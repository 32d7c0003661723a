"""How well groups of trajectories explain actions, by policies in closed form.

A group is worth having if a policy of its own predicts actions better. The policy of a group is a ridge regression,
drawn towards the regression of all trajectories, and judged on trajectories that it was not fitted on. It is linear in
the state, or in the state and the action before, or in random features of the state (Rahimi & Recht 2007): in
whichever groups say most.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized

_FEATURES = 100
_STEPS = 60_000  # at most, evenly spaced
_VALUES = 30_000_000  # of all states together, at most
_STATE = 400  # dimensions of a state; of larger ones as many principal components
_FOLDS = 5
_RIDGE = 1e-3  # of the regression of all, as a share of the steps
_OWN_RIDGE = 1e-2  # of a group's regression, which draws it towards that of all

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
    def of(cls, demonstrations: Demonstrations, seed: int) -> "Regressions":
        """Return the regressions of demonstrations; at most `_STEPS` of their steps, evenly spaced, are used."""
        rng = np.random.default_rng(seed)
        size = max(1, demonstrations.vectors(slice(0, 1)).shape[1])
        stride = max(1, -(-demonstrations.steps // min(_STEPS, max(1000, _VALUES // size))))
        rows = np.arange(0, demonstrations.steps, stride)
        states = normalized(demonstrations.vectors(rows))
        every_action = normalized(demonstrations.action_vectors())
        actions = every_action[rows]
        if states.shape[1] > _STATE:
            states = normalized(PCA(min(_STATE, len(states)), random_state=seed).fit_transform(states))
        previous = every_action[np.maximum(rows - 1, 0)]
        previous[np.isin(rows, demonstrations.starts)] = 0  # a trajectory's first step has none
        weights = rng.standard_normal((states.shape[1], _FEATURES)) / np.sqrt(states.shape[1])
        hidden = np.tanh(1.5 * states @ weights + rng.standard_normal(_FEATURES))
        linear = np.concatenate([states, np.ones((len(states), 1))], axis=1)
        features = tuple(np.concatenate([linear, *more], axis=1) for more in ([], [previous], [hidden]))
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
        count, size = groups.max() + 1, features.shape[1]
        sums: dict[tuple[int, int], tuple[Floats, Floats, int]] = {}
        order = np.argsort(groups[self.owners] * _FOLDS + self.folds[self.owners], kind="stable")
        keys, starts = np.unique((groups[self.owners] * _FOLDS + self.folds[self.owners])[order], return_index=True)
        for key, rows in zip(keys, np.split(order, starts[1:]), strict=True):
            known = features[rows]
            sums[divmod(int(key), _FOLDS)] = known.T @ known, known.T @ self.actions[rows], len(rows)
        nothing = np.zeros((size, size)), np.zeros((size, self.actions.shape[1])), 0
        every = {key: _sum([sums.get((group, key), nothing) for group in range(count)]) for key in range(_FOLDS)}
        errors = np.zeros_like(self.actions)
        eye = np.eye(size)
        for fold in range(_FOLDS):
            gram, products, steps = _sum([every[key] for key in range(_FOLDS) if key != fold])
            common = np.linalg.solve(gram + (_RIDGE * steps + 1e-6) * eye, products)
            for group in range(count):
                if (group, fold) not in sums:
                    continue
                gram, products, steps = _sum([sums.get((group, key), nothing) for key in range(_FOLDS) if key != fold])
                pull = _OWN_RIDGE * steps + 1
                own = np.linalg.solve(gram + pull * eye, products + pull * common)
                rows = np.flatnonzero((groups[self.owners] == group) & (self.folds[self.owners] == fold))
                errors[rows] = self.actions[rows] - features[rows] @ own
        squares = np.square(errors)
        variance = squares.mean(axis=0) + 1e-9
        steps_nll = (squares / variance + np.log(variance)).sum(axis=1) / 2
        nll: NDArray[np.float64] = np.bincount(self.owners, steps_nll, minlength=len(labels))
        return nll


def _sum(parts: list[tuple[Floats, Floats, int]]) -> tuple[Floats, Floats, int]:
    return sum(p[0] for p in parts), sum(p[1] for p in parts), sum(p[2] for p in parts)  # type: ignore[return-value]
