"""Known failures of adversarial training, and the information of an action about its code."""

import math
from typing import Any

import numpy as np
import torch

from manyways.algorithms.adversarial.method import Method
from manyways.latents import Categorical, Gaussian
from manyways.networks.normalization import take
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.rollouts import Rollout

_CODES_COMPARED = 16  # drawn from a continuous prior
_ROWS_COMPARED = 256
_PATIENCE = 20  # updates in a row after which a failure is reported
_TOO_ACCURATE = 0.995  # accuracy of the discriminator, beyond which the policy cannot learn from it
_NO_INFORMATION = 0.01  # nats a step, of the action about the code
_EXPLODED = 1.5  # nats for each dimension of an action, above the entropy at the start


@torch.no_grad()
def code_information(network: ActorCritic, method: Method, rollout: Rollout, rng: np.random.Generator) -> float | None:
    """Return the information of an action about its code, in nats a step: 0 if the code has no effect.

    It is the mean log-probability of the actions under their own code, less that under other codes of the prior. None
    with a single code.
    """
    prior = method.prior
    if prior.dimension == 1 and not isinstance(prior, Gaussian):
        return None
    rows = torch.from_numpy(rng.permutation(int(rollout.valid.sum()))[:_ROWS_COMPARED])
    observations = take(take(take(rollout.observations, slice(None, -1)), rollout.valid), rows)
    codes = rollout.codes[:-1][rollout.valid][rows]
    others: Any = np.eye(prior.dimension, dtype=np.float32)
    if not isinstance(prior, Categorical):
        others = method.draw_codes(np.arange(_CODES_COMPARED), rng)
    every = torch.from_numpy(others).to(codes.device).expand(len(rows), *others.shape)
    compared = torch.cat([codes[:, None], every], dim=1)
    actor = network.actor
    features = actor.state_part(actor.observations(observations))
    means = actor.decode(features[:, None] + actor.code(compared))  # (rows, 1 + codes, action size)
    likelihoods = network.log_probabilities(rollout.actions[rollout.valid][rows][:, None], means).double()
    own, others = likelihoods[:, 0], likelihoods[:, 1:]
    return float((own - others.logsumexp(dim=1) + math.log(others.shape[1])).mean())


class Failures:
    """Detects failures in the scalars of updates, and reports each once.

    Attributes:
        warnings: the sentences so far, each with a remedy.
        first_entropy: of the action noise after the first update.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.first_entropy: float | None = None
        self._in_a_row = {"accuracy": 0, "information": 0}

    def check(self, scalars: dict[str, float], action_size: int) -> None:
        """Check an update's scalars."""
        if self.first_entropy is None:
            self.first_entropy = scalars["entropy"]
        present = {
            "accuracy": scalars["discriminator_accuracy"] > _TOO_ACCURATE,
            "information": scalars.get("code_information", math.inf) < _NO_INFORMATION,
        }
        for failure, now in present.items():
            self._in_a_row[failure] = self._in_a_row[failure] + 1 if now else 0
        failed = {
            f"the discriminator tells all pairs apart (accuracy {scalars['discriminator_accuracy']:.1%}), so that its "
            "reward no longer says what is better; try a lower --discriminator-learning-rate or a greater "
            "--gradient-penalty": self._in_a_row["accuracy"] == _PATIENCE,
            f"the code no longer matters: an action says {scalars.get('code_information', 0.0):.4f} nats about it; try "
            "a greater --lambda-s (SOG-GAIL) or --lambda-i (InfoGAIL), or more --pretraining": (
                self._in_a_row["information"] == _PATIENCE
            ),
            f"the policy has become noise: its entropy rose from {self.first_entropy:.1f} to {scalars['entropy']:.1f} "
            "nats; try a lower --learning-rate or --target-kl": (
                scalars["entropy"] - self.first_entropy > _EXPLODED * action_size
            ),
        }
        starts = {warning[:14] for warning in self.warnings}
        self.warnings += [sentence for sentence, now in failed.items() if now and sentence[:14] not in starts]
