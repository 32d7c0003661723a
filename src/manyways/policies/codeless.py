"""Owns `CodelessPolicy`: a policy without a code, that draws its way by chance and keeps it by what it remembers."""

import math
from abc import abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.networks.policy_network import FARTHEST, Normalizer
from manyways.policies.storage import as_batch, read_policy, write_policy

Floats = NDArray[np.float32]


# Loaded when a policy of the kind is read, so that this module stands below the algorithms.
_HOMES = {
    "mdn": "manyways.algorithms.mdn:MDNNetwork",
    "bet": "manyways.algorithms.bet:BeTNetwork",
    "diffusion": "manyways.algorithms.diffusion:DiffusionNetwork",
}


class CodelessNetwork(nn.Module):
    """What the networks without a code share: from a window of observations they draw a chunk of actions.

    Inside, everything is in normalised observations and actions; `act` takes and returns real units.

    Args:
        observation_size, action_size: numbers in each.
        window: how many observations are seen, the last included.
        chunk: how many actions are learned for one window, the one for its last observation first.
        executed: how many of them are done before the next are drawn.
    """

    kind: ClassVar[str]

    action_low: Tensor
    action_high: Tensor

    def __init__(
        self, observation_size: int, action_size: int, window: int = 1, chunk: int = 1, executed: int = 1
    ) -> None:
        super().__init__()
        if executed > chunk:
            raise ValueError(f"{executed} actions cannot be done of {chunk}")
        self.window = window
        self.chunk = chunk
        self.executed = executed
        self.observations = Normalizer(observation_size)
        self.actions = Normalizer(action_size)
        # The range of the demonstrated actions, in real units.
        self.register_buffer("action_low", torch.full((action_size,), -math.inf))
        self.register_buffer("action_high", torch.full((action_size,), math.inf))

    @abstractmethod
    def settings(self) -> dict[str, int]:
        """Return what the network is built from beside the sizes of observation and action, by name."""

    @abstractmethod
    def matrices(self) -> list[Tensor]:
        """Return the weights between the network's first and last features, which Muon trains."""

    @abstractmethod
    def losses(self, windows: Tensor, actions: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the parts of the loss, which add up to it.

        Args:
            windows: (n, window, observation size), normalised.
            actions: (n, window - 1 + chunk, action size), normalised: those done on seeing each observation of the
                window, and the rest of the chunk.
            generator: of whatever noise is needed, on the CPU.
        """

    @abstractmethod
    def draw(self, windows: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return normalised actions (n, executed, action size) for normalised windows (n, window, observation size).

        Args:
            windows: what was seen.
            rng: draws among all that may be done; None takes the likeliest.
        """

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers an observation and an action have."""
        return int(self.observations.mean.shape[0]), int(self.actions.mean.shape[0])

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and whatever else is not learned by gradient steps, on the demonstrations."""
        self.observations.fit(demonstrations.observations)
        self.actions.fit(demonstrations.actions)
        self.action_low.copy_(torch.from_numpy(demonstrations.actions.min(axis=0)))
        self.action_high.copy_(torch.from_numpy(demonstrations.actions.max(axis=0)))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights with gain √2 and set the biases to 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, math.sqrt(2), generator=generator)
                nn.init.zeros_(layer.bias)

    def see(self, windows: Tensor) -> Tensor:
        """Return windows normalised, cut at ±10 standard deviations of the demonstrations."""
        return self.observations.normalize(windows).clamp(-FARTHEST, FARTHEST)

    def act(self, windows: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, executed, action size) within the demonstrated range, in real units as `windows` are."""
        actions = self.actions.restore(self.draw(self.see(windows), rng))
        return actions.clamp(self.action_low, self.action_high)


class CodelessPolicy:
    """A policy that chooses among the demonstrated ways by chance at every step, or every few.

    There is no code to choose a way with or to keep it by; it is kept, where it is, because the observations that are
    seen tell it. `predict` has Stable-Baselines3's signature; the state is what was seen last and what is still to be
    done.

    Args:
        network: the trained network; moved to the CPU, where single observations are fastest.
        seed: of what `predict` draws.
    """

    prior: Any = None

    def __init__(self, network: CodelessNetwork, seed: int = 0) -> None:
        self.network = network.cpu().eval()
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Start the drawing of actions anew."""
        self._rng = np.random.default_rng(seed)

    @property
    def kind(self) -> str:
        """The name of the algorithm that trained it."""
        return self.network.kind

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
        return self.network.sizes[0]

    @property
    def action_size(self) -> int:
        """How many numbers an action has."""
        return self.network.sizes[1]

    @property
    def state_size(self) -> int:
        """How many numbers a state has: the window but its last observation, the actions left to do, their count."""
        network = self.network
        return (network.window - 1) * self.observation_size + (network.executed - 1) * self.action_size + 1

    def predict(
        self,
        observation: ArrayLike,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
    ) -> tuple[Floats, Floats]:
        """Return what to do, and what must be remembered for the next step.

        Args:
            observation: (observation size,) or (environments, observation size).
            state: (state size,) or (environments, state size), as returned at the step before; None where episodes
                start.
            episode_start: (environments,), where True nothing is remembered. Environments need not be in step.
            deterministic: what is likeliest; otherwise it is drawn, by which different ways appear.

        Returns:
            The action, (action size,) or (environments, action size), within the range of the demonstrated ones; and
            the next `state`, in the same form.

        Raises:
            InputError: the observation or the state has the wrong shape, or the state is not one of this policy.
        """
        batch, single = as_batch(observation, self.observation_size)
        past, waiting, left = self._recall(state, episode_start, batch)
        windows = np.concatenate([past, batch[:, None]], axis=1)
        empty = left == 0
        if empty.any():
            with torch.no_grad():
                chunks = self.network.act(torch.from_numpy(windows[empty]), None if deterministic else self._rng)
            waiting[empty] = chunks.numpy()
            left[empty] = self.network.executed
        actions: Floats = waiting[:, 0].copy()
        numbers = [windows[:, 1:].reshape(len(batch), -1), waiting[:, 1:].reshape(len(batch), -1), left[:, None] - 1]
        states = np.concatenate(numbers, axis=1, dtype=np.float32)
        return (actions[0], states[0]) if single else (actions, states)

    def _recall(
        self, state: Any, episode_start: ArrayLike | None, batch: Floats
    ) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Return what was seen before (n, window - 1, observation size), what waits to be done, and how much of it.

        The actions are (n, executed, action size), of which the first (n,) many count. Where an episode starts, what
        is seen now stands for what was seen before.
        """
        network, count = self.network, len(batch)
        past = np.repeat(batch[:, None], network.window - 1, axis=1)
        waiting = np.zeros((count, network.executed, self.action_size), np.float32)
        left = np.zeros(count, np.int64)
        if state is None:
            return past, waiting, left
        given = np.asarray(state, dtype=np.float32)
        if given.shape != (count, self.state_size) and (count, given.shape) != (1, (self.state_size,)):
            raise InputError(
                f"the state has shape {given.shape}; give what predict returned before, {self.state_size} numbers for "
                f"each of the {count} observations, or None"
            )
        given = given.reshape(count, self.state_size)
        going_on = np.ones(count, bool)
        if episode_start is not None:
            going_on = ~np.broadcast_to(np.asarray(episode_start, dtype=bool), (count,))
        if not np.isin(given[going_on, -1], np.arange(network.executed)).all():
            raise InputError("the state is not one that this policy's predict returned; give that, or None")
        seen = (network.window - 1) * self.observation_size
        past[going_on] = given[going_on, :seen].reshape(going_on.sum(), *past.shape[1:])
        waiting[going_on, :-1] = given[going_on, seen:-1].reshape(
            going_on.sum(), network.executed - 1, self.action_size
        )
        left[going_on] = given[going_on, -1]
        return past, waiting, left

    def save(self, folder: str | Path) -> None:
        """Write the policy to `folder`, as policy.json and policy.safetensors.

        Raises:
            WriteError: the system refused to write.
        """
        description = {
            "kind": self.kind,
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "network": self.network.settings(),
        }
        write_policy(folder, description, self.network.state_dict())

    @classmethod
    def load(cls, folder: str | Path, seed: int = 0) -> "CodelessPolicy":
        """Read the policy that `save` wrote, or that of a run's folder.

        Raises:
            InputError: there is none, it is one with a code, or a file of it is damaged.
        """

        def build(description: dict[str, Any], tensors: dict[str, Tensor]) -> CodelessNetwork:
            if "prior" in description:
                raise InputError(f"{folder} has a policy with a code; read it with Policy.load")
            settings = {name: int(value) for name, value in description["network"].items()}
            if min(settings.values()) < 1:
                raise ValueError("a number below 1")
            module, name = _HOMES[description["kind"]].split(":")
            network: CodelessNetwork = getattr(import_module(module), name)(
                int(description["observation_size"]), int(description["action_size"]), **settings
            )
            network.load_state_dict(tensors)
            return network

        return cls(read_policy(folder, build), seed)
