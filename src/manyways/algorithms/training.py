"""The interface of training, and the base of all cloning algorithms."""

import contextlib
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.muon import Muon
from manyways.demonstrations import Demonstrations
from manyways.networks.base import ActionNetwork
from manyways.networks.checkpoints import add_prefix, fitting_checkpoint, load_moments, moments, take_prefix
from manyways.networks.devices import choose_device
from manyways.networks.normalization import to_tensors
from manyways.policies.policy import Policy

if TYPE_CHECKING:
    from manyways.algorithms.settings import Algorithm, Cloning


class Training(ABC):
    """The training of an algorithm, which can be stepped, saved and restored.

    Attributes:
        iteration: the number of iterations so far.
        loss: of the last iteration.
        code_usage: how many of the last iteration's trajectories have each code, (codes,); for continuous codes, how
            many of their entries are in each tenth of the prior, (10,); empty without codes.
        warnings: sentences for the user; a run prints each once.
    """

    iteration: int = 0
    loss: float = float("nan")
    code_usage: NDArray[np.int64]
    warnings: list[str]

    @property
    @abstractmethod
    def iterations(self) -> int:
        """The number of iterations in all."""

    @property
    def finished(self) -> bool:
        """Whether the last iteration is over."""
        return self.iteration >= self.iterations

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """Of the next iteration."""

    @property
    @abstractmethod
    def steps_per_iteration(self) -> int:
        """How many steps the next iteration learns from."""

    @abstractmethod
    def step(self) -> None:
        """Do an iteration."""

    def scalars(self) -> dict[str, float]:
        """Return the scalars of the last iteration, including `loss`."""
        return {"loss": self.loss}

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that `load_state_dict` needs."""

    @abstractmethod
    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken.

        Raises:
            InputError: the tensors are of other settings or demonstrations.
        """

    @abstractmethod
    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy.

        Args:
            counted: whether to count the demonstrations of each code, which may take a while.
        """

    @property
    def at_checkpoint(self) -> bool:
        """Whether training continues bit for bit from `state_dict`."""
        return True

    @property
    def environment_steps(self) -> int:
        """How many steps the environments have taken."""
        return 0

    @property
    def evaluation_due(self) -> bool:
        """Whether the policy should be evaluated now, to save the best one."""
        return False


class CloningTraining(Training):
    """Training on demonstrations alone, with Muon, Adam and a learning rate that falls to 0.

    All randomness comes from (seed, iteration). So the network, the optimizers' states and the iteration are the whole
    state, and training restored from it continues bit for bit.

    Args:
        settings: of the algorithm.
        demonstrations: the training data.
        network: to train.
        muon_width: see `Muon`.
    """

    def __init__(
        self, settings: "Cloning", demonstrations: Demonstrations, network: ActionNetwork, muon_width: int | None = None
    ) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.code_usage = np.zeros(0, np.int64)
        self.warnings = ignored_columns(demonstrations)
        self._parts: dict[str, float] = {}
        self.device = choose_device(settings.device)
        network.initialize(torch.Generator().manual_seed(settings.seed))
        network.fit(demonstrations, settings.seed)
        self.network: Any = network.to(self.device)
        self._observations = to_tensors(demonstrations.observations, self.device)
        self._actions = torch.from_numpy(demonstrations.actions).to(self.device)
        matrices = network.matrices()
        others = [parameter for parameter in network.parameters() if all(parameter is not m for m in matrices)]
        self._optimizers = (
            Muon(matrices, settings.learning_rate, width=muon_width),
            torch.optim.Adam(others, settings.learning_rate, fused=True),
        )

    @property
    def iterations(self) -> int:
        """The number of gradient steps in all."""
        return self.settings.iterations

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * (1 - self.iteration / self.iterations)

    @abstractmethod
    def _losses(self) -> dict[str, Tensor]:
        """Return the terms of the next iteration's loss by name."""

    def step(self) -> None:
        """Take one gradient step."""
        self.network.train()
        parts = self._losses()
        loss = torch.stack(list(parts.values())).sum() if len(parts) > 1 else next(iter(parts.values()))
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            optimizer.step()
        self.loss = loss.item()
        self._parts = {name: value.item() for name, value in parts.items()} if len(parts) > 1 else {}
        self.iteration += 1

    def scalars(self) -> dict[str, float]:
        """Return the loss of the last step, and its terms if there are several."""
        return {"loss": self.loss} | self._parts

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        tensors = add_prefix("network", self.network.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= add_prefix(f"optimizer.{number}", moments(optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        with fitting_checkpoint():
            self.network.load_state_dict(take_prefix("network", tensors))
            self.iteration = int(tensors["iteration"])
            for number, optimizer in enumerate(self._optimizers):
                load_moments(optimizer, take_prefix(f"optimizer.{number}", tensors))


def ignored_columns(demonstrations: Demonstrations) -> list[str]:
    """Return a sentence that names the columns that do not vary, if there are any."""
    names = demonstrations.ignored_columns
    if not names:
        return []
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"columns that do not vary are ignored: {listed}"]


def run_to_end(
    settings: "Algorithm",
    demonstrations: Demonstrations,
    environment: Any,
    callback: Callable[[Training], object] | None,
    progress: bool | None,
) -> Policy:
    """Train from the first to the last iteration, or until the callback returns False; see `Algorithm.fit`."""
    training = settings.start(demonstrations, environment)
    warned = 0
    with _bar(training, settings.name, progress) as update:
        while not training.finished:
            training.step()
            update(training)
            for warning in training.warnings[warned:]:
                warnings.warn(warning, stacklevel=3)
                warned += 1
            if callback is not None and callback(training) is False:
                break
    return training.policy()


@contextlib.contextmanager
def _bar(training: Training, name: str, progress: bool | None) -> Iterator[Callable[[Training], None]]:
    if not (sys.stderr.isatty() if progress is None else progress):
        yield lambda training: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=training.iterations, loss="")

        def update(training: Training) -> None:
            bar.update(task, completed=training.iteration, loss=f"loss {training.loss:.4f}")

        yield update
