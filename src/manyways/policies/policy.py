"""Owns `Policy`: what a user keeps after training, a network with its normalisation and its codes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior, prior_from_json
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.storage import as_batch, read_policy, write_policy
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.search import Search, block_losses, search_trajectories, trajectory_losses

Floats = NDArray[np.float32]

_GROUPS, _ENCODER = "groups.", "encoder."  # before the names of their tensors


_NEARLY_BEST = 1.1  # times the least loss
_GRID = 100  # quantiles of the prior at which a code's number is varied


@dataclass(frozen=True, eq=False)
class Encoding:
    """The code under which the policy explains each trajectory best, and how sharply the trajectory determines it.

    Attributes:
        codes: (trajectories, code size).
        losses: (trajectories,), the mean over its steps of the squared error of the normalised action, summed over the
            action's numbers.
        spread: (trajectories, code size), for each number of a continuous code the share of the prior at which the loss
            is at most a tenth above the least, the others staying: near 0 where the trajectory determines it sharply, 1
            where it makes no difference. None for discrete codes, and where codes are not searched.
    """

    codes: Floats
    losses: NDArray[np.float64]
    spread: NDArray[np.float64] | None


@dataclass(frozen=True)
class Mode:
    """One way that was found: its code, and how many of the demonstrations it explains best.

    Attributes:
        code: index of the code, for `Policy.code`.
        trajectories: how many demonstrations have this code.
        share: the same as a fraction of all.
    """

    code: int
    trajectories: int
    share: float


class Policy:
    """A policy with a switch: the code, which stays the same through an episode.

    `predict` has Stable-Baselines3's signature with the code as the state, so that what runs a policy of theirs runs
    this one.

    Args:
        network: the trained network; moved to the CPU, where single observations are fastest.
        prior: the codes.
        counts: (codes,), how many demonstrations each code explains best; empty for continuous codes.
        seed: of the codes and the action noise that `predict` draws.
        groups: of similar trajectories, one a code, by which `losses` also judges which states a trajectory meets.
        encoder: gives trajectories their continuous codes, where they are not searched.
    """

    def __init__(
        self,
        network: PolicyNetwork,
        prior: Prior,
        counts: tuple[int, ...],
        seed: int = 0,
        groups: Groups | None = None,
        encoder: TrajectoryEncoder | None = None,
    ) -> None:
        self.network = network.cpu().eval()
        self.groups = groups
        self.encoder = encoder
        self.prior = prior
        self.counts = counts
        self._chosen: Floats | None = None
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the drawing of codes and action noise anew."""
        self._rng = np.random.default_rng(seed)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What was found, one entry a code; nothing where codes are continuous, see `encode`."""
        total = max(1, sum(self.counts))
        return tuple(Mode(code, count, count / total) for code, count in enumerate(self.counts))

    @property
    def observation_space(self) -> Any:
        """The space of an observation."""
        return gym.spaces.Box(-np.inf, np.inf, (self.observation_size,), np.float32)

    @property
    def action_space(self) -> Any:
        """The space of an action."""
        return gym.spaces.Box(-np.inf, np.inf, (self.action_size,), np.float32)

    @property
    def observation_size(self) -> int:
        """How many numbers an observation has."""
        return int(self.network.observations.mean.shape[0])

    @property
    def action_size(self) -> int:
        """How many numbers an action has."""
        return int(self.network.actions.mean.shape[0])

    @property
    def discrete_prior(self) -> Categorical:
        """The prior, where codes can be listed.

        Raises:
            InputError: they cannot.
        """
        if not isinstance(self.prior, Categorical):
            raise InputError(
                f"this policy's codes are {self.prior.dimension} continuous numbers, which cannot be listed; "
                "see `encode` for those of trajectories"
            )
        return self.prior

    def code(self, which: int | ArrayLike) -> Floats:
        """Return a code, (code size,), to be given to `predict` as its state.

        Args:
            which: a discrete code's index; for a continuous code the prior's CDF of each of its numbers, 0 to 1.

        Raises:
            InputError: there is no such code.
        """
        if isinstance(self.prior, Categorical):
            if not isinstance(which, int | np.integer):
                raise InputError(f"{which!r} is no index of a code; give 0 to {self.prior.size - 1}")
            return self.prior.code(int(which))
        return self.prior.quantile(np.atleast_1d(np.asarray(which, dtype=np.float64)))

    def with_code(self, which: int | ArrayLike) -> "Policy":
        """Return this policy with one way chosen for good, for code that passes no state at an episode's start.

        Args:
            which: as for `code`.

        Raises:
            InputError: there is no such code.
        """
        chosen = Policy(self.network, self.prior, self.counts, groups=self.groups, encoder=self.encoder)
        chosen._rng = self._rng
        chosen._chosen = self.code(which)
        return chosen

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
    ) -> tuple[Floats, Floats]:
        """Return what to do, and the code under which it is done.

        Args:
            observation: (observation size,) or (environments, observation size).
            state: the code, (code size,) or (environments, code size), as returned before or from `code`; None draws
                it from the prior.
            episode_start: (environments,), where True a new code is drawn; a `state` given without it is kept.
            deterministic: the mean action; otherwise Gaussian noise of the demonstrations' residual size is added.

        Returns:
            The action, (action size,) or (environments, action size), within the range of the demonstrated ones; and
            the code in the same form, to be given as the next `state`.

        Raises:
            InputError: the observation or the code has the wrong shape.
        """
        batch, single = as_batch(observation, self.observation_size)
        codes = self._codes(state, episode_start, len(batch))
        with torch.no_grad():
            actions = self.network(torch.from_numpy(batch), torch.from_numpy(codes)).numpy()
        if not deterministic:
            noise = self._rng.standard_normal(actions.shape, dtype=np.float32)
            actions = actions + self.network.action_std.numpy() * noise
        actions = np.clip(actions, self.network.action_low.numpy(), self.network.action_high.numpy())
        return (actions[0], codes[0]) if single else (actions, codes)

    def _codes(self, state: Any, episode_start: ArrayLike | None, count: int) -> Floats:
        """Return the code of each of `count` environments, (count, code size)."""
        if self._chosen is not None:
            return np.tile(self._chosen, (count, 1))
        if state is None:
            return self.prior.sample(count, self._rng)
        given = np.asarray(state, dtype=np.float32)
        if given.shape not in ((self.prior.dimension,), (count, self.prior.dimension)):
            raise InputError(
                f"the state has shape {given.shape}; give a code ({self.prior.dimension},), as from policy.code(0), "
                f"or one for each of the {count} observations"
            )
        codes: Floats = np.array(np.broadcast_to(given, (count, self.prior.dimension)))
        if episode_start is not None:
            starts = np.broadcast_to(np.asarray(episode_start, dtype=bool), (count,))
            codes[starts] = self.prior.sample(int(starts.sum()), self._rng)
        return codes

    def losses(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return how badly each code explains each trajectory, (trajectories, codes).

        That is the mean over its steps of the squared error, summed over the action's numbers, each in units of its
        standard deviation in the training demonstrations; and where the policy was trained with groups of similar
        trajectories, how much less likely than in the nearest group the trajectory is in the code's, in the same units
        (`Groups.loss`). A trajectory's code is the arg min of its row.

        Raises:
            InputError: the demonstrations are of other sizes than the policy, or codes cannot be listed.
        """
        self._require_sizes(demonstrations)
        codes = torch.from_numpy(self.discrete_prior.enumerate())
        losses = trajectory_losses(self.network, demonstrations, codes)
        return losses if self.groups is None else losses + self.groups.loss(demonstrations)

    def encode(self, demonstrations: Demonstrations, search: Search | None = None, seed: int = 0) -> Encoding:
        """Search the code under which each trajectory is explained best (Algorithm 2, lines 5 and 6).

        A policy that came with an encoder asks that instead.

        Args:
            demonstrations: of any lengths.
            search: how continuous codes are searched; as in training unless given.
            seed: of the candidates.

        Raises:
            InputError: the demonstrations are of other sizes than the policy.
        """
        self._require_sizes(demonstrations)
        if isinstance(self.prior, Categorical):
            losses = self.losses(demonstrations)
            return Encoding(self.prior.enumerate()[losses.argmin(axis=1)], losses.min(axis=1), None)
        if self.encoder is not None:
            codes = self.encoder.codes(demonstrations)
            inputs, nothing = self.network.code_inputs(codes), torch.zeros(1, 1)
            their_losses = block_losses(self.network, demonstrations, inputs, slice(0, 1), nothing)[:, 0]
            return Encoding(codes.numpy(), their_losses.numpy(), None)
        start = torch.zeros(len(demonstrations), self.prior.dimension)
        generator = torch.Generator().manual_seed(seed)
        inputs, least = search_trajectories(self.network, demonstrations, search or Search(), start, generator)
        found = self.network.codes_of(inputs).numpy()
        return Encoding(found, least.numpy(), self._spread(demonstrations, inputs, least))

    def _spread(self, demonstrations: Demonstrations, inputs: Tensor, least: Tensor) -> NDArray[np.float64]:
        """Return the share of the prior at which each number of each code is nearly as good, (trajectories, dim)."""
        values = self.network.code_inputs(torch.from_numpy(Gaussian(1).grid(_GRID)))
        spread = np.empty(inputs.shape)
        for number in range(inputs.shape[1]):
            block = slice(number, number + 1)
            rest = inputs.clone()
            rest[:, block] = 0
            losses = block_losses(self.network, demonstrations, rest, block, values)
            spread[:, number] = (losses <= _NEARLY_BEST * least[:, None]).double().mean(dim=1).numpy()
        return spread

    def _require_sizes(self, demonstrations: Demonstrations) -> None:
        sizes = (self.observation_size, self.action_size)
        if (demonstrations.observation_size, demonstrations.action_size) != sizes:
            raise InputError(
                f"the demonstrations have {demonstrations.observation_size} numbers an observation and "
                f"{demonstrations.action_size} an action, but the policy has {sizes[0]} and {sizes[1]}; "
                "give data of the same kind as it was trained on"
            )

    def save(self, folder: str | Path) -> None:
        """Write the policy to `folder`, as policy.json and policy.safetensors.

        Raises:
            WriteError: the system refused to write.
        """
        groups = {} if self.groups is None else self.groups.tensors()
        tensors = {_GROUPS + name: torch.from_numpy(value) for name, value in groups.items()}
        if self.encoder is not None:
            tensors |= {_ENCODER + name: value for name, value in self.encoder.state_dict().items()}
        description = {
            "prior": self.prior.to_json(),
            "trajectories": list(self.counts),
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "hidden": self.network.output.in_features,
        }
        write_policy(folder, description, self.network.state_dict() | tensors)

    @classmethod
    def load(cls, folder: str | Path, seed: int = 0) -> "Policy":
        """Read the policy that `save` wrote, or that of a run's folder.

        Raises:
            InputError: there is none, it is one without a code, or a file of it is damaged.
        """

        def build(description: dict[str, Any], tensors: dict[str, Tensor]) -> Policy:
            if "kind" in description:
                raise InputError(f"{folder} has a policy without a code; read it with CodelessPolicy.load")
            prior = prior_from_json(description["prior"])
            network = PolicyNetwork(
                int(description["observation_size"]),
                int(description["action_size"]),
                prior.dimension,
                int(description["hidden"]),
                isinstance(prior, Gaussian),
            )
            counts = tuple(int(count) for count in description["trajectories"])
            parts: dict[str, dict[str, Tensor]] = {_GROUPS: {}, _ENCODER: {}, "": {}}
            for name, tensor in tensors.items():
                prefix = next(prefix for prefix in parts if name.startswith(prefix))
                parts[prefix][name.removeprefix(prefix)] = tensor
            network.load_state_dict(parts[""])
            stored = {name: tensor.numpy() for name, tensor in parts[_GROUPS].items()}
            groups = Groups.from_tensors(stored) if stored else None
            encoder = TrajectoryEncoder.from_tensors(parts[_ENCODER]) if parts[_ENCODER] else None
            return cls(network, prior, counts, seed, groups, encoder)

        return read_policy(folder, build)
