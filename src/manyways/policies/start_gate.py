"""Which modes are likely at the first observation, for when nobody chooses: not each is possible from everywhere."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_STRENGTHS = (0.01, 0.1, 1.0)  # of the weights against their penalty; cross-validation chooses
_PARTS = 5  # of the trajectories, in cross-validation
_PSEUDO = 0.5  # trajectories that each code has beside those that were counted


@dataclass(frozen=True, eq=False)
class StartGate:
    """p(code | first observation), a logistic regression on the features of the network's encoder.

    Attributes:
        weight: (features, codes); zeros where the first observation says nothing of the mode.
        bias: (codes,).
    """

    weight: Floats
    bias: Floats

    @classmethod
    def fit(cls, features: Floats, codes: NDArray[np.integer[Any]], count: int, seed: int) -> "StartGate":
        """Learn it from the codes that trajectories were found to have.

        The weights stay 0 unless that predicts the codes of trajectories left out better than the codes' shares.

        Args:
            features: (trajectories, features), of their first observations.
            codes: (trajectories,), the index of each one's code.
            count: of all codes.
            seed: of the parts in cross-validation.
        """
        shares = np.bincount(codes, minlength=count) + _PSEUDO
        bias = np.log(shares / shares.sum())
        nothing = cls(np.zeros((features.shape[1], count), np.float32), bias.astype(np.float32))
        if len(codes) < 2 * _PARTS * count or len(np.unique(codes)) < 2:
            return nothing
        part = np.random.default_rng(seed).permutation(len(codes)) % _PARTS
        losses = {0.0: _left_out(features, codes, part, None, bias)}
        losses |= {strength: _left_out(features, codes, part, strength, bias) for strength in _STRENGTHS}
        best = min(losses, key=lambda strength: losses[strength])
        return cls(*_fitted(features, codes, best, bias)) if best else nothing

    def probabilities(self, features: Floats) -> Floats:
        """Return how likely each code is, (n, codes), at observations with these features (n, features)."""
        logits = features @ self.weight + self.bias
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Floats = shares / shares.sum(axis=1, keepdims=True)
        return result


def _left_out(features: Floats, codes: NDArray[Any], part: NDArray[Any], strength: float | None, bias: Floats) -> float:
    """Return the mean negative log-likelihood of the codes of trajectories left out; no strength: by the shares."""
    total = 0.0
    for number in range(_PARTS):
        out = part == number
        weight, offset = np.zeros((features.shape[1], len(bias)), np.float32), bias
        if strength is not None:
            if len(np.unique(codes[~out])) < 2:
                return np.inf
            weight, offset = _fitted(features[~out], codes[~out], strength, bias)
        gate = StartGate(weight, offset)
        total -= float(np.log(gate.probabilities(features[out])[np.arange(out.sum()), codes[out]] + 1e-12).sum())
    return total / len(codes)


def _fitted(features: Floats, codes: NDArray[Any], strength: float, bias: Floats) -> tuple[Floats, Floats]:
    """Return weight and bias; a code without a trajectory keeps its share."""
    from sklearn.linear_model import LogisticRegression  # only training needs it

    model = LogisticRegression(C=strength, max_iter=1000).fit(features, codes)
    weight = np.zeros((features.shape[1], len(bias)), np.float32)
    offset = bias.astype(np.float32).copy()
    if len(model.classes_) == 2:  # one row for both
        weight[:, model.classes_] = np.stack([-model.coef_[0], model.coef_[0]], axis=1) / 2
        found = np.stack([-model.intercept_[0], model.intercept_[0]]) / 2
    else:
        weight[:, model.classes_], found = model.coef_.T, model.intercept_
    present = np.exp(bias[model.classes_]).sum()
    shift = np.log(present) - np.log(np.exp(found).sum())
    offset[model.classes_] = found + shift
    return weight, offset
