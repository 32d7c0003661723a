"""Groups of trajectories with one linear policy each, by hard EM from random starts.

That is SOG with the simplest policy. It finds modes that no distance of trajectories shows: turning at one of three
rates, from any first heading. The policy may know the action before, as where velocity is not part of the state.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.columns import normalized

_STATE = 30  # dimensions of a state, at most; more need more data than a group has
_TRAJECTORIES = 2000
_RESTARTS = 25
_ROUNDS = 30
_FOLDS = 5
_RIDGE = 1e-3  # of the policy of all, as a share of the steps
_OWN_RIDGE = 1e-2  # of a group's policy, which draws it towards that of all
_AGREEMENT = 0.8  # least adjusted Rand index of the groups by the halves of trajectories
_SMALL_MARGIN = 0.25  # of the median margin between a trajectory's best policy and the next
_BETWEEN = 0.05  # share of the trajectories with a small margin, above which groups are parts of a range

Floats = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the steps of each trajectory, of inputs x (a state and 1) and actions a.

    Args:
        gram: (trajectories, inputs, inputs), of x xᵀ.
        products: (trajectories, inputs, actions), of x aᵀ.
        squares: (trajectories, actions), of a².
        steps: (trajectories,).
    """

    gram: Floats
    products: Floats
    squares: Floats
    steps: Floats

    @classmethod
    def of(cls, inputs: Floats, actions: Floats, starts: Labels, ends: Labels) -> "_Sums":
        """Return the sums over the steps from each start to before each end."""
        stretches = [(inputs[start:end], actions[start:end]) for start, end in zip(starts, ends, strict=True)]
        return cls(
            np.stack([x.T @ x for x, _ in stretches]),
            np.stack([x.T @ a for x, a in stretches]),
            np.stack([np.square(a).sum(axis=0) for _, a in stretches]),
            np.array([len(x) for x, _ in stretches], np.float64),
        )

    def __add__(self, other: "_Sums") -> "_Sums":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Sums(*(one + another for one, another in pairs))

    def __getitem__(self, rows: Labels | NDArray[np.bool_]) -> "_Sums":
        return _Sums(*(values[rows] for values in vars(self).values()))

    def policies(self, labels: Labels, groups: int) -> Floats:
        """Return the policy of each group, (groups, inputs, actions)."""
        eye = np.eye(self.gram.shape[1])
        steps = self.steps.sum()
        common = np.linalg.solve(self.gram.sum(axis=0) + (_RIDGE * steps + 1e-6) * eye, self.products.sum(axis=0))
        found = []
        for group in range(groups):
            own = labels == group
            pull = _OWN_RIDGE * self.steps[own].sum() + 1
            gram, products = self.gram[own].sum(axis=0), self.products[own].sum(axis=0)
            found.append(np.linalg.solve(gram + pull * eye, products + pull * common))
        return np.stack(found)

    def errors(self, policies: Floats) -> Floats:
        """Return the summed squared errors of each policy, (trajectories, groups, actions)."""
        groups, inputs, actions = policies.shape
        columns = policies.transpose(0, 2, 1).reshape(-1, inputs)  # (groups * actions, inputs)
        outer = (columns[:, :, None] * columns[:, None]).reshape(-1, inputs**2)
        squares = (self.gram.reshape(-1, inputs**2) @ outer.T).reshape(-1, groups, actions)
        cross = np.einsum("npa,gpa->nga", self.products, policies)
        return np.maximum(self.squares[:, None] - 2 * cross + squares, 0)


def policy_pairs(states: Floats, actions: Floats, starts: Labels, before: bool) -> tuple[Floats, Floats]:
    """Return inputs of linear policies, a state, the action before it if wanted, and 1, (steps, inputs); and actions.

    A trajectory's first step has no action before it. Its inputs and its action become 0, so that it does not count.

    Args:
        states: (steps, state size), normalised.
        actions: (steps, action size), normalised.
        starts: the first step of each trajectory.
        before: whether the action before is an input.
    """
    ones = np.ones((len(states), 1), states.dtype)
    if not before:
        return np.concatenate([states, ones], axis=1), actions
    inputs, own = np.concatenate([states, np.roll(actions, 1, axis=0), ones], axis=1), actions.copy()
    inputs[starts], own[starts] = 0, 0
    return inputs, own


def linear_policies(demonstrations: Demonstrations, groups: int, seed: int, before: bool = False) -> Floats | None:
    """Return the linear policies of groups, (groups, inputs, action size), of normalised states and actions.

    None where states are large; where the halves of a trajectory do not agree on its group, so that the policies follow
    chance, or the place where a trajectory is; and where trajectories lie between the groups, so that these are parts
    of a range, as of speeds.

    Args:
        demonstrations: of any lengths.
        groups: how many.
        seed: of the starts.
        before: whether the action before is an input, see `policy_pairs`.
    """
    rng = np.random.default_rng(seed)
    some = demonstrations
    if len(demonstrations) > _TRAJECTORIES:
        some = demonstrations.select(np.sort(rng.permutation(len(demonstrations))[:_TRAJECTORIES]))
    if some.vectors(slice(0, 1)).shape[1] > _STATE or groups < 2:
        return None
    states, every_action = (normalized(values) for values in (some.vectors(), some.action_vectors()))
    inputs, actions = policy_pairs(states, every_action, some.starts, before)
    ends = some.starts + some.lengths
    middle = some.starts + some.lengths // 2
    halves = [_Sums.of(inputs, actions, *where) for where in ((some.starts, middle), (middle, ends))]
    both = halves[0] + halves[1]
    found = [_expectation_maximization(both, rng.integers(groups, size=len(some)), groups) for _ in range(_RESTARTS)]
    _, labels = min(found, key=lambda one: one[0])
    folds = rng.permutation(len(some)) % _FOLDS
    by_half = np.zeros((2, len(some)), np.int64)
    for fold in range(_FOLDS):
        out = folds == fold
        policies = both[~out].policies(labels[~out], groups)
        for half in range(2):
            by_half[half, out] = _nll(halves[half][out].errors(policies), both, labels, policies).argmin(axis=1)
    if adjusted_rand_score(*by_half) < _AGREEMENT:
        return None
    policies = both.policies(labels, groups)
    best, second = np.sort(_nll(both.errors(policies), both, labels, policies), axis=1)[:, :2].T
    margins = second - best
    return policies if (margins < _SMALL_MARGIN * np.median(margins)).mean() < _BETWEEN else None


def _nll(errors: Floats, sums: _Sums, labels: Labels, policies: Floats) -> Floats:
    """Return the negative log-likelihood under each policy, (trajectories, groups), from summed squared errors."""
    own = sums.errors(policies)[np.arange(len(labels)), labels]
    variance = own.sum(axis=0) / sums.steps.sum() + 1e-9
    nll: Floats = (errors / variance).sum(axis=2) / 2
    return nll


def _expectation_maximization(sums: _Sums, labels: Labels, groups: int) -> tuple[float, Labels]:
    """Return the negative log-likelihood and the groups at which hard EM ends."""
    every = np.arange(len(labels))
    score = np.inf
    for _ in range(_ROUNDS):
        policies = sums.policies(labels, groups)
        errors = sums.errors(policies)
        variance = errors[every, labels].sum(axis=0) / sums.steps.sum() + 1e-9
        score = float(np.log(variance).sum()) / 2
        nll = (errors / variance).sum(axis=2) / 2
        new = nll.argmin(axis=1)
        for empty in np.setdiff1d(np.arange(groups), new):  # it takes what is explained worst
            new[np.argmax(nll[every, new] / sums.steps)] = empty
        if np.array_equal(new, labels):
            break
        labels = new
    return score, labels
