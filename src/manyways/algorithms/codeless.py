"""What the algorithms without a code share: training between its first and its last iteration.

    repeat: take steps of the demonstrations, each with what was seen before it and what was done after it
            one gradient step on the network's own loss

`mdn`, `bet` and `diffusion` are what multimodal demonstrations are cloned with where no code tells the ways apart.
They are rivals to be measured against, so they have what SOG-BC has: the same data and normalisation, the same width,
as many gradient steps, the same optimizers, and a learning rate chosen for each.
"""

import copy
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from manyways.algorithms.muon import Muon
from manyways.algorithms.sog_bc import choose_device, seeded_generator
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.policies.codeless import CodelessNetwork, CodelessPolicy


@dataclass(frozen=True, kw_only=True)
class Codeless:
    """Settings that the algorithms without a code share; `fit` runs one.

    Args:
        iterations: gradient steps.
        steps_per_batch: demonstrated steps in a gradient step, drawn at random from all.
        learning_rate: of Muon and Adam at the start; falls to 0 linearly.
        hidden: width of the network.
        seed: of everything random; the same seed on the same machine gives the same policy.
        device: "auto" takes a GPU where there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str]

    iterations: int = 3000
    steps_per_batch: int = 1024
    learning_rate: float = 5e-3
    hidden: int = 128
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        self._require_positive("iterations", "steps_per_batch", "hidden")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}; give more than 0")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give 0 or more")

    def _require_positive(self, *settings: str) -> None:
        for setting in settings:
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")

    @abstractmethod
    def network(self, observation_size: int, action_size: int) -> CodelessNetwork:
        """Return the network before training, its weights yet to be drawn."""

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)

    def start(self, demonstrations: Demonstrations) -> "CodelessTraining":
        """Return training at its first iteration, to be stepped, saved and restored by the caller."""
        return CodelessTraining(self, demonstrations)

    def fit(
        self, demonstrations: Demonstrations, callback: Callable[["CodelessTraining"], object] | None = None
    ) -> CodelessPolicy:
        """Learn from the demonstrations.

        Args:
            demonstrations: of any lengths.
            callback: called with the training after each iteration.
        """
        training = self.start(demonstrations)
        while not training.finished:
            training.step()
            if callback is not None:
                callback(training)
        return training.policy()


class CodelessTraining:
    """An algorithm without a code between its first and its last iteration.

    All randomness is drawn from (seed, iteration), so the network, the optimizers' moments and the iteration are the
    whole state: training restored from `state()` goes on bit for bit.

    Attributes:
        iteration: how many gradient steps have been taken.
        loss: of the last step.
        code_usage: empty, (0,), as there are no codes.
    """

    def __init__(self, settings: Codeless, demonstrations: Demonstrations) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.iteration = 0
        self.loss = float("nan")
        self.code_usage = np.zeros(0, np.int64)
        self._parts: dict[str, float] = {}
        self._device = choose_device(settings.device)
        network = settings.network(demonstrations.observation_size, demonstrations.action_size)
        network.initialize(torch.Generator().manual_seed(settings.seed))
        network.fit(demonstrations, settings.seed)
        self._network = network.to(self._device)
        with torch.no_grad():
            self._observations = network.see(torch.from_numpy(demonstrations.observations).to(self._device))
            self._actions = network.actions.normalize(torch.from_numpy(demonstrations.actions).to(self._device))
        matrices = network.matrices()
        others = [parameter for parameter in network.parameters() if all(parameter is not m for m in matrices)]
        self._optimizers = (
            Muon(matrices, settings.learning_rate),
            torch.optim.Adam(others, settings.learning_rate, fused=True),
        )

    @property
    def iterations(self) -> int:
        """How many gradient steps there are in all."""
        return self.settings.iterations

    @property
    def finished(self) -> bool:
        """Whether the last gradient step has been taken."""
        return self.iteration >= self.settings.iterations

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * (1 - self.iteration / self.settings.iterations)

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration reads, those before and after the drawn ones included."""
        return self.settings.steps_per_batch * (self._network.window - 1 + self._network.chunk)

    def step(self) -> None:
        """Take one gradient step."""
        network = self._network
        network.train()
        seen, done = self._draw()
        parts = network.losses(
            self._observations[seen], self._actions[done], seeded_generator(self.settings.seed, self.iteration)
        )
        loss = torch.stack(list(parts.values())).sum()
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            optimizer.step()
        self.loss = loss.item()
        self._parts = {name: value.item() for name, value in parts.items()}
        self.iteration += 1

    def _draw(self) -> tuple[Tensor, Tensor]:
        """Return the rows of what is seen (steps, window) and of what is done (steps, window - 1 + chunk).

        Before a trajectory's start its first observation stands, after its end its last action.
        """
        demonstrations, network = self.demonstrations, self._network
        rng = np.random.default_rng((self.settings.seed, self.iteration))
        rows = rng.integers(demonstrations.steps, size=self.settings.steps_per_batch)
        trajectories = demonstrations.trajectory_of(rows)
        first = demonstrations.starts[trajectories]
        last = first + demonstrations.lengths[trajectories] - 1
        around = rows[:, None] + np.arange(1 - network.window, network.chunk)
        around = np.clip(around, first[:, None], last[:, None])
        steps = torch.from_numpy(around).to(self._device)
        return steps[:, : network.window], steps

    def scalars(self) -> dict[str, float]:
        """Return the loss of the last step, and its parts where it has several."""
        return {"loss": self.loss} | (self._parts if len(self._parts) > 1 else {})

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs, as named tensors."""
        tensors = named("network", self._network.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= named(f"optimizer.{number}", moments(optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken.

        Raises:
            InputError: the tensors are of other settings or demonstrations.
        """
        try:
            self._network.load_state_dict(part("network", tensors))
            self.iteration = int(tensors["iteration"])
            for number, optimizer in enumerate(self._optimizers):
                restore_moments(optimizer, part(f"optimizer.{number}", tensors))
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error

    def policy(self) -> CodelessPolicy:
        """Return the policy as it stands."""
        # A copy, which training that goes on does not change.
        return CodelessPolicy(copy.deepcopy(self._network))
