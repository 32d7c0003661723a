"""SOG-BC, multimodal behaviour cloning with a self-organizing generative model (Algorithm 2).

    repeat: take steps of many trajectories
            for each trajectory, search the code with the least policy error on its steps     (lines 4-6)
            one gradient step on the policy's squared error under these codes                 (lines 7-8)

The state's part of the network is computed once for both. In the first iterations the codes come from groups of similar
trajectories (`clustering.groups`), so that every code learns something. Later the search adds the groups' relative
negative log-likelihood. It is needed if states differ between modes: one code could then imitate several modes, each in
its own region, without any policy error.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyways.algorithms.settings import SOGBC
from manyways.algorithms.training import CloningTraining
from manyways.clustering.groups import Groups, nll_as_loss
from manyways.clustering.initial_codes import continuous_codes
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian
from manyways.networks.checkpoints import fitting_checkpoint
from manyways.networks.devices import seeded_generator
from manyways.networks.normalization import take
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.policies.explanation import settle
from manyways.policies.policy import Policy
from manyways.search.factored import search_batch, search_trajectories, step_losses

_WIDTH = 128
_SPREAD_AT_ONCE = 2**16  # entries of all codes; with more, they are spread over the prior every few iterations only


GiveCodes = Callable[[Tensor, int], Tensor]
"""From the trajectories of a batch (n,) and the batch's number to inputs of the code's layer, (n, code size)."""


@dataclass(frozen=True)
class Batch:
    """Steps of some trajectories, with the best code of each trajectory.

    Attributes:
        observations: (steps, ...), raw, or a dictionary of such tensors.
        targets: (steps, ...), of the loss.
        codes: (steps, code size), inputs of the code's layer.
    """

    observations: Any
    targets: Tensor
    codes: Tensor


class SOGBCTraining(CloningTraining):
    """Training of SOG-BC.

    Args:
        settings: of SOG-BC.
        demonstrations: the training data.
        give_codes: gives the codes in place of the search.
    """

    settings: SOGBC
    network: PolicyNetwork  # adversarial training replaces it

    def __init__(self, settings: SOGBC, demonstrations: Demonstrations, give_codes: GiveCodes | None = None) -> None:
        prior = settings.prior
        if isinstance(prior, Categorical) and prior.size > len(demonstrations):
            raise InputError(
                f"{prior.size} codes are more than the {len(demonstrations)} trajectories; "
                "give at most as many modes as trajectories"
            )

        def make_network(hidden: int) -> PolicyNetwork:
            return PolicyNetwork(
                demonstrations.observation_space,
                demonstrations.action_space,
                prior.dimension,
                hidden,
                isinstance(prior, Gaussian),
                settings.encoder,
                settings.seed,
            )

        network = make_network(settings.hidden or _WIDTH)
        if settings.hidden is None and network.feature_size > _WIDTH:
            network = make_network(2 * _WIDTH)
        super().__init__(settings, demonstrations, network, muon_width=_WIDTH)
        self._give_codes = give_codes
        self.code_usage = prior.usage(np.zeros((0, prior.dimension), np.float32))
        if isinstance(prior, Categorical):
            self._codes = torch.from_numpy(prior.enumerate()).to(self.device)
        self._initial_codes: Tensor | None = None
        self._groups: Groups | None = None
        self._relative_nll = torch.zeros(0, device=self.device)  # (trajectories, codes), once there are groups
        self._last_codes: Tensor | None = None
        if isinstance(prior, Gaussian) and settings.search.near == "last":
            self._last_codes = self._initial(prior)

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration learns from."""
        return self.settings.trajectories_per_batch * self.settings.steps_per_trajectory

    def _losses(self) -> dict[str, Tensor]:
        """Return the error of a batch under its best codes (Algorithm 2, lines 4-7)."""
        network = self.network
        steps, trajectories = self._draw(self.iteration)  # (trajectories, steps), (trajectories,)
        features = network.state_features(take(self._observations, steps))  # (trajectories, steps, hidden)
        targets = network.actions.targets(self._actions[steps])
        codes = self._codes_for(features.detach(), targets, trajectories, self.iteration)
        outputs = network.decode(features + network.code(codes)[:, None])
        return {"loss": network.actions.errors(outputs, targets).mean()}  # line 7

    @torch.no_grad()
    def batch(self, number: int) -> Batch:
        """Return a batch with its codes under the current network (Algorithm 2, lines 4-6).

        Args:
            number: of the batch, a seed; greater than any iteration so far.
        """
        steps, trajectories = self._draw(number)
        observations = take(self._observations, steps)
        targets = self.network.actions.targets(self._actions[steps])
        codes = self._codes_for(self.network.state_features(observations), targets, trajectories, number)
        every = codes[:, None].expand(*steps.shape, codes.shape[1])
        return Batch(take(self._observations, steps.flatten()), targets.flatten(0, 1), every.flatten(0, 1))

    def _codes_for(self, features: Tensor, targets: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Return the codes for a batch's loss, (trajectories, dimension): the best, or the initial ones in warm-up.

        The arguments are those of `_explain`.
        """
        if self._give_codes is not None:
            return self._give_codes(trajectories, number)
        codes = self._explain(features, targets, trajectories, number)  # line 6
        self.code_usage = self.settings.prior.usage(self.network.codes_of(codes).cpu().numpy())
        if number < self.settings.warm_up * self.settings.iterations:
            return self._warm_up_codes(codes, trajectories)
        return codes if self._last_codes is None else self._remember(codes, trajectories, number)

    def _explain(self, features: Tensor, targets: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Return the best code of each trajectory of a batch, (trajectories, dimension).

        With groups, the loss of a discrete code is that of the policy plus that of the groups.

        Args:
            features: (trajectories, steps, hidden), the state's part of the sum.
            targets: (trajectories, steps, ...), of the loss.
            trajectories: (trajectories,), their indices in the demonstrations.
            number: of the batch.
        """
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            losses = step_losses(self.network, features.flatten(0, 1), targets.flatten(0, 1), self._codes)
            losses = losses.view(*features.shape[:2], -1).mean(dim=1)
            if self.find_groups() is not None:
                lengths = torch.from_numpy(self.demonstrations.lengths).to(self.device)[trajectories, None]
                variance = self.network.actions.variance(losses.min(dim=1).values.mean())
                losses = losses + nll_as_loss(self._relative_nll[trajectories], lengths, variance)
            return self._codes[losses.argmin(dim=1)]
        if self._last_codes is None:
            start = features.new_zeros(len(features), prior.dimension)
        else:
            start = self._last_codes[trajectories]
        return search_batch(
            self.network, features, targets, self.settings.search, start, seeded_generator(self.settings.seed, number)
        )

    def _remember(self, codes: Tensor, trajectories: Tensor, number: int) -> Tensor:
        """Store the codes as the trajectories' last, spread all over the prior, and return the batch's.

        Codes that only follow their loss drift to the ends of the prior. So the codes of all trajectories are spread
        over it again, which keeps neighbours together.
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
        return torch.from_numpy(steps).to(self.device), torch.from_numpy(trajectories).to(self.device)

    def _warm_up_codes(self, codes: Tensor, trajectories: Tensor) -> Tensor:
        if self.settings.init == "random":
            return codes
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            self.find_groups()
            return self._codes[self._relative_nll[trajectories].argmin(dim=1)]
        if self._last_codes is not None:
            return self._last_codes[trajectories]
        if self._initial_codes is None:
            self._initial_codes = self._initial(prior)
        return self._initial_codes[trajectories]

    def _initial(self, prior: Gaussian) -> Tensor:
        """Return initial continuous codes as inputs of the code's layer, (trajectories, dimension)."""
        settings = self.settings
        if settings.init == "random":
            codes = prior.sample(len(self.demonstrations), np.random.default_rng(settings.seed))
        else:
            codes = continuous_codes(self.demonstrations, prior, settings.seed)
        return self.network.code_inputs(torch.from_numpy(codes).to(self.device))

    def find_groups(self) -> Groups | None:
        """Return the groups of similar trajectories, one for each code, or None; they are fitted once."""
        prior = self.settings.prior
        if self._groups is None and isinstance(prior, Categorical) and self.settings.init == "clusters":
            self._groups = Groups.fit(self.demonstrations, prior.size, self.settings.seed)
            self._relative_nll = torch.from_numpy(self._groups.relative_nll(self.demonstrations)).to(
                self.device, torch.float32
            )
        return self._groups

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        return super().state_dict() | ({} if self._last_codes is None else {"codes": self._last_codes})

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        super().load_state_dict(tensors)
        with fitting_checkpoint():
            if self._last_codes is not None:
                self._last_codes.copy_(tensors["codes"])

    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy; searches the codes of all trajectories to count them and to measure the noise."""
        prior = self.settings.prior
        self.network.eval()
        # A copy, which further training does not change.
        network = copy.deepcopy(self.network)
        if isinstance(prior, Categorical):
            losses, groups = settle(network, prior, self.demonstrations, self.find_groups())
            codes = self._codes[losses.argmin(axis=1)]
            self._measure_noise(network, codes)
            counts = tuple(int(count) for count in prior.usage(codes.cpu().numpy()))
            return Policy(network, prior, counts, groups=groups)
        start = torch.zeros(len(self.demonstrations), prior.dimension, device=self.device)
        generator = seeded_generator(self.settings.seed, self.iteration)
        codes, _ = search_trajectories(network, self.demonstrations, self.settings.search, start, generator)
        self._measure_noise(network, codes)
        return Policy(network, prior)

    @torch.no_grad()
    def _measure_noise(self, network: PolicyNetwork, codes: Tensor, steps_at_once: int = 2**13) -> None:
        """Measure the maximum-likelihood σ of Equation 2 for each dimension of an action, in real units."""
        if network.actions.discrete:
            return
        total = torch.zeros(network.actions.outputs, dtype=torch.float64, device=self.device)
        for start in range(0, self.demonstrations.steps, steps_at_once):
            rows = np.arange(start, min(start + steps_at_once, self.demonstrations.steps))
            own = codes[torch.from_numpy(self.demonstrations.trajectory_of(rows)).to(self.device)]
            sums = network.state_features(take(self._observations, torch.from_numpy(rows))) + network.code(own)
            errors = network.actions.restore(network.decode(sums)) - self._actions[rows]
            total += errors.double().square().sum(dim=0)
        network.actions.noise.copy_((total / self.demonstrations.steps).sqrt())


def spread_evenly(codes: Tensor) -> Tensor:
    """Return codes (n, dimension) without correlation, each dimension uniform in ±`LARGEST_INPUT`."""
    centred = (codes - codes.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
    # The symmetric root changes the codes least.
    whitened = centred @ (vectors / values.clamp_min(1e-3).sqrt()) @ vectors.T
    ranks = whitened.argsort(dim=0, stable=True).argsort(dim=0)
    return (LARGEST_INPUT * (2 * (ranks + 0.5) / len(codes) - 1)).to(codes.dtype)
