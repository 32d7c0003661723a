"""The interface of training, and the base of all cloning algorithms."""

import contextlib
import copy
import math
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.from_policy import as_learned_by, like, take_over
from manyways.algorithms.holding_out import hold_out
from manyways.algorithms.muon import Muon
from manyways.algorithms.optimizers import Adam, AdamW
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.alike import require_demonstrations
from manyways.demonstrations.declarations import Hints
from manyways.errors import InputError
from manyways.networks.base import ActionNetwork
from manyways.networks.checkpoints import add_prefix, fitting_checkpoint, load_moments, moments, take_prefix
from manyways.networks.devices import choose_device, seeded_layers
from manyways.networks.normalization import in_memory, to_tensors
from manyways.policies.novelty import Novelty
from manyways.policies.policy import Policy

if TYPE_CHECKING:
    from manyways.algorithms.settings import Algorithm, Cloning

WIDTH = 128  # as in the paper
_CHECKS = 50  # of the held-out loss in a training
_STEPS_TO_CHECK = 4096  # at most, evenly spaced
# Of the residual network.
_BLOCKS = 3
_DROPOUT = 0.1
# Of AdamW.
_WEIGHT_DECAY = 1e-3
_RISE = 0.05  # share of the iterations in which the learning rate rises
_AVERAGING = 0.05  # share of the iterations over which the weights are averaged


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

    def start_from(self, policy: Policy) -> None:
        """Take over a trained policy's weights and codes, before the first iteration.

        Raises:
            InputError: this algorithm cannot, or the policy has another architecture.
        """
        raise InputError(f"{type(self).__name__} cannot start from a policy; take an algorithm that clones, as sog-bc")

    def scalars(self) -> dict[str, float]:
        """Return the scalars of the last iteration, including `loss`."""
        return {"loss": self.loss}

    @property
    def status(self) -> str:
        """How it goes, in a few words."""
        return f"loss {self.loss:.4f}"

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
    """Training on demonstrations alone, with held-out ones beside it.

    All randomness comes from (seed, iteration). So the networks, the optimizers' states and the iteration are the whole
    state, and training restored from it continues bit for bit.

    Args:
        settings: of the algorithm.
        demonstrations: all, as they are learned (`Demonstrations.encoded`); a share of them is held out.
        network: to train.
        muon_width: see `Muon`.

    Attributes:
        demonstrations: those that the network learns from.
        held_out: the others, to measure the loss on; None if there are none.
        validation_loss: of the held-out ones at the last check.
    """

    held_out: Demonstrations | None
    validation_loss: float = float("nan")

    def __init__(
        self, settings: "Cloning", demonstrations: Demonstrations, network: ActionNetwork, muon_width: int | None = None
    ) -> None:
        self.settings = settings
        self.ensemble = None if settings.ensemble == "off" else float(settings.ensemble)
        if self.ensemble is not None and network.actions.discrete:
            raise InputError("ensemble averages actions, and choices have no mean; leave it out")
        self.all_demonstrations, self.rotations = demonstrations, demonstrations.rotations or None
        self.demonstrations, self.held_out = hold_out(demonstrations, settings.validation, settings.seed)
        self.code_usage = np.zeros(0, np.int64)
        jumping = Hints(demonstrations.undeclared.angles)  # a quaternion may do as it is
        self.warnings = [*ignored_columns(demonstrations), *recognised_columns(demonstrations), *jumping.sentences()]
        self._parts: dict[str, float] = {}
        self.device = choose_device(settings.device)
        self._adamw = settings.optimizer == "adamw"
        network.initialize(torch.Generator().manual_seed(settings.seed), small=self._adamw)
        network.fit(self.demonstrations, settings.seed)
        self.network: Any = network.to(self.device)
        self._observations = in_memory(self.demonstrations.observations, self.device)
        self._actions = in_memory(self.demonstrations.actions, self.device)
        self._optimizers = self._make_optimizers(muon_width)
        # What is evaluated and kept: the average of the weights on the way, or the weights themselves.
        self._averaged: Any = copy.deepcopy(self.network) if self._adamw else self.network
        self._best: dict[str, Tensor] = {}
        self._best_loss, self._best_iteration = math.inf, 0

    def _make_optimizers(self, muon_width: int | None) -> tuple[torch.optim.Optimizer, ...]:
        rate = self.peak
        if self._adamw:
            return (AdamW(self.network.parameters(), rate, weight_decay=_WEIGHT_DECAY, fused=True),)
        matrices = self.network.matrices()
        others = [parameter for parameter in self.network.parameters() if all(parameter is not m for m in matrices)]
        return Muon(matrices, rate, width=muon_width), Adam(others, rate, fused=True)

    def start_from(self, policy: Policy) -> None:
        """Take over a trained policy's weights and codes; see `algorithms.from_policy`.

        The policy's own held-out loss counts as the first, so that training never makes it worse.
        """
        prior = getattr(self.settings, "prior", None)
        self.warnings += take_over(self.network, prior, policy, self.demonstrations)
        self._averaged.load_state_dict(self.network.state_dict())
        if self.held_out is not None:
            self._check(self.held_out)

    @property
    def iterations(self) -> int:
        """The number of gradient steps in all."""
        assert self.settings.iterations is not None  # `resolve` has given them
        return self.settings.iterations

    @property
    def finished(self) -> bool:
        """Whether the last iteration is over, or the held-out loss has not fallen for too long."""
        past = self.iteration - self._best_iteration > self.settings.patience * self.iterations
        return super().finished or (self.settings.keep == "best" and self.held_out is not None and past)

    @property
    def peak(self) -> float:
        """The greatest learning rate."""
        assert self.settings.learning_rate is not None  # `resolve` has given one
        return self.settings.learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        share = self.iteration / self.iterations
        if not self._adamw:
            return self.peak * (1 - share)
        if share < _RISE:
            return self.peak * (self.iteration + 1) / (_RISE * self.iterations + 1)
        return self.peak * (1 + math.cos(math.pi * (share - _RISE) / (1 - _RISE))) / 2

    @torch.no_grad()
    def measure_novelty(self, network: Any) -> Novelty | None:
        """Return how far observations are from the demonstrations, in a network's features."""

        def features(observations: Any) -> NDArray[np.float32]:
            found: Tensor = network.features(network.observations(to_tensors(observations, self.device)))
            return found.cpu().numpy()

        return Novelty.fit(features, self.demonstrations, self.held_out)

    @abstractmethod
    def _losses(self) -> dict[str, Tensor]:
        """Return the terms of the next iteration's loss by name."""

    @abstractmethod
    def _held_out_loss(self, network: Any, held_out: Demonstrations) -> float:
        """Return the mean loss of held-out demonstrations, at most `steps_to_check` of their steps."""

    def step(self) -> None:
        """Take one gradient step."""
        self.network.train()
        with seeded_layers(self.settings.seed, self.iteration, self.device):
            parts = self._losses()
        loss = torch.stack(list(parts.values())).sum() if len(parts) > 1 else next(iter(parts.values()))
        self.network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            optimizer.step()
        self.loss = parts["loss"].item() if "loss" in parts else loss.item()
        self._parts = {name: value.item() for name, value in parts.items()} if len(parts) > 1 else {}
        self.iteration += 1
        if self._adamw:
            self._average()
        due = self.iteration % self._check_every == 0 or self.iteration == self.iterations
        if self.held_out is not None and due:
            self._check(self.held_out)

    @property
    def _check_every(self) -> int:
        return max(1, self.iterations // _CHECKS)

    @property
    def steps_to_check(self) -> int:
        """How many held-out steps a check looks at, at most: no more than half of those that training saw since."""
        return min(_STEPS_TO_CHECK, max(1, self._check_every * self.steps_per_iteration // 2))

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(1 - 1 / max(1, _AVERAGING * self.iterations), (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(list(self._averaged.parameters()), list(self.network.parameters()), 1 - decay)

    def _check(self, held_out: Demonstrations) -> None:
        """Measure the held-out loss, and keep the weights if it is the least so far and the best are to be kept."""
        self._averaged.eval()
        self.validation_loss = self._held_out_loss(self._averaged, held_out)
        self._parts["validation_loss"] = self.validation_loss
        if self.validation_loss < self._best_loss:
            self._best_loss, self._best_iteration = self.validation_loss, self.iteration
            if self.settings.keep == "best":
                self._best = {name: tensor.clone() for name, tensor in self._averaged.state_dict().items()}

    def best_network(self) -> Any:
        """Return a copy of the network with the least held-out loss, or of the last one: see `Cloning.keep`."""
        network = copy.deepcopy(self._averaged).eval()
        if self._best:
            network.load_state_dict(self._best)
        return network

    def scalars(self) -> dict[str, float]:
        """Return the loss of the last step, and its terms if there are several."""
        return {"loss": self.loss} | self._parts

    @property
    def status(self) -> str:
        """The loss, and that of held-out demonstrations."""
        held_out = "" if math.isnan(self.validation_loss) else f", held out {self.validation_loss:.4f}"
        return super().status + held_out

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        tensors = add_prefix("network", self.network.state_dict())
        if self._adamw:
            tensors |= add_prefix("averaged", self._averaged.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= add_prefix(f"optimizer.{number}", moments(optimizer))
        numbers = {"iteration": self.iteration, "best_iteration": self._best_iteration}
        tensors |= {name: torch.tensor(value) for name, value in numbers.items()}
        return (
            tensors | add_prefix("best", self._best) | {"best_loss": torch.tensor(self._best_loss, dtype=torch.float64)}
        )

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        with fitting_checkpoint():
            self.network.load_state_dict(take_prefix("network", tensors))
            if self._adamw:
                self._averaged.load_state_dict(take_prefix("averaged", tensors))
            self.iteration, self._best_iteration = int(tensors["iteration"]), int(tensors["best_iteration"])
            self._best, self._best_loss = take_prefix("best", tensors), float(tensors["best_loss"])
            for number, optimizer in enumerate(self._optimizers):
                load_moments(optimizer, take_prefix(f"optimizer.{number}", tensors))


Network = TypeVar("Network", bound=ActionNetwork)


def network_of_width(make: Callable[[int], Network], hidden: int | None) -> Network:
    """Return a network of this width. Where none is given, it is 128, and 256 for more features of an observation."""
    network = make(hidden or WIDTH)
    return make(2 * WIDTH) if hidden is None and network.feature_size > WIDTH else network


def residual_settings(settings: "Cloning") -> dict[str, Any]:
    """Return the arguments of a network that decide whether it is the paper's or a residual one."""
    return {"blocks": _BLOCKS, "dropout": _DROPOUT} if settings.network == "residual" else {}


def ignored_columns(demonstrations: Demonstrations) -> list[str]:
    """Return a sentence that names the columns that do not vary, if there are any."""
    names = demonstrations.ignored_columns
    if not names:
        return []
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"columns that do not vary are ignored: {listed}"]


def recognised_columns(demonstrations: Demonstrations) -> list[str]:
    """Return a sentence on the columns that are learned as angles and quaternions though nobody declared them."""
    rotations = demonstrations.rotations
    if rotations is None or not rotations.recognised:
        return []
    named = ", ".join(rotations.named)
    return [f"angles or quaternions, since they come round: {named}; --angles none learns them as plain numbers"]


def run_to_end(
    settings: "Algorithm",
    demonstrations: Demonstrations,
    environment: Any,
    callback: Callable[[Training], object] | None,
    progress: bool | None,
    init: Policy | None = None,
) -> Policy:
    """Train from the first to the last iteration, or until the callback returns False; see `Algorithm.fit`."""
    require_demonstrations(demonstrations)
    settings = settings if init is None else like(settings, init)
    training = settings.start(as_learned_by(init, demonstrations), environment)
    if init is not None:
        training.start_from(init)
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
    policy = training.policy()
    policy.provenance = {"algorithm": settings.name, "date": time.strftime("%Y-%m-%d")}
    if init is not None and init.names:
        policy.take_names(init, demonstrations, aligned=True)
    return policy


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
            bar.update(task, completed=training.iteration, loss=training.status)

        yield update
