"""The part of the loop in which adversarial algorithms differ: codes, and terms of the reward and the loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.adversarial.pairs import Pairs
from manyways.algorithms.adversarial.settings import Adversarial
from manyways.algorithms.settings import SOGBC
from manyways.algorithms.sog_bc import GiveCodes, SOGBCTraining
from manyways.clustering.constraints import best_codes
from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical, Prior
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.explanation import settle
from manyways.policies.policy import Policy
from manyways.search.settings import Search

Floats = NDArray[np.floating[Any]]


class Pretraining(Protocol):
    """A stage of training on the demonstrations alone, before the environments run."""

    loss: float

    @property
    def finished(self) -> bool:
        """Whether the last step has been taken."""

    def step(self) -> None:
        """Take a gradient step."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that `load_state_dict` needs."""

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""


class Method:
    """The part of the loop in which adversarial algorithms differ; this base class is plain GAIL.

    Codes here are inputs of the code's layer (`PolicyNetwork.code_inputs`).

    Args:
        settings: of the algorithm.
        demonstrations: of the expert.
        give_codes: of the demonstrations in pretraining; None for a search.
        search: how continuous codes are searched.
        prior: of the policy's codes; None for that of the settings.

    Attributes:
        prior: of the policy's codes.
        cloning: behaviour cloning; after pretraining it shares the policy's network.
        judges_codes: whether the discriminator's inputs include the code.
    """

    judges_codes = False

    def __init__(
        self,
        settings: Adversarial,
        demonstrations: Demonstrations,
        give_codes: GiveCodes | None = None,
        search: Search | None = None,
        prior: Prior | None = None,
    ) -> None:
        self.settings = settings
        if not settings.has_codes:
            demonstrations = replace(demonstrations, labels=None, pairs=None)
        self.demonstrations = demonstrations
        self.prior = prior or settings.prior
        cloning = SOGBC(
            prior=self.prior,
            search=search or Search(),
            iterations=settings.pretraining,
            validation=0.0,
            **SOGBC.agent,  # the paper's
            hidden=settings.hidden,
            encoder=settings.encoder,
            seed=settings.seed,
            device=settings.device,
        )
        self.cloning = SOGBCTraining(cloning, demonstrations, give_codes)

    @property
    def device(self) -> torch.device:
        """The device of the networks."""
        return self.cloning.device

    @property
    def pretrainings(self) -> list[Pretraining]:
        """The stages of pretraining, in order."""
        return [self.cloning]

    @property
    def pretraining_iterations(self) -> int:
        """How many gradient steps the stages have together."""
        return self.settings.pretraining

    def draw_codes(self, starting: NDArray[np.integer[Any]], rng: np.random.Generator) -> Floats:
        """Return the codes of starting episodes (n, code size)."""
        codes = torch.from_numpy(self.prior.sample(len(starting), rng))
        return self.cloning.network.code_inputs(codes).numpy()

    def expert_codes(self, rows: NDArray[np.integer[Any]]) -> Tensor:
        """Return the codes of demonstrated steps (n,) for the discriminator, (n, code size); (n, 0) for none."""
        return torch.empty(len(rows), 0, device=self.device)

    def learn(self, pairs: Pairs, rng: np.random.Generator) -> dict[str, float]:
        """Train the method's own networks on a rollout's pairs; return scalars."""
        return {}

    def bonus(self, pairs: Pairs) -> Tensor | None:
        """Return a term to add to the discriminator's reward, (n,)."""
        return None

    def added_loss(self, update: int, rng: np.random.Generator) -> Callable[[], Tensor] | None:
        """Return a term to add to PPO's loss, evaluated in each minibatch of an update."""
        return None

    def scalars(self) -> dict[str, float]:
        """Return scalars of the added loss in the last update."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state, without that of the pretraining stages."""
        return {}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy; `counted` as in `Training.policy`."""
        if not isinstance(self.prior, Categorical):
            return Policy(network, self.prior)
        return self._listed(network, self.prior, counted)

    def _listed(self, network: PolicyNetwork, prior: Categorical, counted: bool) -> Policy:
        if not counted:
            return Policy(network, prior, (0,) * prior.size)
        losses, groups = settle(network.eval(), prior, self.demonstrations, self.groups)
        counts = np.bincount(best_codes(losses, self.demonstrations, prior), minlength=prior.size)
        return Policy(network, prior, tuple(int(count) for count in counts), groups=groups)

    @property
    def groups(self) -> Groups | None:
        """The groups of similar trajectories, one for each code; None without groups."""
        return None
