"""What a policy's gates say of its demonstrations: how open a detail is, and whether each code has details of its own.

All entropies are in nats. A detail with little entropy follows from what is seen. Little mutual information says that
all codes use the same details.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.windows import window_and_chunk
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import PolicyNetwork

if TYPE_CHECKING:
    from manyways.policies.policy import Policy

Floats = NDArray[np.floating[Any]]

_STEPS = 50_000  # at most, evenly spaced
_AT_ONCE = 2**13


@dataclass(frozen=True)
class Gates:
    """What the gates say.

    Attributes:
        details: how many there are; 1 for none.
        detail_entropy: the mean over steps of the entropy of p(detail | observations, code).
        code_detail_information: the mutual information of a step's code and its detail under the gate.
        codes: how many there are.
        start_entropy: the mean over trajectories of the entropy of p(code | first observation); None without a gate.
        purity: share of the steps whose label is the most frequent one of their code; None without labels or details.
        purity_with_details: the same of the steps of a code and a detail. If it is greater, a code means something else
            under some details.
    """

    details: int
    detail_entropy: float | None
    code_detail_information: float | None
    codes: int
    start_entropy: float | None
    purity: float | None = None
    purity_with_details: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what there is for a file."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def sentence(self) -> str:
        """Return what there is in a line."""
        parts = []
        if self.detail_entropy is not None:
            most = f"of at most {math.log(self.details):.2f} nats"
            parts.append(f"a detail's entropy where it is chosen is {self.detail_entropy:.2f} {most}")
            parts.append(f"code and detail share {self.code_detail_information:.2f}")
        if self.purity is not None:
            parts.append(
                f"purity of steps {self.purity:.3f} by code, {self.purity_with_details:.3f} by code and detail"
            )
        if self.start_entropy is not None:
            most = f"of at most {math.log(self.codes):.2f} nats"
            parts.append(f"the first observation leaves {self.start_entropy:.2f} {most} of the code open")
        return "gates: " + "; ".join(parts)


def what_gates_say(
    policy: "Policy",
    demonstrations: Demonstrations,
    codes: NDArray[np.int64],
    labels: NDArray[Any] | None = None,
) -> Gates | None:
    """Return what the gates say; None for a policy without any.

    Args:
        policy: with discrete codes.
        demonstrations: as the user gave them.
        codes: (trajectories,), the code of each.
        labels: (trajectories,), the mode of each, -1 where it is not known; or None.
    """
    network, size = policy.network, policy.discrete_prior.size
    details = network.details if isinstance(network, PolicyNetwork) else 1
    if details == 1 and policy.start_gate is None:
        return None
    start = None
    if policy.start_gate is not None:
        first = rows_of(demonstrations.observations, demonstrations.starts)
        start = float(entropy(policy.start_probabilities(first)).mean())
    if details == 1:
        return Gates(1, None, None, size, start)
    assert isinstance(network, PolicyNetwork)
    learned = policy.encoded(demonstrations)
    rows = np.arange(0, learned.steps, math.ceil(learned.steps / _STEPS))
    owners = learned.trajectory_of(rows)
    likely = _probabilities(network, learned, rows, np.eye(size, dtype=np.float32)[codes[owners]])
    purities: tuple[float | None, float | None] = (None, None)
    if labels is not None and (labels != -1).any():
        known = labels[owners] != -1
        own, wanted = codes[owners][known], labels[owners][known]
        purities = _purity(own, wanted), _purity(own * details + likely.argmax(axis=1)[known], wanted)
    together = np.zeros((size, details))
    np.add.at(together, codes[owners], likely)
    return Gates(details, float(entropy(likely).mean()), information(together), size, start, *purities)


def entropy(probabilities: Floats) -> Floats:
    """Return the entropy of each row, in nats."""
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    result: Floats = -(probabilities * logs).sum(axis=-1)
    return result


def information(together: Floats) -> float:
    """Return the mutual information of rows and columns, in nats, from how often they occur together."""
    shares = together / together.sum()
    return float(entropy(shares.sum(axis=1)) + entropy(shares.sum(axis=0)) - entropy(shares.ravel()))


def _purity(groups: NDArray[np.int64], labels: NDArray[Any]) -> float:
    table = np.zeros((groups.max() + 1, labels.max() + 1), np.int64)
    np.add.at(table, (groups, labels), 1)
    return float(table.max(axis=1).sum() / len(labels))


@torch.no_grad()
def _probabilities(
    network: PolicyNetwork, demonstrations: Demonstrations, rows: NDArray[np.int64], codes: Floats
) -> Floats:
    """Return p(detail | observations, code) at these rows (n,) under these codes (n, codes), (n, details)."""
    at_once, parts = network.at_once(_AT_ONCE), []
    for at in range(0, len(rows), at_once):
        some = slice(at, at + at_once)
        observed, _ = window_and_chunk(demonstrations, rows[some], network.window, network.chunk)
        features = network.state_features(to_tensors(rows_of(demonstrations.observations, observed)))
        parts.append(network.gate(features, torch.from_numpy(codes[some])).double().softmax(dim=1).numpy())
    return np.concatenate(parts)
