"""SOG-GAIL (Algorithm 3): the adversarial loop, with a search for the demonstrations' codes.

line 7: search the code of each trajectory of a batch of demonstrations under the current policy
line 8: minimise L_PPO + λ_S L_SOG, the squared error on that batch under these codes
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from manyways.algorithms.adversarial.method import Method
from manyways.algorithms.adversarial.settings import SOGGAIL
from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.networks.normalization import take


class SOGMethod(Method):
    """Rollouts under codes of the prior; λ_S L_SOG beside PPO's loss."""

    settings: SOGGAIL

    def __init__(self, settings: SOGGAIL, demonstrations: Demonstrations) -> None:
        super().__init__(settings, demonstrations, search=settings.search)
        self._losses: list[Tensor] = []

    @property
    def groups(self) -> Groups | None:
        """The groups of SOG-BC's search."""
        return self.cloning.find_groups()

    def added_loss(self, update: int, rng: np.random.Generator) -> Callable[[], Tensor] | None:
        """Return λ_S L_SOG, on parts of a batch whose codes are searched once in an update."""
        self._losses = []
        if self.settings.lambda_s == 0:
            return None
        batch = self.cloning.batch(self.settings.pretraining + update)
        network = self.cloning.network
        inputs = network.observations(batch.observations)

        def loss() -> Tensor:
            rows = torch.from_numpy(rng.integers(len(batch.targets), size=self.settings.sog_minibatch)).to(self.device)
            outputs = network.decode(network.state_part(take(inputs, rows)) + network.code(batch.codes[rows]))
            error = network.actions.errors(outputs, batch.targets[rows]).mean()
            self._losses.append(error.detach())
            return self.settings.lambda_s * error

        return loss

    def scalars(self) -> dict[str, float]:
        """Return the mean of L_SOG over the last update."""
        return {"sog_loss": torch.stack(self._losses).mean().item()} if self._losses else {}
