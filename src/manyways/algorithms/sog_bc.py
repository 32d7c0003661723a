"""SOG-BC, multimodal behaviour cloning with a self-organizing generative model (Algorithm 2).

    repeat: take steps of many trajectories
            for each trajectory, search the code under which the policy explains its steps best     (lines 4-6)
            one gradient step on the policy's squared error under these codes                       (lines 7-8)

The state's part of the network is computed once for both lines. In the first steps the codes come from groups of
similar trajectories (`first_codes`), so that no code is dead before it has learned anything. From then on the search
also asks how unlikely a trajectory is in each group, because where the states tell the ways apart the policy's error
need not: one code can do several ways, each in a region of its own.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manyways.algorithms.muon import Muon
from manyways.clustering.groups import Groups, continuous_codes, nats_as_loss
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.policies.policy import Policy
from manyways.search import Search, search_batch, search_trajectories, step_losses, trajectory_losses

_WIDTH = 128
_SPREAD_AT_ONCE = 2**16  # numbers of codes; of more, they are spread over the prior every few iterations


@dataclass(frozen=True, kw_only=True)
class SOGBC:
    """Settings of SOG-BC; `fit` runs it.

    Args:
        prior: the codes to choose from.
        search: how continuous codes are searched; discrete ones are all tried.
        iterations: gradient steps.
        trajectories_per_batch: trajectories in a gradient step; one is drawn as often as it is long.
        steps_per_trajectory: steps of each, drawn at random, by which its code is chosen.
        learning_rate: of Muon and Adam at the start; falls to 0 linearly.
        hidden: width of the network; None takes 128 as the paper, and 256 where a state has more numbers than that.
        first_codes: "trajectories" starts from groups of similar trajectories and keeps them in mind, "random" is the
            paper's start, and its search by the policy's error alone.
        warm_up: for which share of the iterations the first codes are kept.
        seed: of everything random; the same seed on the same machine gives the same policy.
        device: "auto" takes a GPU where there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str] = "sog-bc"

    prior: Prior
    search: Search = field(default_factory=Search)
    iterations: int = 3000
    trajectories_per_batch: int = 64
    steps_per_trajectory: int = 64
    learning_rate: float = 5e-3
    hidden: int | None = None
    first_codes: Literal["trajectories", "random"] = "trajectories"
    warm_up: float = 0.1
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for setting in ("iterations", "trajectories_per_batch", "steps_per_trajectory", "hidden"):
            if getattr(self, setting) is not None and getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate is {self.learning_rate}; give more than 0")
        if not 0 <= self.warm_up < 1:
            raise InputError(f"warm_up is {self.warm_up}; give a share from 0 to less than 1")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give 0 or more")
        if self.first_codes not in ("trajectories", "random"):
            raise InputError(f"first_codes is {self.first_codes!r}; give 'trajectories' or 'random'")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        settings = asdict(self) | {"prior": self.prior.to_json()}
        if isinstance(self.prior, Categorical):
            del settings["search"]
        return settings

    def start(self, demonstrations: Demonstrations) -> "Training":
        """Return training at its first iteration, to be stepped, saved and restored by the caller."""
        return Training(self, demonstrations)

    def fit(self, demonstrations: Demonstrations, callback: Callable[["Training"], object] | None = None) -> Policy:
        """Learn from the demonstrations.

        Args:
            demonstrations: at least as many trajectories as codes.
            callback: called with the training after each iteration.

        Returns:
            The policy, with how many trajectories each of its codes explains best.

        Raises:
            InputError: there are more codes than trajectories.
        """
        training = self.start(demonstrations)
        while not training.finished:
            training.step()
            if callback is not None:
                callback(training)
        return training.policy()


GiveCodes = Callable[[Tensor, int], Tensor]
"""From the trajectories of a batch (n,) and the batch's number to codes, as the code's layer sees them, (n, size)."""


@dataclass(frozen=True)
class Batch:
    """Steps of some trajectories, with the code that explains each trajectory best.

    Attributes:
        observations: (steps, observation size), in real units.
        actions: (steps, action size), normalised.
        codes: (steps, code size), as the code's layer sees them.
    """

    observations: Tensor
    actions: Tensor
    codes: Tensor


class Training:
    """SOG-BC between its first and its last iteration.

    All randomness is drawn from (seed, iteration), so the network, the optimizers' moments and the iteration are the
    whole state: training restored from `state()` goes on bit for bit.

    Args:
        settings: of SOG-BC.
        demonstrations: to learn from.
        give_codes: instead of a search: behaviour cloning under codes that come from elsewhere.

    Attributes:
        network: the policy's, which another training may put its own in the place of.
        iteration: how many gradient steps have been taken.
        loss: mean squared error of the last step, summed over the normalised action's numbers.
        code_usage: how many of the last step's trajectories the search gave to each code, (codes,), or how many
            numbers of their continuous codes to each tenth of the prior, (10,).
    """

    def __init__(self, settings: SOGBC, demonstrations: Demonstrations, give_codes: GiveCodes | None = None) -> None:
        prior = settings.prior
        if isinstance(prior, Categorical) and prior.size > len(demonstrations):
            raise InputError(
                f"{prior.size} codes are more than the {len(demonstrations)} trajectories; "
                "give at most as many modes as trajectories"
            )
        self.settings = settings
        self.demonstrations = demonstrations
        self._give_codes = give_codes
        self.iteration = 0
        self.loss = float("nan")
        self.code_usage = prior.usage(np.zeros((0, prior.dimension), np.float32))
        self._device = choose_device(settings.device)
        self._observations = torch.from_numpy(demonstrations.observations).to(self._device)
        self._actions = torch.from_numpy(demonstrations.actions).to(self._device)
        if isinstance(prior, Categorical):
            self._codes = torch.from_numpy(prior.enumerate()).to(self._device)
        network = PolicyNetwork(
            demonstrations.observation_size,
            demonstrations.action_size,
            prior.dimension,
            settings.hidden or (_WIDTH if demonstrations.observation_size <= _WIDTH else 2 * _WIDTH),
            isinstance(prior, Gaussian),
        )
        network.initialize(torch.Generator().manual_seed(settings.seed))
        network.observations.fit(demonstrations.observations)
        network.actions.fit(demonstrations.actions)
        network.action_low.copy_(torch.from_numpy(demonstrations.actions.min(axis=0)))
        network.action_high.copy_(torch.from_numpy(demonstrations.actions.max(axis=0)))
        self.network = network.to(self._device)
        matrices = [layer.weight for layer in network.state if isinstance(layer, nn.Linear)]
        others = [parameter for parameter in network.parameters() if all(parameter is not m for m in matrices)]
        self._optimizers = (
            Muon(matrices, settings.learning_rate, width=_WIDTH),
            torch.optim.Adam(others, settings.learning_rate, fused=True),
        )
        self._first_codes: Tensor | None = None
        self._groups: Groups | None = None
        self._nats = torch.zeros(0, device=self._device)  # (trajectories, codes), once there are groups
        self._last_codes: Tensor | None = None
        if isinstance(prior, Gaussian) and settings.search.near == "last":
            self._last_codes = self._first(prior)

    @property
    def finished(self) -> bool:
        """Whether the last gradient step has been taken."""
        return self.iteration >= self.settings.iterations

    @property
    def iterations(self) -> int:
        """How many gradient steps there are in all."""
        return self.settings.iterations

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.learning_rate * (1 - self.iteration / self.settings.iterations)

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration learns from."""
        return self.settings.trajectories_per_batch * self.settings.steps_per_trajectory

    def scalars(self) -> dict[str, float]:
        """Return what the last iteration measured."""
        return {"loss": self.loss}

    def step(self) -> None:
        """Take one gradient step (Algorithm 2, lines 4-8)."""
        network = self.network
        steps, trajectories = self._draw(self.iteration)  # (trajectories, steps), (trajectories,)
        features = network.state_features(self._observations[steps])  # (trajectories, steps, hidden)
        actions = network.actions.normalize(self._actions[steps])
        codes = self._codes_for(features.detach(), actions, trajectories, self.iteration)

        predictions = network.decode(features + network.code(codes)[:, None])
        loss = functional.mse_loss(predictions, actions) * actions.shape[-1]  # line 7
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate
            optimizer.step()
        self.loss = loss.item()
        self.iteration += 1

    @torch.no_grad()
    def batch(self, number: int) -> Batch:
        """Return a batch with its codes under the network as it stands (Algorithm 2, lines 4-6).

        Args:
            number: of the batch, from which it is drawn; greater than any iteration so far.
        """
        steps, trajectories = self._draw(number)
        observations, actions = self._observations[steps], self.network.actions.normalize(self._actions[steps])
        codes = self._codes_for(self.network.state_features(observations), actions, trajectories, number)
        every = codes[:, None].expand(*steps.shape, codes.shape[1])
        return Batch(observations.flatten(0, 1), actions.flatten(0, 1), every.flatten(0, 1))

    def _codes_for(self, features: Tensor, actions: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Return the codes under which a batch is learned, (trajectories, dimension): those found, but for the start.

        The arguments are those of `_explain`.
        """
        if self._give_codes is not None:
            return self._give_codes(trajectories, number)
        codes = self._explain(features, actions, trajectories, number)  # line 6
        self.code_usage = self.settings.prior.usage(self.network.codes_of(codes).cpu().numpy())
        if number < self.settings.warm_up * self.settings.iterations:
            return self._warm_up_codes(codes, trajectories)
        return codes if self._last_codes is None else self._remember(codes, trajectories, number)

    def _explain(self, features: Tensor, actions: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Return the code under which each trajectory of a batch is explained best, (trajectories, dimension).

        A discrete code explains best what is likeliest together: the actions, by the policy, and which states occur,
        by the groups.

        Args:
            features: (trajectories, steps, hidden), the state's part of the sum.
            actions: (trajectories, steps, action size), normalised.
            trajectories: (trajectories,), which of the demonstrations they are.
            number: of the batch.
        """
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            losses = step_losses(self.network, features.flatten(0, 1), actions.flatten(0, 1), self._codes)
            losses = losses.view(*features.shape[:2], -1).mean(dim=1)
            if self.find_groups() is not None:
                lengths = torch.from_numpy(self.demonstrations.lengths).to(self._device)[trajectories, None]
                variance = losses.min(dim=1).values.mean() / self.demonstrations.action_size
                losses = losses + nats_as_loss(self._nats[trajectories], lengths, variance)
            return self._codes[losses.argmin(dim=1)]
        if self._last_codes is None:
            start = features.new_zeros(len(features), prior.dimension)
        else:
            start = self._last_codes[trajectories]
        return search_batch(
            self.network, features, actions, self.settings.search, start, seeded_generator(self.settings.seed, number)
        )

    def _remember(self, codes: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Keep the codes that were found as the trajectories' last, and return them as they then are.

        Codes that only follow their loss drift to the ends of the prior and beyond it. So those of all trajectories are
        spread over it again, which leaves neighbours neighbours.
        """
        last = self._last_codes
        assert last is not None
        last[trajectories] = codes
        if number % max(1, last.numel() // _SPREAD_AT_ONCE) == 0:
            last.copy_(spread_evenly(last))
        return last[trajectories]

    def _draw(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the rows of a batch's steps (trajectories, steps) and their trajectories (trajectories,)."""
        demonstrations, settings = self.demonstrations, self.settings
        rng = np.random.default_rng((settings.seed, number))
        rows = rng.integers(demonstrations.steps, size=settings.trajectories_per_batch)
        trajectories = demonstrations.trajectory_of(rows)
        offsets = rng.random((len(trajectories), settings.steps_per_trajectory))
        offsets = (offsets * demonstrations.lengths[trajectories, None]).astype(np.int64)
        steps = demonstrations.starts[trajectories, None] + offsets
        return torch.from_numpy(steps).to(self._device), torch.from_numpy(trajectories).to(self._device)

    def _warm_up_codes(self, codes: Tensor, trajectories: Tensor) -> Tensor:
        if self.settings.first_codes == "random":
            return codes
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            self.find_groups()
            return self._codes[self._nats[trajectories].argmin(dim=1)]
        if self._last_codes is not None:
            return self._last_codes[trajectories]
        if self._first_codes is None:
            self._first_codes = self._first(prior)
        return self._first_codes[trajectories]

    def _first(self, prior: Gaussian) -> Tensor:
        """Return continuous codes to begin with, as the code's layer sees them, (trajectories, dimension)."""
        settings = self.settings
        if settings.first_codes == "random":
            first = prior.sample(len(self.demonstrations), np.random.default_rng(settings.seed))
        else:
            first = continuous_codes(self.demonstrations, prior, settings.seed)
        return self.network.code_inputs(torch.from_numpy(first).to(self._device))

    def find_groups(self) -> Groups | None:
        """Return the groups of similar trajectories, one a code, if there are any, and measure their nats once."""
        prior = self.settings.prior
        if self._groups is None and isinstance(prior, Categorical) and self.settings.first_codes == "trajectories":
            self._groups = Groups.fit(self.demonstrations, prior.size, self.settings.seed)
            self._nats = torch.from_numpy(self._groups.nats(self.demonstrations)).to(self._device, torch.float32)
        return self._groups

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs, as named tensors."""
        tensors = named("network", self.network.state_dict())
        for number, optimizer in enumerate(self._optimizers):
            tensors |= named(f"optimizer.{number}", moments(optimizer))
        if self._last_codes is not None:
            tensors["codes"] = self._last_codes
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken.

        Raises:
            InputError: the tensors are of other settings or demonstrations.
        """
        try:
            self.network.load_state_dict(part("network", tensors))
            self.iteration = int(tensors["iteration"])
            if self._last_codes is not None:
                self._last_codes.copy_(tensors["codes"])
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error
        for number, optimizer in enumerate(self._optimizers):
            restore_moments(optimizer, part(f"optimizer.{number}", tensors))

    def policy(self) -> Policy:
        """Return the policy as it stands, with the codes of all trajectories searched and its noise measured."""
        prior = self.settings.prior
        # A copy, which training that goes on does not change.
        network = copy.deepcopy(self.network)
        if isinstance(prior, Categorical):
            groups, losses = self.find_groups(), trajectory_losses(self.network, self.demonstrations, self._codes)
            if groups is not None:
                groups = groups.with_residual(losses, self.demonstrations)
                losses += groups.loss(self.demonstrations)
            codes = self._codes[losses.argmin(axis=1)]
            network.action_std.copy_(self._residual_std(codes))
            counts = tuple(int(count) for count in prior.usage(codes.cpu().numpy()))
            return Policy(network, prior, counts, groups=groups)
        start = self._observations.new_zeros(len(self.demonstrations), prior.dimension)
        search = self.settings.search
        codes, _ = search_trajectories(
            self.network, self.demonstrations, search, start, seeded_generator(self.settings.seed, self.iteration)
        )
        network.action_std.copy_(self._residual_std(codes))
        return Policy(network, prior, ())

    @torch.no_grad()
    def _residual_std(self, codes: Tensor, steps_at_once: int = 2**13) -> Tensor:
        """Return the maximum-likelihood σ of Equation 2 for each action, in real units, (action size,)."""
        total = torch.zeros(self.demonstrations.action_size, dtype=torch.float64, device=self._device)
        for start in range(0, self.demonstrations.steps, steps_at_once):
            rows = np.arange(start, min(start + steps_at_once, self.demonstrations.steps))
            own = codes[torch.from_numpy(self.demonstrations.trajectory_of(rows)).to(self._device)]
            sums = self.network.state_features(self._observations[rows]) + self.network.code(own)
            errors = self.network.actions.restore(self.network.decode(sums)) - self._actions[rows]
            total += errors.double().square().sum(dim=0)
        return (total / self.demonstrations.steps).sqrt()


def seeded_generator(seed: int, number: int) -> torch.Generator:
    """Return the source of whatever one batch or iteration draws, on the CPU."""
    drawn = np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(drawn) >> 1)


def spread_evenly(codes: Tensor) -> Tensor:
    """Return codes (n, dimension) without correlation and each number uniform in ±`LARGEST_INPUT`, moved little."""
    centred = (codes - codes.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
    # The symmetric root: of all that take the correlation away, the one that moves the codes least.
    whitened = centred @ (vectors / values.clamp_min(1e-3).sqrt()) @ vectors.T
    ranks = whitened.argsort(dim=0, stable=True).argsort(dim=0)
    return (LARGEST_INPUT * (2 * (ranks + 0.5) / len(codes) - 1)).to(codes.dtype)


def choose_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is a GPU where there is one.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"there is no device {name!r} here; give 'auto', 'cpu' or, with a GPU, 'cuda'") from error
    return device
