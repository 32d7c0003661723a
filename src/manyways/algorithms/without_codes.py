"""The training loop of MDN, BeT and diffusion policy.

    repeat: take steps of the demonstrations, each with the observations before it and the actions after it
            one gradient step on the network's own loss

The algorithms differ in their networks (`networks.mdn`, `networks.bet`, `networks.diffusion`). For a fair comparison
they share SOG-BC's data, normalisation, width, number of gradient steps and optimizers; each has a tuned learning rate.
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
    """Training of an algorithm without a code.

    Args:
        settings: of the algorithm; its name is its network's kind.
        demonstrations: the training data.
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
        """How many demonstrated steps an iteration reads, those in windows and chunks included."""
        return self.settings.steps_per_batch * (self.network.window - 1 + self.network.chunk)

    def _losses(self) -> dict[str, Tensor]:
        network = self.network
        observation_rows, action_rows = self._draw()
        losses: dict[str, Tensor] = network.losses(
            network.observations(take(self._observations, observation_rows)),
            network.actions.targets(self._actions[action_rows]),
            seeded_generator(self.settings.seed, self.iteration),
        )
        return losses

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return the rows of observations (steps, window) and of actions (steps, window - 1 + chunk).

        A trajectory's first observation is repeated before its start, its last action after its end.
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
        """Return the current policy."""
        # A copy, which further training does not change.
        network: Any = copy.deepcopy(self.network)
        return Policy(network)
