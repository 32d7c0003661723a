"""An algorithm between its first and its last iteration: what a run knows of it, and what all cloning shares."""

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
from manyways.errors import InputError
from manyways.networks.base import ActionNetwork
from manyways.networks.checkpoints import add_prefix, load_moments, moments, take_prefix
from manyways.networks.devices import choose_device
from manyways.networks.normalization import to_tensors
from manyways.policies.policy import Policy

if TYPE_CHECKING:
    from manyways.algorithms.settings import Algorithm, Cloning


class Training(ABC):
    """An algorithm between its first and its last iteration.

    Attributes:
        iteration: how many iterations were done.
        loss: of the last one.
        code_usage: how many of the last iteration's trajectories the search gave to each code, (codes,), or how many
            numbers of their continuous codes to each tenth of the prior, (10,); empty where there are no codes.
        warnings: what the user should know, each a sentence; a run prints each once.
    """

    iteration: int = 0
    loss: float = float("nan")
    code_usage: NDArray[np.int64]
    warnings: list[str]

    @property
    @abstractmethod
    def iterations(self) -> int:
        """How many there are in all."""

    @property
    def finished(self) -> bool:
        """Whether the last iteration is done."""
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
        """Return what the last iteration measured, `loss` among it."""
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
        """Return the policy as it stands.

        Args:
            counted: whether to say how many demonstrations each code explains best, which may take a while.
        """

    @property
    def at_checkpoint(self) -> bool:
        """Whether `state_dict` holds everything that training needs to go on bit for bit."""
        return True

    @property
    def environment_steps(self) -> int:
        """How many steps the environments have taken."""
        return 0

    @property
    def evaluation_due(self) -> bool:
        """Whether the policy should be evaluated now, to keep the best on the way."""
        return False


class CloningTraining(Training):
    """What is learned from demonstrations alone, by Muon and Adam and a learning rate that falls to 0.

    All randomness is drawn from (seed, iteration). So the network, the optimizers' moments and the iteration are the
    whole state: training restored from `state_dict()` goes on bit for bit.

    Args:
        settings: of the algorithm.
        demonstrations: to learn from.
        network: with its first weights.
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
        """How many gradient steps there are in all."""
        return self.settings.iterations

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * (1 - self.iteration / self.iterations)

    @abstractmethod
    def _losses(self) -> dict[str, Tensor]:
        """Return the parts of the next iteration's loss, which add up to it."""

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
        """Return the loss of the last step, and its parts where it has several."""
        return {"loss": self.loss} | self._parts

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that `load_state_dict` needs, as named tensors."""
        tensors = add_prefix("network", self.network.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= add_prefix(f"optimizer.{number}", moments(optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""
        with fitting_checkpoint():
            self.network.load_state_dict(take_prefix("network", tensors))
            self.iteration = int(tensors["iteration"])
            for number, optimizer in enumerate(self._optimizers):
                load_moments(optimizer, take_prefix(f"optimizer.{number}", tensors))


@contextlib.contextmanager
def fitting_checkpoint() -> Iterator[None]:
    """Raise `InputError` where a checkpoint's tensors are of other settings."""
    try:
        yield
    except (KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error


def ignored_columns(demonstrations: Demonstrations) -> list[str]:
    """Return a sentence that names the columns from which nothing can be learned, if there are any."""
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
def _bar(training: Training, name: str, wanted: bool | None) -> Iterator[Callable[[Training], None]]:
    if not (sys.stderr.isatty() if wanted is None else wanted):
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
