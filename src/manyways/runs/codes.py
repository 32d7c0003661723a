"""The codes of trajectories: what `manyways modes` finds."""

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from manyways.policies.modes import to_json
from manyways.runs.run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from manyways.demonstrations import Demonstrations
    from manyways.demonstrations.suspects import Suspect
    from manyways.policies.explanation import Encoding
    from manyways.policies.gates import Gates
    from manyways.policies.policy import Policy
    from manyways.runs.held_out import HeldOut

    Labels = NDArray[np.generic]

_VALUES_SHOWN = 20  # of an attribute; one with more different values is no group of trajectories


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of trajectories.

    Attributes:
        encoding: each trajectory's code and its loss.
        codes: (trajectories,), the index of each one's code; None where codes are continuous.
        losses: (trajectories, codes), how badly each code explains each trajectory; None where codes are continuous.
        counts: (codes,), how many trajectories have each; None where codes are continuous.
        purity, normalized_mutual_information: agreement with the labels, of the trajectories that have one; None where
            there are no labels of discrete modes.
        unlabelled: how many trajectories have no label (-1), where others have one.
        held_out: what the held-out ones of a run's own data say; None for other data.
        identities: (trajectories,), what each is called in the data; None where they have no names.
        segments: each trajectory's stretches: first step, the step after the last, code; None where codes do not change
            within trajectories. A trajectory's code is then the one that it has longest.
        attributes: by attribute and value, how many trajectories have each code, (codes,); of attributes with few
            values only.
        names: of codes, where they have some.
        suspects: trajectories to look at, where they were looked for.
        gates: what the gates of details and of the start say; None without gates.
    """

    encoding: "Encoding"
    codes: "NDArray[np.int64] | None" = None
    losses: "NDArray[np.float64] | None" = None
    counts: "NDArray[np.int64] | None" = None
    purity: float | None = None
    normalized_mutual_information: float | None = None
    unlabelled: int = 0
    held_out: "HeldOut | None" = None
    identities: tuple[str, ...] | None = None
    segments: list[list[tuple[int, int, int]]] | None = None
    attributes: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    suspects: "list[Suspect] | None" = None
    gates: "Gates | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        more: dict[str, Any] = {} if self.identities is None else {"identities": list(self.identities)}
        more |= {} if self.held_out is None else {"held_out": self.held_out.to_json()}
        more |= {} if self.segments is None else {"segments": self.segments}
        more |= {} if self.gates is None else {"gates": self.gates.to_json()}
        more |= {} if self.suspects is None else {"suspects": [asdict(each) for each in self.suspects]}
        if self.codes is None or self.losses is None or self.counts is None:
            spread = {} if self.encoding.spread is None else {"spread": self.encoding.spread.tolist()}
            return {"codes": self.encoding.codes.tolist(), "losses": self.encoding.losses.tolist()} | spread | more
        found = {"codes": self.codes.tolist(), "losses": self.losses.tolist(), "counts": self.counts.tolist()}
        found |= {"names": to_json(self.names)} if self.names else {}
        found |= more | ({"attributes": self.attributes} if self.attributes else {})
        if self.purity is None:
            return found
        names = ("purity", "normalized_mutual_information", "unlabelled")
        return found | {name: getattr(self, name) for name in names}


def with_held_out(run: Run, policy: "Policy", found: Codes, demonstrations: "Demonstrations") -> Codes:
    """Return the codes of a run's own demonstrations, with what the held-out ones say."""
    from manyways.runs.held_out import held_out_losses

    uninformed = policy.uninformed_loss
    return replace(found, held_out=held_out_losses(run, found.encoding, found.codes, demonstrations, uninformed))


def find_codes(policy: "Policy", demonstrations: "Demonstrations", labels: "Labels | None") -> Codes:
    """Return the codes of trajectories under a policy with codes, and their agreement with labels (trajectories,)."""
    import numpy as np

    from manyways.clustering.constraints import best_codes
    from manyways.evaluation import normalized_mutual_information, purity
    from manyways.latents import Categorical
    from manyways.policies.explanation import Encoding
    from manyways.policies.gates import what_gates_say

    prior = policy.prior
    if not isinstance(prior, Categorical):
        return Codes(policy.encode(demonstrations), identities=demonstrations.identities)
    losses = policy.losses(demonstrations)
    segments = None if policy.switches is None else policy.segments(demonstrations)
    codes = best_codes(losses, demonstrations, prior)
    if segments is not None:
        decided = np.full(len(codes), -1) if demonstrations.labels is None else demonstrations.labels
        codes = np.where(decided >= 0, codes, [_longest(each) for each in segments])
    found = Codes(
        Encoding(prior.enumerate()[codes], losses[np.arange(len(codes)), codes], None),
        codes,
        losses,
        np.bincount(codes, minlength=prior.size),
        identities=demonstrations.identities,
        segments=segments,
        attributes=_by_attribute(demonstrations, codes, prior.size),
        names=policy.names,
        gates=what_gates_say(policy, demonstrations, codes, labels if labels is None or labels.ndim == 1 else None),
    )
    if labels is None or labels.ndim != 1:
        return found
    known = np.asarray(labels != -1)
    if not known.any():
        return found
    return replace(
        found,
        purity=purity(codes[known], labels[known]),
        normalized_mutual_information=normalized_mutual_information(codes[known], labels[known]),
        unlabelled=int((~known).sum()),
    )


def _longest(segments: list[tuple[int, int, int]]) -> int:
    """Return the code that a trajectory has for the most steps."""
    steps: dict[int, int] = {}
    for first, last, code in segments:
        steps[code] = steps.get(code, 0) + last - first
    return max(steps, key=lambda code: steps[code])


def _by_attribute(
    demonstrations: "Demonstrations", codes: "NDArray[np.int64]", size: int
) -> dict[str, dict[str, list[int]]]:
    """Return how many trajectories with each value of an attribute have each code."""
    import numpy as np

    tables = {}
    for name, values in (demonstrations.attributes or {}).items():
        words, index = np.unique(values.astype(str), return_inverse=True)
        if len(words) <= _VALUES_SHOWN:
            tables[name] = {
                str(word): np.bincount(codes[index == place], minlength=size).tolist()
                for place, word in enumerate(words)
            }
    return tables
