"""Owns `Policy`: a network with its normalisation, its codes and its memory."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations, spaces
from manyways.demonstrations.observations import apply, count_steps
from manyways.demonstrations.spaces import Space
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior
from manyways.networks.base import ActionNetwork
from manyways.networks.encoders import Encoder
from manyways.networks.in_numpy import in_numpy
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies import files, modes
from manyways.policies.explanation import Encoding, encode, explain
from manyways.policies.modes import Mode
from manyways.policies.start_gate import StartGate
from manyways.policies.state import StateLayout, as_batch
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.policies.watch import Watch
from manyways.search.settings import Search

Floats = NDArray[np.floating[Any]]

_FEW = 16  # environments, up to which NumPy is faster than PyTorch


class Policy:
    """A policy with a code, which stays the same through an episode.

    `predict` has Stable-Baselines3's signature; its state is the code. So programs that run a Stable-Baselines3 policy
    also run this one. The policies of algorithms without codes have `prior` None.

    Args:
        network: the trained network; moved to the CPU, where single observations are fastest.
        prior: of the codes; None without codes.
        counts: (codes,), how many demonstrations have each code; empty for continuous codes.
        seed: of everything that `predict` draws.
        groups: of similar trajectories, one for each code; they add a term to `losses`.
        trajectory_encoder: from trajectories to continuous codes, for policies that do not search them.
        start_gate: how likely each code is at an episode's first observation; None for the prior.
    """

    def __init__(
        self,
        network: ActionNetwork,
        prior: Prior | None = None,
        counts: tuple[int, ...] = (),
        seed: int = 0,
        groups: Groups | None = None,
        trajectory_encoder: TrajectoryEncoder | None = None,
        start_gate: StartGate | None = None,
    ) -> None:
        self.network = network.cpu().eval()
        self.prior = prior
        self.counts = counts
        self.groups = groups
        self.trajectory_encoder = trajectory_encoder
        self.start_gate = start_gate
        self.names: dict[int, str] = {}
        self.chosen_code: Floats | None = None
        self._layout = StateLayout(network, 0 if prior is None else prior.dimension)
        self._needs_state = self._layout.remembers or (prior is not None and prior != Categorical(1))
        self._precise = network.observations.precise
        self._fast = in_numpy(network) if isinstance(network, PolicyNetwork) else None
        self._shape = network.observation_space.shape
        self._state_shapes = {(self._layout.size,), (self._layout.code_size,)}
        self._quick = self._fast is not None and not self._precise
        self._watch = Watch(network.observations.part() if self._fast is not None else None)
        self.seed(seed)

    def __repr__(self) -> str:
        codes = "no codes" if self.prior is None else str(self.prior)
        return (
            f"Policy({codes}; from {spaces.describe(self.observation_space)} to {spaces.describe(self.action_space)})"
        )

    def seed(self, seed: int) -> None:
        """Seed the codes and the action noise."""
        self._rng = np.random.default_rng(seed)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes, one for each code; empty for continuous codes, see `encode`."""
        total = max(1, sum(self.counts))
        return tuple(Mode(code, n, n / total, self.names.get(code)) for code, n in enumerate(self.counts))

    @property
    def observation_space(self) -> Space:
        """The space of one step."""
        return self.network.observation_space

    @property
    def action_space(self) -> Space:
        """The space of one step."""
        return self.network.action_space

    @property
    def state_size(self) -> int:
        """The dimensions of a state: those of the code, and of the memory."""
        return self._layout.size

    @property
    def discrete_prior(self) -> Categorical:
        """The prior of discrete codes.

        Raises:
            InputError: the policy has no codes, or continuous ones.
        """
        if self.prior is None:
            raise InputError("this policy has no codes, so none can be chosen or listed; train one with sog-bc")
        if not isinstance(self.prior, Categorical):
            raise InputError(
                f"this policy's codes have {self.prior.dimension} continuous dimensions, so they cannot be listed; "
                "see `encode` for those of trajectories"
            )
        return self.prior

    def name(self, code: int, name: str | None) -> None:
        """Give a mode a name, by which `code` and `with_code` find it; `save` keeps it.

        Args:
            code: the index of a discrete code.
            name: a few words; None takes the name away.

        Raises:
            InputError: there is no such code, or the name is another code's, or a number.
        """
        self.names = modes.named(self.names, code, name, self.discrete_prior.size)

    def take_names(self, other: "Policy", demonstrations: Demonstrations, aligned: bool = False) -> list[str]:
        """Take the names of another policy's modes: each goes to the code that its demonstrations have here.

        Args:
            other: with names.
            demonstrations: whose codes both policies find; names that this policy has already stay.
            aligned: whether this policy was trained from the other, so that a code without demonstrations keeps its
                name.

        Returns:
            The names for which there is no mode here.

        Raises:
            InputError: the demonstrations have other spaces than a policy, or a policy has no list of codes.
        """
        sizes = other.discrete_prior.size, self.discrete_prior.size
        before, now = (policy.losses(demonstrations).argmin(axis=1) for policy in (other, self))
        free = modes.matched(other.names, before, now, sizes)
        free = {code: name for code, name in free.items() if name not in self.names.values()}
        if aligned:
            counts = np.bincount(now, minlength=sizes[1])
            free |= {c: name for c, name in other.names.items() if not counts[c] and name not in free.values()}
        self.names = dict(sorted((free | self.names).items()))
        return [name for name in other.names.values() if name not in self.names.values()]

    def code(self, which: int | str | ArrayLike) -> NDArray[np.float32]:
        """Return a code, (code size,), as a state for `predict`.

        Args:
            which: a discrete code's index or name; for a continuous code the prior's CDF of each of its dimensions, 0
                to 1.

        Raises:
            InputError: there is no such code.
        """
        if isinstance(self.prior, Gaussian) and not isinstance(which, str):
            return self.prior.quantile(np.atleast_1d(np.asarray(which, dtype=np.float64)))
        prior = self.discrete_prior
        if isinstance(which, str):
            which = modes.find(self.names, which)
        if not isinstance(which, int | np.integer):
            raise InputError(f"{which!r} is no index and no name of a code; give 0 to {prior.size - 1}")
        return prior.code(int(which))

    def with_code(self, which: int | str | ArrayLike) -> "Policy":
        """Return this policy with a fixed code, for callers that pass no state at an episode's start.

        Args:
            which: as for `code`.

        Raises:
            InputError: there is no such code.
        """
        return self._with_fixed_code(self.code(which))

    def _with_fixed_code(self, code: Floats) -> "Policy":
        policy = copy.copy(self)  # with the same network and the same source of randomness
        policy.chosen_code = code
        policy._quick = False  # the state is not the code then
        return policy

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Floats]:
        """Return an action, and the state for the next step.

        Args:
            observation: one, or one for each environment, (environments, ...); a dictionary if the demonstrations'
                observations are dictionaries.
            state: the code, (code size,) or (environments, code size), or the state from the last call. None draws a
                code: by how likely each is at the first observation, where training learned that, else from the prior.
                Pass the returned state at every step; without it every step draws a new code.
            episode_start: (environments,); True draws a new code and clears the memory. Without it `state` stays.
            deterministic: True for the mean or likeliest action; False adds Gaussian noise with the demonstrations'
                residual size, or draws the action.

        Returns:
            The action, within the range of the demonstrated ones, and the next `state`; each (environments, ...), or a
            single one for a single observation.

        Raises:
            InputError: the observation or the state has the wrong shape, or a value is not finite.
        """
        if deterministic and episode_start is None and self._quick:
            done = self._act_at_once(observation, state)
            if done is not None:
                return done
        batch, count, single = as_batch(observation, self.observation_space, self._precise)
        lost = state is None and episode_start is None and self.chosen_code is None
        self._watch.lost_state(lost and self._needs_state)
        if not self._watch.looked:
            self._watch.look(batch)
        codes, states, continuing = self._codes(batch, state, episode_start, count)
        rng = None if deterministic else self._rng
        if not self._layout.remembers:
            actions = self._act(batch, codes, rng)
            next_states: Floats = codes
        else:
            actions, next_states = self._act_from_memory(batch, codes, states, continuing, rng)
        return (actions[0], next_states[0]) if single else (actions, next_states)

    def _act_at_once(self, observation: Any, state: Any) -> tuple[NDArray[Any], Floats] | None:
        """Return the action for one array and the next state, or None where `predict` has to look closer."""
        if type(observation) is not np.ndarray or type(state) is not np.ndarray or not self._watch.looked:
            return None
        if observation.dtype != np.float32 or observation.shape != self._shape or state.dtype != np.float32:
            return None
        if state.shape not in self._state_shapes or not math.isfinite(observation.sum()):
            return None
        assert self._fast is not None
        return self._layout.act_at_once(self._fast, observation, state)

    def _act(self, batch: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return one action for each observation, for a policy without memory."""
        if self._fast is not None and rng is None and len(codes) <= _FEW:
            return self._fast(batch, codes)[:, 0]
        return self._draw(_windows(batch, None), codes, rng)[:, 0]

    def _act_from_memory(
        self, batch: Any, codes: Floats, states: Floats | None, continuing: NDArray[np.bool_], rng: Any
    ) -> tuple[NDArray[Any], Floats]:
        memory = self._layout.fresh(batch, len(codes))
        if states is not None:
            self._layout.unpack(states, memory, continuing)
        windows = _windows(batch, memory.past)
        empty = memory.remaining == 0
        if empty.any():
            some = {n: w[empty] for n, w in windows.items()} if isinstance(windows, dict) else windows[empty]
            memory.waiting[empty] = self._draw(some, codes[empty], rng)
            memory.remaining[empty] = self.network.executed
        return memory.waiting[:, 0].copy(), self._layout.pack(codes, windows, memory)

    @torch.no_grad()
    def _draw(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return actions (n, executed, ...) of windows (n, window, ...)."""
        if self._fast is not None and rng is None and len(codes) <= _FEW:
            return self._fast(windows if self.network.window > 1 else windows[:, 0], codes)
        tensor = None if self.prior is None else torch.from_numpy(codes)
        actions: NDArray[Any] = self.network.act(to_tensors(windows), tensor, rng).numpy()
        return actions

    def _codes(
        self, batch: Any, state: Any, episode_start: ArrayLike | None, count: int
    ) -> tuple[NDArray[np.float32], Floats | None, NDArray[np.bool_]]:
        """Return each environment's code, its whole state if there is one, and whether its episode continues."""
        size, whole = self._layout.code_size, self._layout.size
        continuing = np.ones(count, bool)
        if episode_start is not None:
            continuing = ~np.broadcast_to(np.asarray(episode_start, dtype=bool), (count,))
        states: Floats | None = None
        codes = np.zeros((count, size), np.float32)
        if state is not None:
            rows = np.asarray(state)
            if rows.dtype.kind not in "fiu" or rows.shape not in ((size,), (count, size), (whole,), (count, whole)):
                code = f"a code ({size},), as from policy.code(0), or " if size else ""
                raise InputError(
                    f"the state has shape {rows.shape}; give {code}the state that predict returned, {whole} numbers "
                    f"for each of the {count} observations, or None"
                )
            rows = np.broadcast_to(rows, (count, rows.shape[-1]))
            codes[:] = rows[:, :size]
            if rows.shape[1] == whole:
                states = rows
        if self.chosen_code is not None:
            codes[:] = self.chosen_code
        elif self.prior is not None:
            new = ~continuing if state is not None else np.ones(count, bool)
            if new.any():
                codes[new] = self._draw_codes(batch, new)
        return codes, states, continuing & (states is not None)

    def _draw_codes(self, batch: Any, new: NDArray[np.bool_]) -> Floats:
        """Return codes for the episodes that start, (starting, code size), by the gate or from the prior."""
        assert self.prior is not None
        if self.start_gate is None or not isinstance(self.prior, Categorical):
            return self.prior.sample(int(new.sum()), self._rng)
        likely = self.start_probabilities(apply(lambda array: array[new], batch))
        drawn = (np.log(likely) + self._rng.gumbel(size=likely.shape)).argmax(axis=1)
        return np.eye(self.prior.size, dtype=np.float32)[drawn]

    @torch.no_grad()
    def start_probabilities(self, observations: Any) -> Floats:
        """Return how likely each code is at the first observations of episodes (n, ...), (n, codes).

        Raises:
            InputError: the policy has no discrete codes.
        """
        prior = self.discrete_prior
        if self.start_gate is None:
            return np.full((count_steps(observations), prior.size), 1 / prior.size)
        features = self.network.features(self.network.observations(to_tensors(observations))).numpy()
        return self.start_gate.probabilities(features.astype(np.float64))

    def losses(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return the loss of each trajectory under each code, (trajectories, codes).

        It is the mean over the trajectory's steps of the squared error, summed over the action's dimensions, each in
        units of its standard deviation in the training demonstrations, or in what the linear answer leaves of them; for
        choices, the cross-entropy in nats. With a horizon it is the mean over the plan, under its best detail. A policy
        that was trained with groups of similar trajectories adds `Groups.loss`. A trajectory's code is the arg min of
        its row.

        Raises:
            InputError: the demonstrations have other spaces than the policy, or codes cannot be listed.
        """
        self.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
        prior = self.discrete_prior
        assert isinstance(self.network, PolicyNetwork)
        return explain(self.network, prior, demonstrations, self.groups)

    def encode(self, demonstrations: Demonstrations, search: Search | None = None, seed: int = 0) -> Encoding:
        """Return the code of each trajectory, by search (Algorithm 2, lines 5 and 6), or by the trajectory encoder.

        Args:
            demonstrations: of any lengths.
            search: how continuous codes are searched; `Search()` by default.
            seed: of the candidates.

        Raises:
            InputError: the demonstrations have other spaces than the policy, or it has no codes.
        """
        if isinstance(self.prior, Gaussian):
            self.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
            assert isinstance(self.network, PolicyNetwork)
            return encode(self.network, self.prior, demonstrations, search or Search(), seed, self.trajectory_encoder)
        losses = self.losses(demonstrations)
        codes = self.discrete_prior.enumerate()[losses.argmin(axis=1)]
        return Encoding(codes, losses.min(axis=1), None)

    @property
    def uninformed_loss(self) -> float:
        """The loss of always predicting the demonstrations' mean action, to compare losses with."""
        network = self.network
        return network.uninformed_error if isinstance(network, PolicyNetwork) else network.actions.uninformed_error

    def require_spaces(self, observation_space: Space, action_space: Space, what: str) -> None:
        """Raise `InputError` unless `what`, which has these spaces, fits the policy's."""
        for name, own, other in (
            ("an observation", self.observation_space, observation_space),
            ("an action", self.action_space, action_space),
        ):
            if not (spaces.fits(own, other) or spaces.fits(other, own)):
                raise InputError(
                    f"in {what} {name} is {spaces.describe(other)}, but for the policy {spaces.describe(own)}; "
                    "use what is of the same kind as it was trained on"
                )

    def save(self, folder: str | Path) -> None:
        """Write the policy to `folder`, as policy.json and policy.safetensors.

        Raises:
            WriteError: the system refused to write.
        """
        files.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, seed: int = 0, encoder: Encoder = None) -> "Policy":
        """Read a policy from the folder of `save`, or from a run's folder. Nothing in the files can run code.

        Args:
            folder: with policy.json and policy.safetensors.
            seed: of everything that `predict` draws.
            encoder: of a policy whose encoder is not registered by name; see `networks.encoders.Encoder`.

        Raises:
            InputError: there is no policy, a file of it is damaged, or the encoder is needed.
        """
        return files.load(cls, Path(folder), seed, encoder)


def load_policy(folder: str | Path, seed: int = 0, encoder: Encoder = None) -> Policy:
    """Read the policy in this folder, such as a run's; see `Policy.load`."""
    return Policy.load(folder, seed, encoder)


def _windows(batch: Any, past: Any) -> Any:
    """Return windows (n, window, ...) from current observations (n, ...) and past ones (n, window - 1, ...)."""
    if isinstance(batch, dict):
        return {name: _windows(array, None if past is None else past[name]) for name, array in batch.items()}
    current = batch[:, None]
    return current if past is None else np.concatenate([past, current], axis=1)
