"""SOG-BC with codes that change within a trajectory: hard EM of a hidden Markov model whose emissions are the policy's.

The search of a trajectory's code becomes the search of its best path (`search.segments`). The first paths come from
`segmentation`, or of people from sure groups of whole trajectories; every few iterations the network gives new ones.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.defaults import is_of_people
from manyways.algorithms.segmentation import segment, weight_of_step
from manyways.algorithms.settings import SOGBC
from manyways.algorithms.sog_bc import SOGBCTraining
from manyways.clustering.competition import find_groups
from manyways.clustering.constraints import Constraints
from manyways.clustering.mixture import renamed
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.windows import window_and_chunk
from manyways.errors import InputError
from manyways.latents import Categorical
from manyways.networks.checkpoints import fitting_checkpoint
from manyways.networks.normalization import take
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.policy import Policy
from manyways.policies.segments import Switches, price_of_change, transitions_of

_PATHS = 20  # times that the network gives new paths in a training


class SegmentsTraining(SOGBCTraining):
    """Training of SOG-BC with `segments`; the arguments are those of `SOGBCTraining`.

    Raises:
        InputError: the codes are continuous, the actions are choices, there are details, or trajectories are paired.
    """

    def __init__(self, settings: SOGBC, demonstrations: Demonstrations) -> None:
        if not isinstance(settings.prior, Categorical):
            raise InputError("segments need a list of modes; give --modes, or leave out --segments")
        if (settings.details or 1) > 1:
            raise InputError(f"details is {settings.details}, but with segments there are none; leave one of them out")
        if demonstrations.actions.dtype.kind != "f":
            raise InputError("segments need actions that are real numbers; leave out --segments")
        if demonstrations.pairs is not None:
            raise InputError("pairs are of trajectories with one mode each; leave them out, or --segments")
        super().__init__(settings, demonstrations)
        self._path = torch.full((self.demonstrations.steps,), -1, device=self.device)
        self._switches: Switches | None = None

    def start_from(self, policy: Policy) -> None:
        """Take over a policy that was trained with segments; it says where the codes change."""
        if policy.switches is None:
            raise InputError(
                "the policy keeps one code a trajectory, so it cannot start segments; leave out --segments"
            )
        self._switches = policy.switches
        super().start_from(policy)
        self._path = torch.from_numpy(self._found(self.network, self.demonstrations)[0]).to(self.device)

    def _losses(self) -> dict[str, Tensor]:
        """Return the error of a batch under the codes of its steps."""
        every = max(1, self.iterations // _PATHS)
        if self._path[0] < 0:
            self._path = self._first_path()
        elif not self._in_warm_up(self.iteration) and self.iteration % every == 0:
            self._averaged.eval()
            self._switches = self._measured(self._averaged, self.demonstrations, self._path.cpu().numpy())
            self._path = torch.from_numpy(self._found(self._averaged, self.demonstrations)[0]).to(self.device)
        steps, _ = self._draw(self.iteration)
        features, targets = self._features_and_targets(steps)
        codes = self._codes[self._path[torch.from_numpy(steps).to(self.device)]]
        self.code_usage = np.bincount(codes.argmax(dim=2).flatten().cpu().numpy(), minlength=codes.shape[2])
        sums = features + self.network.code(codes)
        return {"loss": self.network.actions.errors(self.network.decode(sums), targets).mean()}

    def _first_path(self) -> Tensor:
        """Return the path of `segment`, or of people sure groups of whole trajectories; labels say which code is which.

        People's errors last, and `segment` would take each stretch of a movement for a mode.
        """
        demonstrations, size, seed = self.demonstrations, len(self._codes), self.settings.seed
        groups = find_groups(demonstrations, size, seed) if is_of_people(demonstrations) else None
        if groups is not None and groups.sure:
            path = np.repeat(groups.relative_nll(demonstrations).argmin(axis=1), demonstrations.lengths)
        else:
            path = segment(demonstrations, size, seed).path
        labels = demonstrations.labels
        if labels is not None:
            path = renamed(path, labels[demonstrations.trajectory_of(np.arange(len(path)))], size)
        return torch.from_numpy(path).to(self.device)

    @torch.no_grad()
    def _measured(self, network: PolicyNetwork, demonstrations: Demonstrations, path: NDArray[np.int64]) -> Switches:
        """Return what a network says of how codes change, by its errors under a path (steps,) of the demonstrations."""
        errors = []
        for rows in np.array_split(np.arange(len(path)), 1 + len(path) // 2**13):
            observed, planned = window_and_chunk(demonstrations, rows, network.window, network.chunk)
            observations = take(self._observations, torch.from_numpy(observed).to(self.device))
            actions = self._actions[torch.from_numpy(planned).to(self.device)]
            features, targets = network.features_and_targets(observations, actions)
            outputs = network.decode(features + network.code(self._codes[path[rows]]))
            errors.append((outputs - targets).double().cpu().numpy())
        wrong = np.concatenate(errors)
        return Switches(
            price_of_change(demonstrations, len(self._codes)),
            weight_of_step(wrong, demonstrations),
            max(float(np.square(wrong).mean()), 1e-6),
            transitions_of(path, demonstrations, len(self._codes)),
        )

    def _found(
        self, network: PolicyNetwork, demonstrations: Demonstrations
    ) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """Return the best path of all steps (steps,), and the errors under it."""
        assert self._switches is not None
        asked = Constraints.of(demonstrations, self.settings.prior)
        return self._switches.path(network, demonstrations, None if asked is None else asked.excluded)

    def _held_out_loss(self, network: PolicyNetwork, held_out: Demonstrations) -> float:
        """Return the mean error of held-out steps along their best paths; without a path yet, of trajectories."""
        if self._switches is None:
            return super()._held_out_loss(network, held_out)
        return float(self._found(network, held_out)[1].mean())

    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy; a trajectory counts for the code that it has longest."""
        network, demonstrations = self.best_network(), self.all_demonstrations
        size = len(self._codes)
        if self._switches is None:
            self._switches = self._measured(network, self.demonstrations, self._path.clamp_min(0).cpu().numpy())
        path, _ = self._found(network, demonstrations)
        self._measure_noise(network, self._codes[torch.from_numpy(path).to(self.device)])
        steps = np.zeros((len(demonstrations), size))
        np.add.at(steps, (demonstrations.trajectory_of(np.arange(len(path))), path), 1)
        counts = np.bincount(steps.argmax(axis=1), minlength=size)
        first = self._codes[torch.from_numpy(path[demonstrations.starts]).to(self.device)]
        prior = self.settings.prior
        assert isinstance(prior, Categorical)
        gate = self._start_gate(network, prior, first) if counted else None
        novelty = self.measure_novelty(network) if counted else None
        return Policy(
            network,
            prior,
            tuple(counts.tolist()),
            start_gate=gate,
            novelty=novelty,
            switches=self._switches,
            rotations=self.rotations,
            ensemble=self.ensemble,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        switches = {} if self._switches is None else self._switches.tensors()
        return super().state_dict() | {"path": self._path} | {f"switches.{k}": v for k, v in switches.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`."""
        super().load_state_dict(tensors)
        with fitting_checkpoint():
            self._path.copy_(tensors["path"])
            if "switches.numbers" in tensors:
                self._switches = Switches.from_tensors(
                    {name: tensors[f"switches.{name}"] for name in ("numbers", "transitions")}
                )
