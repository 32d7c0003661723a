"""What an adversarial algorithm adds to the loop: where codes come from, what is rewarded, which loss is added."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.adversarial.pairs import Pairs
from manyways.algorithms.adversarial.settings import Adversarial
from manyways.algorithms.settings import SOGBC
from manyways.algorithms.sog_bc import GiveCodes, SOGBCTraining
from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical, Prior
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.explanation import settle
from manyways.policies.policy import Policy
from manyways.search.settings import Search

Floats = NDArray[np.floating[Any]]


class Pretraining(Protocol):
    """What is learned from the demonstrations alone, before the environments are run."""

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
    """What an adversarial algorithm adds to the loop; this one adds nothing: plain GAIL.

    Codes are as the code's layer takes them throughout.

    Args:
        settings: of the algorithm.
        demonstrations: of the expert.
        give_codes: of the demonstrations in pretraining; None for a search.
        search: how continuous codes are searched.
        prior: of the policy's codes, where that is not the settings' own.

    Attributes:
        prior: of the policy's codes.
        cloning: behaviour cloning, which shares the policy's network once pretraining is over.
        judges_codes: whether the discriminator judges pairs together with their code.
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
        self.demonstrations = demonstrations
        self.prior = prior or settings.prior
        cloning = SOGBC(
            prior=self.prior,
            search=search or Search(),
            iterations=settings.pretraining,
            hidden=settings.hidden,
            encoder=settings.encoder,
            seed=settings.seed,
            device=settings.device,
        )
        self.cloning = SOGBCTraining(cloning, demonstrations, give_codes)

    @property
    def device(self) -> torch.device:
        """Where networks are."""
        return self.cloning.device

    @property
    def pretrainings(self) -> list[Pretraining]:
        """What is learned before the environments are run, in this order."""
        return [self.cloning]

    @property
    def pretraining_iterations(self) -> int:
        """How many steps they have together."""
        return self.settings.pretraining

    def draw_codes(self, starting: NDArray[np.integer[Any]], rng: np.random.Generator) -> Floats:
        """Return the codes of starting episodes (n, code size)."""
        drawn = torch.from_numpy(self.prior.sample(len(starting), rng))
        return self.cloning.network.code_inputs(drawn).numpy()

    def expert_codes(self, rows: NDArray[np.integer[Any]]) -> Tensor:
        """Return the codes of demonstrated steps (n,) for the discriminator, (n, code size); (n, 0) for none."""
        return torch.empty(len(rows), 0, device=self.device)

    def learn(self, pairs: Pairs, rng: np.random.Generator) -> dict[str, float]:
        """Learn from a rollout's pairs what else there is; return its scalars."""
        return {}

    def bonus(self, pairs: Pairs) -> Tensor | None:
        """Return what is added to the discriminator's reward, (n,)."""
        return None

    def added_loss(self, update: int, rng: np.random.Generator) -> Callable[[], Tensor] | None:
        """Return what is added to PPO's loss in each minibatch of an update."""
        return None

    def scalars(self) -> dict[str, float]:
        """Return what the added loss was."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return what `load_state_dict` needs beside the pretrainings."""
        return {}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy, with how many demonstrations each code explains best where that is asked for."""
        if not isinstance(self.prior, Categorical):
            return Policy(network, self.prior)
        return self._listed(network, self.prior, counted)

    def _listed(self, network: PolicyNetwork, prior: Categorical, counted: bool) -> Policy:
        if not counted:
            return Policy(network, prior, (0,) * prior.size)
        losses, groups = settle(network.eval(), prior, self.demonstrations, self.groups)
        counts = np.bincount(losses.argmin(axis=1), minlength=prior.size)
        return Policy(network, prior, tuple(int(count) for count in counts), groups=groups)

    @property
    def groups(self) -> Groups | None:
        """The groups of similar trajectories that codes belong to, where there are any."""
        return None
