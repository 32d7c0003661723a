"""Failures that adversarial training is known for, and how much an action says about its code."""

import math
from typing import Any

import numpy as np
import torch

from manyways.algorithms.adversarial.method import Method
from manyways.latents import Categorical, Gaussian
from manyways.networks.normalization import take
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.rollouts import Rollout

_CODES_COMPARED = 16  # drawn from a continuous prior, to see whether codes matter
_ROWS_COMPARED = 256
_PATIENCE = 20  # updates in a row after which a failure is reported
_ALL_TOLD_APART = 0.995  # accuracy of a discriminator from which nothing can be learned
_NO_INFORMATION = 0.01  # nats a step that the action says about the code
_EXPLODED = 1.5  # nats for each number of an action, above the entropy at the start


@torch.no_grad()
def code_information(network: ActorCritic, method: Method, rollout: Rollout, rng: np.random.Generator) -> float | None:
    """Return how much an action says about the code, in nats a step: 0 where the code does not matter.

    That is the mean log-probability of the actions under their own code beside that under codes drawn anew. None where
    there is nothing to choose.
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
    """Looks for failures in what updates measure, and reports each once.

    Attributes:
        warnings: the sentences so far, each with what to try.
        first_entropy: of the action noise after the first update.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.first_entropy: float | None = None
        self._in_a_row = {"accuracy": 0, "information": 0}

    def look(self, facts: dict[str, float], action_size: int) -> None:
        """Look at an update's scalars."""
        if self.first_entropy is None:
            self.first_entropy = facts["entropy"]
        present = {
            "accuracy": facts["discriminator_accuracy"] > _ALL_TOLD_APART,
            "information": facts.get("code_information", math.inf) < _NO_INFORMATION,
        }
        for failure, now in present.items():
            self._in_a_row[failure] = self._in_a_row[failure] + 1 if now else 0
        failed = {
            f"the discriminator tells all pairs apart (accuracy {facts['discriminator_accuracy']:.1%}), so that its "
            "reward no longer says what is better; try a lower --discriminator-learning-rate or a greater "
            "--gradient-penalty": self._in_a_row["accuracy"] == _PATIENCE,
            f"the code no longer matters: an action says {facts.get('code_information', 0.0):.4f} nats about it; try a "
            "greater --lambda-s (SOG-GAIL) or --lambda-i (InfoGAIL), or more --pretraining": (
                self._in_a_row["information"] == _PATIENCE
            ),
            f"the policy has become noise: its entropy rose from {self.first_entropy:.1f} to {facts['entropy']:.1f} "
            "nats; try a lower --learning-rate or --target-kl": (
                facts["entropy"] - self.first_entropy > _EXPLODED * action_size
            ),
        }
        reported = {warning[:14] for warning in self.warnings}
        self.warnings += [sentence for sentence, now in failed.items() if now and sentence[:14] not in reported]
