"""What policies say of a split: by how much the policy of one side explains a trajectory better than the other's.

The policies are ridge regressions of the action, on the state or on the state and the action before; a trajectory that
is judged was not used to fit them. Each trajectory goes to the side whose policy explains it better, as in the search
of Algorithm 1. If there are two ways of doing it, what the policies then say has a gap. If there is one, whose
trajectories vary, it has none: a split in the middle explains those near it equally well from both sides.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized

_STEPS = 20_000
_TRAJECTORIES = 200  # at most, on which a split is judged
_COLUMNS = 16  # of state and of action; of more as many principal components
_FOLDS = 5
_REPETITIONS = 4  # of the cross-validation, whose means are judged: a gap must not come from one choice of folds
_RIDGE = 1e-2  # draws a side's regression towards that of both

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Recognition:
    """Sums over the steps of each trajectory, from which the regressions of any split follow.

    Args:
        grams: of each family of regressions, (trajectories, features, features).
        products: of each, features by actions, (trajectories, features, actions).
        squares: of actions, (trajectories, actions).
        steps: (trajectories,).
        folds: (repetitions, trajectories), of the cross-validation.
    """

    grams: tuple[Floats, ...]
    products: tuple[Floats, ...]
    squares: Floats
    steps: Floats
    folds: Integers

    @classmethod
    def of(cls, demonstrations: Demonstrations, seed: int) -> "Recognition":
        """Return the sums of demonstrations; at most 20,000 of their steps are used, evenly spaced."""
        stride = max(1, -(-demonstrations.steps // _STEPS))
        # A trajectory's first step has no action before it.
        rows = np.setdiff1d(np.arange(0, demonstrations.steps, stride), demonstrations.starts)
        owners, count = demonstrations.trajectory_of(rows), len(demonstrations)
        states = _few(demonstrations.vectors(rows), seed)
        both = _few(np.concatenate([demonstrations.action_vectors(one) for one in (rows, rows - 1)]), seed)
        actions, before = both[: len(rows)], both[len(rows) :]
        linear = np.concatenate([states, np.ones((len(rows), 1))], axis=1)
        families = [linear, np.concatenate([linear, before], axis=1)]
        edges = np.searchsorted(owners, np.arange(count + 1))
        own = [slice(*pair) for pair in pairwise(edges)]
        return cls(
            tuple(np.stack([features[one].T @ features[one] for one in own]) for features in families),
            tuple(np.stack([features[one].T @ actions[one] for one in own]) for features in families),
            np.stack([np.square(actions[one]).sum(axis=0) for one in own]),
            np.diff(edges).astype(np.float64),
            np.stack([np.random.default_rng([seed, one]).permutation(count) for one in range(_REPETITIONS)]) % _FOLDS,
        )

    def select(self, rows: Integers) -> "Recognition":
        """Return that of these trajectories alone."""
        grams, products = (tuple(one[rows] for one in sums) for sums in (self.grams, self.products))
        return Recognition(grams, products, self.squares[rows], self.steps[rows], self.folds[:, rows])

    def best(self, sides: NDArray[np.bool_]) -> tuple[Integers, Floats]:
        """Return which split policies explain best, and what they say of each trajectory.

        Each trajectory goes to the side whose policy explains it better, and the policies are fitted again.

        Args:
            sides: of each split, (trajectories, splits).

        Returns:
            (families,), the split under which the better of the two policies explains trajectories best, by each family
            of regressions; and (trajectories, families), by how much one side's policy explains a trajectory better
            than the other's, in nats a step.
        """
        some = np.sort(np.random.default_rng(len(sides)).permutation(len(sides))[:_TRAJECTORIES])
        few = self.select(some)
        splits, ratios = [], []
        for family in range(len(self.grams)):
            nll = few._held_out_nll(sides[some], family, few.folds[0])
            splits.append(int(nll.min(axis=0).sum(axis=0).argmin()))
            ratio = self._ratio(sides[:, splits[-1]], family)
            ratios.append(self._ratio(ratio > 0, family))
        return np.array(splits), np.stack(ratios, axis=1)

    def _ratio(self, side: NDArray[np.bool_], family: int) -> Floats:
        nll = np.mean([self._held_out_nll(side[:, None], family, folds) for folds in self.folds], axis=0)
        one, other = nll[..., 0]
        return np.asarray((one - other) / np.maximum(self.steps, 1))

    def _held_out_nll(self, sides: NDArray[np.bool_], family: int, folds: Integers) -> Floats:
        """Return the nats of each trajectory under the policy of each side, (2, trajectories, splits)."""
        grams, products = self.grams[family], self.products[family]
        own = np.stack([~sides, sides]).astype(np.float64)  # (2, trajectories, splits)
        eye = np.eye(grams.shape[1])
        errors = np.zeros((*own.shape, self.squares.shape[1]))
        for fold in range(_FOLDS):
            held = folds == fold
            train = (own * ~held[:, None]).swapaxes(1, 2)
            gram = np.tensordot(train, grams, axes=1)  # (2, splits, features, features)
            product = np.tensordot(train, products, axes=1)
            steps = (train @ self.steps)[..., None, None]
            common = np.linalg.solve(gram.sum(axis=0) + (_RIDGE * steps.sum(axis=0) + 1e-6) * eye, product.sum(axis=0))
            pull = _RIDGE * steps + 1
            weights = np.linalg.solve(gram + pull * eye, product + pull * common)
            weights = weights[:, :, None]  # of each trajectory that is held out
            fitted = ((grams[held] @ weights - 2 * products[held]) * weights).sum(axis=-2)
            errors[:, held] = self.squares[held][:, None] + np.swapaxes(fitted, 1, 2)
        variance = np.where(sides[..., None], errors[1], errors[0]).sum(axis=0) / self.steps.sum() + 1e-9
        return np.asarray((errors / variance + self.steps[:, None, None] * np.log(variance)).sum(axis=-1) / 2)


def _few(values: Floats, seed: int) -> Floats:
    """Return normalised columns of values (rows, columns), or as many principal components as are allowed."""
    columns = normalized(values)
    if columns.shape[1] > _COLUMNS:
        columns = normalized(PCA(min(_COLUMNS, len(columns)), random_state=seed).fit_transform(columns))
    return columns
