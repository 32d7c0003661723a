"""SOG-GAIL (Algorithm 3): the adversarial loop, with the demonstrations' codes found by search.

line 7: search the code of each trajectory of a batch of demonstrations under the policy as it stands
line 8: minimise L_PPO + λ_S L_SOG, the squared error on that batch under these codes
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from manyways.algorithms.adversarial.loop import Adversarial, Method
from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical
from manyways.search import Search


@dataclass(frozen=True, kw_only=True)
class SOGGAIL(Adversarial):
    """Settings of SOG-GAIL; those of `Adversarial` otherwise.

    Args:
        prior: the codes to choose from.
        search: how continuous codes are searched; discrete ones are all tried.
        lambda_s: λ_S, the weight of L_SOG.
        sog_minibatch: demonstrated steps that are added to each of PPO's minibatches.
    """

    name: ClassVar[str] = "sog-gail"

    search: Search = field(default_factory=Search)
    lambda_s: float = 1.0
    sog_minibatch: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lambda_s < 0:
            raise InputError(f"lambda_s is {self.lambda_s}; give 0 or more")
        if self.sog_minibatch < 1:
            raise InputError(f"sog_minibatch is {self.sog_minibatch}; give 1 or more")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        settings = super().to_json()
        if isinstance(self.prior, Categorical):
            del settings["search"]
        return settings

    def method(self, demonstrations: Demonstrations) -> "SelfOrganized":
        """Return what this algorithm adds to the loop."""
        return SelfOrganized(self, demonstrations)


class SelfOrganized(Method):
    """Rollouts under codes of the prior; λ_S L_SOG beside PPO's loss."""

    settings: SOGGAIL

    def __init__(self, settings: SOGGAIL, demonstrations: Demonstrations) -> None:
        super().__init__(settings, demonstrations, search=settings.search)
        self._losses: list[Tensor] = []

    @property
    def groups(self) -> Groups | None:
        """The groups that SOG-BC's search asks."""
        return self.cloning.find_groups()

    def added_loss(self, update: int, rng: np.random.Generator) -> Callable[[], Tensor] | None:
        """Return λ_S L_SOG, on a part of a batch whose codes are searched once an update."""
        self._losses = []
        if self.settings.lambda_s == 0:
            return None
        batch = self.cloning.batch(self.settings.pretraining + update)
        network = self.cloning.network
        inputs = network.normalized(batch.observations)

        def loss() -> Tensor:
            rows = torch.from_numpy(rng.integers(len(inputs), size=self.settings.sog_minibatch))
            predicted = network.decode(network.state(inputs[rows]) + network.code(batch.codes[rows]))
            error = functional.mse_loss(predicted, batch.actions[rows]) * batch.actions.shape[1]
            self._losses.append(error.detach())
            return self.settings.lambda_s * error

        return loss

    def scalars(self) -> dict[str, float]:
        """Return the mean of L_SOG over the last update."""
        return {"sog_loss": torch.stack(self._losses).mean().item()} if self._losses else {}
