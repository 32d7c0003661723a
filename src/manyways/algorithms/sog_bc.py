"""SOG-BC, multimodal behaviour cloning with a self-organizing generative model (Algorithm 2).

    repeat: take steps of many trajectories
            for each trajectory, search the code with the least policy error on its steps     (lines 4-6)
            one gradient step on the policy's squared error under these codes                 (lines 7-8)

The state's part of the network is computed once for both. In the first iterations the codes come from groups of similar
trajectories (`clustering.groups`), so that every code learns something. Later the search adds the groups' relative
negative log-likelihood. It is needed if states differ between modes: one code could then imitate several modes, each in
its own region, without any policy error. Where the groups are sure, it hardly leaves them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from manyways.algorithms.constrained import ConstrainedCodes
from manyways.algorithms.defaults import require_few_codes, resolve
from manyways.algorithms.details import choose_details
from manyways.algorithms.settings import SOGBC
from manyways.algorithms.training import WIDTH, CloningTraining, network_of_width, residual_settings
from manyways.clustering.competition import find_groups
from manyways.clustering.constraints import Constraints, best_codes
from manyways.clustering.groups import Groups, nats_as_loss
from manyways.clustering.initial_codes import continuous_codes
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.windows import window_and_chunk
from manyways.latents import Categorical, Gaussian
from manyways.networks.checkpoints import fitting_checkpoint
from manyways.networks.devices import seeded_generator
from manyways.networks.normalization import take, to_tensors
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.policies.explanation import residual_std, settle
from manyways.policies.policy import Policy
from manyways.policies.start_gate import StartGate
from manyways.search.factored import (
    code_parts,
    part_losses,
    search_batch,
    search_trajectories,
    stride_of,
    trajectory_losses,
)

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
        demonstrations = demonstrations.encoded
        settings = resolve(settings, demonstrations)
        prior = settings.prior
        require_few_codes(prior, demonstrations)

        def make_network(hidden: int) -> PolicyNetwork:
            return PolicyNetwork(
                demonstrations.observation_space,
                demonstrations.action_space,
                prior.dimension,
                hidden,
                isinstance(prior, Gaussian),
                settings.encoder,
                settings.seed,
                **settings.window(),
                **residual_settings(settings),
                details=settings.details or 1,
                linear=bool(settings.linear),
            )

        network = network_of_width(make_network, settings.hidden)
        super().__init__(settings, demonstrations, network, muon_width=WIDTH)
        self._give_codes = give_codes
        self.code_usage = prior.usage(np.zeros((0, prior.dimension), np.float32))
        if isinstance(prior, Categorical):
            self._codes = torch.from_numpy(prior.enumerate()).to(self.device)
        self._initial_codes: Tensor | None = None
        self._groups: Groups | None = None
        self._continues = False
        self._nats = torch.zeros(0, device=self.device)  # for each step (trajectories, codes), once there are groups
        known = Constraints.of(self.all_demonstrations, prior)  # what is held out may be what contradicts
        constraints = None if known is None else Constraints.of(self.demonstrations, prior)
        self.constrained = None if constraints is None else ConstrainedCodes(constraints, self.device)
        self._warm_up: Tensor | None = None  # the codes of trajectories in warm-up, once there are groups
        self._last_codes: Tensor | None = None
        if isinstance(prior, Gaussian) and settings.search.near == "last":
            self._last_codes = self._initial(prior)

    def start_from(self, policy: Policy) -> None:
        """Take over a policy's weights, its groups and its codes; there is no warm-up then."""
        super().start_from(policy)
        self._continues = True
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            self._take_groups(policy.groups if self.settings.init == "clusters" else None)
        elif self._last_codes is not None:
            start = torch.zeros_like(self._last_codes)
            generator = seeded_generator(self.settings.seed, 0)
            stride = stride_of(self.demonstrations)
            self._last_codes, _ = search_trajectories(
                self.network, self.demonstrations, self.settings.search, start, generator, stride
            )

    @property
    def steps_per_iteration(self) -> int:
        """How many demonstrated steps an iteration learns from."""
        trajectories, steps = self._batch_size
        return trajectories * steps

    @property
    def _batch_size(self) -> tuple[int, int]:
        """How many trajectories a batch has, and how many steps of each."""
        settings = self.settings
        assert settings.trajectories_per_batch is not None
        assert settings.steps_per_trajectory is not None
        return settings.trajectories_per_batch, settings.steps_per_trajectory

    def _losses(self) -> dict[str, Tensor]:
        """Return the error of a batch under its best codes (Algorithm 2, lines 4-7)."""
        network = self.network
        steps, trajectories = self._draw(self.iteration)  # (trajectories, steps), (trajectories,)
        features, targets = self._features_and_targets(steps)  # (trajectories, steps, hidden or outputs)
        known = self._known(steps)
        codes, details = self._codes_for(features.detach(), targets, trajectories, self.iteration, known)
        sums = features + network.code(codes)[:, None]
        losses = {}
        if details is not None:
            logits = network.gate(features.detach(), codes[:, None])
            losses["gate"] = functional.cross_entropy(logits.flatten(0, 1), details.flatten())
            sums = sums + network.detail.weight.T[details]
        return {"loss": network.actions.errors(network.decode(sums), targets, known).mean()} | losses  # line 7

    def _features_and_targets(self, steps: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the state's part of the sum (..., hidden) and the targets (..., outputs) at these rows (...)."""
        observed, planned = (
            torch.from_numpy(rows).to(self.device)
            for rows in window_and_chunk(self.demonstrations, steps, self.network.window, self.network.chunk)
        )
        features, targets = self.network.features_and_targets(
            take(self._observations, observed), take(self._actions, planned)
        )
        return features, targets

    def _known(self, steps: NDArray[np.int64]) -> Tensor | None:
        """Return which actions of the plans at these rows (...) were done before the trajectory's end, (..., chunk).

        Nobody knows what would have come after the end. With one action a plan, all are known: None.
        """
        if self.network.chunk == 1:
            return None
        demonstrations = self.demonstrations
        owners = demonstrations.trajectory_of(steps)
        left = demonstrations.starts[owners] + demonstrations.lengths[owners] - steps
        return torch.from_numpy(np.arange(self.network.chunk) < left[..., None]).to(self.device)

    @torch.no_grad()
    def batch(self, number: int) -> Batch:
        """Return a batch with its codes under the current network (Algorithm 2, lines 4-6).

        Args:
            number: of the batch, a seed; greater than any iteration so far.
        """
        steps, trajectories = self._draw(number)
        features, targets = self._features_and_targets(steps)
        codes, _ = self._codes_for(features, targets, trajectories, number, self._known(steps))
        every = codes[:, None].expand(*steps.shape, codes.shape[1])
        observations = take(self._observations, torch.from_numpy(steps.flatten()).to(self.device))
        return Batch(observations, targets.flatten(0, 1), every.flatten(0, 1))

    def _codes_for(
        self, features: Tensor, targets: Tensor, trajectories: Tensor, number: int, known: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the codes for a batch's loss (trajectories, dimension), and the details (trajectories, steps).

        They are the best, or the initial ones in warm-up. Without details there is None. The arguments are those of
        `_explain`.
        """
        if self._give_codes is not None:
            return self._give_codes(trajectories, number), None
        codes, errors = self._explain(features, targets, trajectories, number, known)  # line 6
        self.code_usage = self.settings.prior.usage(self.network.codes_of(codes).cpu().numpy())
        if self._in_warm_up(number):
            codes = self._warm_up_codes(codes, trajectories)
        elif self._last_codes is not None:
            codes = self._remember(codes, trajectories, number)
        if errors is None:
            return codes, None
        share = 1.0 if self._continues else number / self.iterations
        rng = np.random.default_rng((self.settings.seed, number, 1))
        return codes, choose_details(self.network, errors, features, codes, share, rng)

    def _explain(
        self, features: Tensor, targets: Tensor, trajectories: Tensor, number: int, known: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the best code of each trajectory of a batch, (trajectories, dimension), and the errors of details.

        With groups, the loss of a discrete code is that of the policy plus that of the groups. The errors are None
        without details, else (trajectories, steps, codes, details).

        Args:
            features: (trajectories, steps, hidden), the state's part of the sum.
            targets: (trajectories, steps, ...), of the loss.
            trajectories: (trajectories,), their indices in the demonstrations.
            number: of the batch.
            known: (trajectories, steps, chunk), see `_known`.
        """
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            parts = code_parts(self.network, self._codes)
            flat = None if known is None else known.flatten(0, 1)
            errors = part_losses(self.network, features.flatten(0, 1), targets.flatten(0, 1), parts, flat)
            errors = errors.view(*features.shape[:2], prior.size, -1)
            losses = errors.min(dim=3).values.mean(dim=1)
            if self.find_groups() is not None:
                variance = self.network.actions.variance(losses.min(dim=1).values.mean())
                losses = losses + nats_as_loss(self._nats[trajectories], variance)
            best = losses.argmin(dim=1) if self.constrained is None else self.constrained(losses, trajectories)
            return self._codes[best], errors if self.network.details > 1 else None
        if self._last_codes is None:
            start = features.new_zeros(len(features), prior.dimension)
        else:
            start = self._last_codes[trajectories]
        generator = seeded_generator(self.settings.seed, number)
        return search_batch(self.network, features, targets, self.settings.search, start, generator), None

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

    def _draw(self, number: int) -> tuple[NDArray[np.int64], Tensor]:
        """Return the rows of a batch's steps (trajectories, steps) and their trajectories (trajectories,)."""
        demonstrations = self.demonstrations
        count, steps = self._batch_size
        rng = np.random.default_rng((self.settings.seed, number))
        trajectories = demonstrations.trajectory_of(rng.integers(demonstrations.steps, size=count))
        known = None if self.constrained is None else self.constrained.settled
        if known is not None and len(known) and self.settings.init == "random" and self._in_warm_up(number):
            # The others would give the codes another meaning before those with labels do.
            trajectories = rng.choice(known, count)
        shares = rng.random((count, steps))
        offsets = (shares * demonstrations.lengths[trajectories, None]).astype(np.int64)
        return demonstrations.starts[trajectories, None] + offsets, torch.from_numpy(trajectories).to(self.device)

    def _held_out_loss(self, network: PolicyNetwork, held_out: Demonstrations) -> float:
        """Return the mean error of held-out trajectories under their best codes and details."""
        prior = self.settings.prior
        stride = max(1, held_out.steps // self.steps_to_check)
        if isinstance(prior, Categorical):
            losses = trajectory_losses(network, held_out, self._codes, stride=stride)
            return float(np.average(losses.min(axis=1), weights=held_out.lengths))
        start = torch.zeros(len(held_out), prior.dimension, device=self.device)
        generator = seeded_generator(self.settings.seed, 0)
        _, least = search_trajectories(network, held_out, self.settings.search, start, generator, stride)
        return float(np.average(least.cpu().numpy(), weights=held_out.lengths))

    def _in_warm_up(self, number: int) -> bool:
        return not self._continues and number < self.settings.warm_up * self.iterations

    def _warm_up_codes(self, codes: Tensor, trajectories: Tensor) -> Tensor:
        if self.settings.init == "random":
            return codes
        prior = self.settings.prior
        if isinstance(prior, Categorical):
            self.find_groups()
            if self._warm_up is None:
                by_all = self.constrained.of_all if self.constrained is not None else partial(torch.argmin, dim=1)
                self._warm_up = by_all(self._nats)
            return self._codes[self._warm_up[trajectories]]
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
        prior, wanted = self.settings.prior, self.settings.init == "clusters" and not self._continues
        if self._groups is None and isinstance(prior, Categorical) and wanted:
            self._take_groups(find_groups(self.all_demonstrations, prior.size, self.settings.seed))
        return self._groups

    def _take_groups(self, groups: Groups | None) -> None:
        self._groups = groups
        if groups is not None:
            self._nats = torch.from_numpy(groups.nats_per_step(self.demonstrations)).to(self.device, torch.float32)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        known = self.constrained
        tied = {} if known is None else {"tied_losses": known.losses, "tied_codes": known.codes}
        return super().state_dict() | tied | ({} if self._last_codes is None else {"codes": self._last_codes})

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        super().load_state_dict(tensors)
        with fitting_checkpoint():
            if self._last_codes is not None:
                self._last_codes.copy_(tensors["codes"])
            if self.constrained is not None:
                self.constrained.losses.copy_(tensors["tied_losses"])
                self.constrained.codes.copy_(tensors["tied_codes"])

    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy; searches the codes of all trajectories to count them and to measure the noise."""
        prior = self.settings.prior
        network = self.best_network()
        demonstrations = self.all_demonstrations
        novelty = self.measure_novelty(network) if counted else None
        if isinstance(prior, Categorical):
            losses, groups = settle(network, prior, demonstrations, self.find_groups())
            codes = self._codes[torch.from_numpy(best_codes(losses, demonstrations, prior)).to(self.device)]
            self._measure_noise(network, codes)
            counts = tuple(int(count) for count in prior.usage(codes.cpu().numpy()))
            gate = self._start_gate(network, prior, codes) if counted else None
            more: Any = {"rotations": self.rotations, "ensemble": self.ensemble}
            return Policy(network, prior, counts, groups=groups, start_gate=gate, novelty=novelty, **more)
        start = torch.zeros(len(demonstrations), prior.dimension, device=self.device)
        generator = seeded_generator(self.settings.seed, self.iteration)
        stride = stride_of(demonstrations)
        codes, _ = search_trajectories(network, demonstrations, self.settings.search, start, generator, stride)
        self._measure_noise(network, codes)
        return Policy(network, prior, novelty=novelty, rotations=self.rotations, ensemble=self.ensemble)

    @torch.no_grad()
    def _start_gate(self, network: PolicyNetwork, prior: Categorical, codes: Tensor) -> StartGate | None:
        """Return how likely each code is at the first observation, from the codes that the trajectories have."""
        if prior.size == 1:
            return None
        demonstrations = self.all_demonstrations
        first = to_tensors(rows_of(demonstrations.observations, demonstrations.starts), self.device)
        features = network.features(network.observations(first)).double().cpu().numpy()
        return StartGate.fit(features, codes.argmax(dim=1).cpu().numpy(), prior.size, self.settings.seed)

    @torch.no_grad()
    def _measure_noise(self, network: PolicyNetwork, codes: Tensor) -> None:
        """Measure the maximum-likelihood σ of Equation 2 for each dimension of an action, in real units.

        Args:
            network: to write it into.
            codes: of all trajectories, as inputs of the code's layer.
        """
        if not network.actions.discrete:
            network.actions.noise.copy_(residual_std(network, self.all_demonstrations, codes))


def spread_evenly(codes: Tensor) -> Tensor:
    """Return codes (n, dimension) without correlation, each dimension uniform in ±`LARGEST_INPUT`."""
    centred = (codes - codes.mean(dim=0)).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(codes))
    # The symmetric root changes the codes least.
    whitened = centred @ (vectors / values.clamp_min(1e-3).sqrt()) @ vectors.T
    ranks = whitened.argsort(dim=0, stable=True).argsort(dim=0)
    return (LARGEST_INPUT * (2 * (ranks + 0.5) / len(codes) - 1)).to(codes.dtype)
