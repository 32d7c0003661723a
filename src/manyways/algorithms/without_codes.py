"""The training loop of MDN, BeT and diffusion policy.

    repeat: take steps of the demonstrations, each with the observations before it and the actions after it
            one gradient step on the network's own loss

The algorithms differ in their networks (`networks.mdn`, `networks.bet`, `networks.diffusion`). For a fair comparison
they share SOG-BC's data, normalisation, width, number of gradient steps and optimizers; each has a tuned learning rate.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.defaults import resolve
from manyways.algorithms.settings import WithoutCodes
from manyways.algorithms.training import STEPS_TO_CHECK, CloningTraining, network_of_width, residual_settings
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.windows import around
from manyways.networks.devices import seeded_generator
from manyways.networks.normalization import take, to_tensors
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
        demonstrations = demonstrations.encoded
        settings = resolve(settings, demonstrations)

        def make_network(hidden: int) -> Any:
            return network_class(settings.name)(
                demonstrations.observation_space,
                demonstrations.action_space,
                encoder=settings.encoder,
                seed=settings.seed,
                hidden=hidden,
                **settings.window(),
                **settings.network_settings(),
                **residual_settings(settings),
            )

        network = network_of_width(make_network, settings.hidden)
        for name in ("focal", "offset_weight"):  # of the loss alone
            if hasattr(settings, name):
                setattr(network, name, getattr(settings, name))
        super().__init__(settings, demonstrations, network)

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration reads, those in windows and chunks included."""
        return self._batch_size * (self.network.window - 1 + self.network.chunk)

    @property
    def _batch_size(self) -> int:
        assert self.settings.steps_per_batch is not None  # `resolve` has given one
        return self.settings.steps_per_batch

    def _losses(self) -> dict[str, Tensor]:
        network = self.network
        observation_rows, action_rows, known = self._draw()
        losses: dict[str, Tensor] = network.losses(
            network.observations(take(self._observations, observation_rows)),
            network.actions.targets(take(self._actions, action_rows)),
            seeded_generator(self.settings.seed, self.iteration),
            known,
        )
        return losses

    def _draw(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the rows of observations and of actions around steps drawn at random, and which actions were done."""
        rng = np.random.default_rng((self.settings.seed, self.iteration))
        return self._windows(self.demonstrations, rng.integers(self.demonstrations.steps, size=self._batch_size))

    def _windows(self, demonstrations: Demonstrations, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the rows of observations and of actions around these rows, and which of the actions were done.

        The shapes are (steps, window) and twice (steps, window - 1 + chunk). A trajectory's first observation is
        repeated before its start, its last action after its end, where nobody knows what would have come. With one
        action a plan, all were done: None.
        """
        network = self.network
        before, after = network.window - 1, network.chunk - 1
        steps = torch.from_numpy(around(demonstrations, rows, before, after)).to(self.device)
        known = None
        if after:
            owners = demonstrations.trajectory_of(rows)
            left = demonstrations.starts[owners] + demonstrations.lengths[owners] - rows
            known = torch.from_numpy(np.arange(-before, after + 1) < left[:, None]).to(self.device)
        return steps[:, : network.window], steps, known

    @torch.no_grad()
    def _held_out_loss(self, network: Any, held_out: Demonstrations) -> float:
        """Return the loss of held-out steps, with the same noise at every check."""
        every = np.arange(0, held_out.steps, max(1, held_out.steps // STEPS_TO_CHECK))
        generator, total = seeded_generator(self.settings.seed, 0), 0.0
        at_once = network.at_once(len(every))
        for start in range(0, len(every), at_once):
            rows = every[start : start + at_once]
            *parts, known = self._windows(held_out, rows)
            observation_rows, action_rows = (part.cpu().numpy() for part in parts)
            losses = network.losses(
                network.observations(to_tensors(rows_of(held_out.observations, observation_rows), self.device)),
                network.actions.targets(torch.from_numpy(held_out.actions[action_rows]).to(self.device)),
                generator,
                known,
            )
            total += float(sum(losses.values())) * len(rows)
        return total / len(every)

    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy."""
        network = self.best_network()
        novelty = self.measure_novelty(network) if counted else None
        return Policy(network, novelty=novelty, rotations=self.rotations, ensemble=self.ensemble)
