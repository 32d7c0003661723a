"""What MDN, BeT and diffusion policy share: the loop that trains a network without a code.

    repeat: take steps of the demonstrations, each with the observations before it and the actions after it
            one gradient step on the network's own loss

Each algorithm is its network (`networks.mdn`, `networks.bet`, `networks.diffusion`). They are rivals to be measured
against, so they have what SOG-BC has: the same data and normalisation, the same width, as many gradient steps, the same
optimizers, and a learning rate chosen for each.
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyways.algorithms.settings import WithoutCodes
from manyways.algorithms.training import CloningTraining
from manyways.demonstrations import Demonstrations
from manyways.networks.devices import seeded_generator
from manyways.networks.normalization import take
from manyways.networks.registry import network_class
from manyways.policies.policy import Policy


class WithoutCodesTraining(CloningTraining):
    """An algorithm without a code between its first and its last iteration.

    Args:
        settings: of the algorithm, whose name is its network's kind.
        demonstrations: to learn from.
    """

    settings: WithoutCodes

    def __init__(self, settings: WithoutCodes, demonstrations: Demonstrations) -> None:
        network = network_class(settings.name)(
            demonstrations.observation_space,
            demonstrations.action_space,
            encoder=settings.encoder,
            seed=settings.seed,
            **settings.network_settings(),
        )
        for name in ("focal", "offset_weight"):  # of the loss alone
            if hasattr(settings, name):
                setattr(network, name, getattr(settings, name))
        super().__init__(settings, demonstrations, network)

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration reads, those before and after the drawn ones included."""
        return self.settings.steps_per_batch * (self.network.window - 1 + self.network.chunk)

    def _losses(self) -> dict[str, Tensor]:
        network = self.network
        observed, acted = self._draw()
        losses: dict[str, Tensor] = network.losses(
            network.observations(take(self._observations, observed)),
            network.actions.targets(self._actions[acted]),
            seeded_generator(self.settings.seed, self.iteration),
        )
        return losses

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return the rows of observations (steps, window) and of actions (steps, window - 1 + chunk).

        Before a trajectory's start its first observation stands, after its end its last action.
        """
        demonstrations, network = self.demonstrations, self.network
        rng = np.random.default_rng((self.settings.seed, self.iteration))
        rows = rng.integers(demonstrations.steps, size=self.settings.steps_per_batch)
        trajectories = demonstrations.trajectory_of(rows)
        first = demonstrations.starts[trajectories]
        last = first + demonstrations.lengths[trajectories] - 1
        around = rows[:, None] + np.arange(1 - network.window, network.chunk)
        around = np.clip(around, first[:, None], last[:, None])
        steps = torch.from_numpy(around).to(self.device)
        return steps[:, : network.window], steps

    def policy(self, counted: bool = True) -> Policy:
        """Return the policy as it stands."""
        # A copy, which training that goes on does not change.
        network: Any = copy.deepcopy(self.network)
        return Policy(network)
