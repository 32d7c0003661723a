"""What held-out demonstrations say of a run: how well the policy explains what it has not learned from."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from manyways.runs.run import Run

if TYPE_CHECKING:
    from manyways.demonstrations import Demonstrations
    from manyways.policies.explanation import Encoding

_ALIKE = 1.25  # times the training loss; a held-out loss up to that is no sign of too few demonstrations


@dataclass(frozen=True)
class HeldOut:
    """The loss of held-out trajectories, beside that of the others.

    Attributes:
        trajectories: which were held out.
        loss: their mean loss under their best codes, each step counted once.
        training_loss: that of the others.
        uninformed_loss: that of always predicting the mean action.
        by_code: for each code that loss and the number of its held-out trajectories; None where there are none, and
            empty for continuous codes.
        advice: what is wanted: more demonstrations, longer training, or neither.
    """

    trajectories: tuple[int, ...]
    loss: float
    training_loss: float
    uninformed_loss: float
    by_code: tuple[tuple[float, int] | None, ...]
    advice: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)


def held_out_losses(
    run: Run, encoding: "Encoding", codes: NDArray[np.int64] | None, demonstrations: "Demonstrations", uninformed: float
) -> HeldOut | None:
    """Return what the held-out trajectories of a run say; None where none were held out.

    Args:
        run: finished.
        encoding: of these demonstrations.
        codes: (trajectories,), their codes' indices; None where codes are continuous.
        demonstrations: those that it was trained on.
        uninformed: the loss of always predicting the mean action.
    """
    from manyways.algorithms.holding_out import held_out_of

    lengths = demonstrations.lengths
    chosen = held_out_of(demonstrations, run.config["settings"].get("validation", 0.0), run.seed)
    if not len(chosen):
        return None
    held = np.isin(np.arange(len(lengths)), chosen)

    def mean(which: NDArray[np.bool_]) -> float:
        return float(np.average(encoding.losses[which], weights=lengths[which]))

    by_code: list[tuple[float, int] | None] = []
    if codes is not None:
        for code in range(encoding.codes.shape[1]):
            own = held & (codes == code)
            by_code.append((mean(own), int(own.sum())) if own.any() else None)
    loss, training = mean(held), mean(~held)
    checks = [line["validation_loss"] for line in run.metrics() if "validation_loss" in line]
    if run.config["settings"].get("keep") == "last" and loss > _ALIKE * training:
        advice = "the policy has the last weights, since its actions improve beyond the least held-out loss"
    elif checks and int(np.argmin(checks)) >= 0.95 * len(checks) - 1:
        advice = "the held-out loss was still falling at the end: longer training may help"
    elif loss > _ALIKE * training:
        advice = "the policy fits what it learned from better than what was held out: more demonstrations would help"
    else:
        advice = "held-out demonstrations are explained as well as the others: neither more of them nor longer training"
    return HeldOut(tuple(int(i) for i in chosen), loss, training, uninformed, tuple(by_code), advice)
