"""Owns `Policy`: what a user keeps after training, a network with its normalisation, its codes and its memory."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations, spaces
from manyways.demonstrations.spaces import Space
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior
from manyways.networks.base import ActionNetwork
from manyways.networks.encoders import Encoder
from manyways.networks.normalization import FARTHEST, to_tensors
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies import files
from manyways.policies.explanation import Encoding, encode, explain
from manyways.policies.state import StateLayout, as_batch
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.search.settings import Search

Floats = NDArray[np.floating[Any]]

_FEW = 16  # environments, up to which NumPy is faster than PyTorch
_CALLS_WITHOUT_STATE = 10  # in a row, after which a lost state is suspected
_FAR_CALLS = 20  # the first ones, all with observations beyond everything demonstrated


@dataclass(frozen=True)
class Mode:
    """One mode that was found: its code, and how many of the demonstrations it explains best.

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

    `predict` has Stable-Baselines3's signature, and its state is the code. So everything that runs a policy of
    Stable-Baselines3 runs this one. Algorithms without codes give the same type, with no prior.

    Args:
        network: the trained network; moved to the CPU, where single observations are fastest.
        prior: the codes; None for a policy without.
        counts: (codes,), how many demonstrations each code explains best; empty for continuous codes.
        seed: of everything that `predict` draws.
        groups: of similar trajectories, one a code, by which `losses` also judges which states a trajectory meets.
        trajectory_encoder: gives trajectories their continuous codes, where they are not searched.
    """

    def __init__(
        self,
        network: ActionNetwork,
        prior: Prior | None = None,
        counts: tuple[int, ...] = (),
        seed: int = 0,
        groups: Groups | None = None,
        trajectory_encoder: TrajectoryEncoder | None = None,
    ) -> None:
        self.network = network.cpu().eval()
        self.prior = prior
        self.counts = counts
        self.groups = groups
        self.trajectory_encoder = trajectory_encoder
        self.chosen_code: Floats | None = None
        self._layout = StateLayout(network, 0 if prior is None else prior.dimension)
        self._precise = network.observations.precise
        self._fast = network.in_numpy() if isinstance(network, PolicyNetwork) else None
        self._without_state = self._far = 0
        self._looked = False
        self.seed(seed)

    def __repr__(self) -> str:
        codes = "no codes" if self.prior is None else str(self.prior)
        return (
            f"Policy({codes}; from {spaces.describe(self.observation_space)} to {spaces.describe(self.action_space)})"
        )

    def seed(self, seed: int) -> None:
        """Start the drawing of codes and action noise anew."""
        self._rng = np.random.default_rng(seed)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that were found, one entry a code; none where codes are continuous, see `encode`."""
        total = max(1, sum(self.counts))
        return tuple(Mode(code, count, count / total) for code, count in enumerate(self.counts))

    @property
    def observation_space(self) -> Space:
        """Of one step."""
        return self.network.observation_space

    @property
    def action_space(self) -> Space:
        """Of one step."""
        return self.network.action_space

    @property
    def state_size(self) -> int:
        """How many numbers a state has: those of the code, and what is remembered besides."""
        return self._layout.size

    @property
    def discrete_prior(self) -> Categorical:
        """The prior, where codes can be listed.

        Raises:
            InputError: they cannot.
        """
        if self.prior is None:
            raise InputError("this policy has no codes, so none can be chosen or listed; train one with sog-bc")
        if not isinstance(self.prior, Categorical):
            raise InputError(
                f"this policy's codes are {self.prior.dimension} continuous numbers, which cannot be listed; "
                "see `encode` for those of trajectories"
            )
        return self.prior

    def code(self, which: int | ArrayLike) -> NDArray[np.float32]:
        """Return a code, (code size,), to be given to `predict` as its state.

        Args:
            which: a discrete code's index; for a continuous code the prior's CDF of each of its numbers, 0 to 1.

        Raises:
            InputError: there is no such code.
        """
        if isinstance(self.prior, Gaussian):
            return self.prior.quantile(np.atleast_1d(np.asarray(which, dtype=np.float64)))
        prior = self.discrete_prior
        if not isinstance(which, int | np.integer):
            raise InputError(f"{which!r} is no index of a code; give 0 to {prior.size - 1}")
        return prior.code(int(which))

    def with_code(self, which: int | ArrayLike) -> "Policy":
        """Return this policy with one code chosen for good, for callers that pass no state at an episode's start.

        Args:
            which: as for `code`.

        Raises:
            InputError: there is no such code.
        """
        return self._with_chosen(self.code(which))

    def _with_chosen(self, code: Floats) -> "Policy":
        chosen = Policy(
            self.network, self.prior, self.counts, groups=self.groups, trajectory_encoder=self.trajectory_encoder
        )
        chosen._rng = self._rng
        chosen.chosen_code = code
        return chosen

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Floats]:
        """Return an action, and the state for the next step.

        Args:
            observation: one, or one for each environment, (environments, ...); a dictionary where the demonstrations'
                observations are one.
            state: the code, (code size,) or (environments, code size), or what `predict` returned at the step before.
                None draws a code from the prior. Give the returned state back at every step: without it a new code is
                drawn at every step.
            episode_start: (environments,), where True a new code is drawn and nothing is remembered; a `state` given
                without it is kept.
            deterministic: the mean, or the likeliest, action; otherwise Gaussian noise of the demonstrations' residual
                size is added, or the action is drawn.

        Returns:
            The action, within the range of the demonstrated ones, and the next `state`; each (environments, ...), or a
            single one for a single observation.

        Raises:
            InputError: the observation or the state has the wrong shape, or a number is not finite.
        """
        batch, count, single = as_batch(observation, self.observation_space, self._precise)
        self._watch(batch, state, episode_start)
        codes, states, going_on = self._codes(state, episode_start, count)
        rng = None if deterministic else self._rng
        if not self._layout.remembers:
            actions = self._act(batch, codes, rng)
            following: Floats = codes
        else:
            actions, following = self._act_from_memory(batch, codes, states, going_on, rng)
        return (actions[0], following[0]) if single else (actions, following)

    def _act(self, batch: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return one action for each observation, of a policy that remembers nothing."""
        if self._fast is not None and rng is None and len(codes) <= _FEW:
            return self._fast(batch, codes)
        return self._drawn(_windows(batch, None), codes, rng)[:, 0]

    def _act_from_memory(
        self, batch: Any, codes: Floats, states: Floats | None, going_on: NDArray[np.bool_], rng: Any
    ) -> tuple[NDArray[Any], Floats]:
        memory = self._layout.fresh(batch, len(codes))
        if states is not None:
            self._layout.unpack(states, memory, going_on)
        windows = _windows(batch, memory.past)
        empty = memory.left == 0
        if empty.any():
            some = {n: w[empty] for n, w in windows.items()} if isinstance(windows, dict) else windows[empty]
            memory.waiting[empty] = self._drawn(some, codes[empty], rng)
            memory.left[empty] = self.network.executed
        return memory.waiting[:, 0].copy(), self._layout.pack(codes, windows, memory)

    @torch.no_grad()
    def _drawn(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        """Return actions (n, executed, ...) of windows (n, window, ...)."""
        given = None if self.prior is None else torch.from_numpy(codes)
        actions: NDArray[Any] = self.network.act(to_tensors(windows), given, rng).numpy()
        return actions

    def _codes(
        self, state: Any, episode_start: ArrayLike | None, count: int
    ) -> tuple[NDArray[np.float32], Floats | None, NDArray[np.bool_]]:
        """Return each environment's code, its whole state if one was given, and whether its episode goes on."""
        size, whole = self._layout.code_size, self._layout.size
        going_on = np.ones(count, bool)
        if episode_start is not None:
            going_on = ~np.broadcast_to(np.asarray(episode_start, dtype=bool), (count,))
        states: Floats | None = None
        codes = np.zeros((count, size), np.float32)
        if state is not None:
            rows = np.asarray(state)
            if rows.dtype.kind not in "fiu" or rows.shape not in ((size,), (count, size), (whole,), (count, whole)):
                needed = f"a code ({size},), as from policy.code(0), or " if size else ""
                raise InputError(
                    f"the state has shape {rows.shape}; give {needed}what predict returned before, {whole} numbers for "
                    f"each of the {count} observations, or None"
                )
            rows = np.broadcast_to(rows, (count, rows.shape[-1]))
            codes[:] = rows[:, :size]
            if rows.shape[1] == whole:
                states = rows
        if self.chosen_code is not None:
            codes[:] = self.chosen_code
        elif self.prior is not None:
            drawn = ~going_on if state is not None else np.ones(count, bool)
            codes[drawn] = self.prior.sample(int(drawn.sum()), self._rng)
        return codes, states, going_on & (states is not None)

    def _watch(self, batch: Any, state: Any, episode_start: ArrayLike | None) -> None:
        """Warn, once each, where the caller seems to lose the state, or to normalise observations itself."""
        lost = state is None and episode_start is None and self.chosen_code is None
        if lost and (self._layout.remembers or (self.prior is not None and self.prior != Categorical(1))):
            self._without_state += 1
            if self._without_state == _CALLS_WITHOUT_STATE:
                warnings.warn(
                    "predict was called without a state again and again, so a new code is drawn at every step; give it "
                    "the state that it returned, or use policy.with_code(...)",
                    stacklevel=3,
                )
        else:
            self._without_state = 0
        if self._fast is None or self._looked:
            return
        # Observations that are normalised twice are far off from the first one on; one that falls is so later.
        moments = self.network.observations.part()
        deviations = np.abs((batch - moments.mean.numpy()) * moments.scale.numpy()).max(axis=1)
        distance = float(np.median(deviations))
        self._far += 1
        self._looked = distance <= FARTHEST or self._far == _FAR_CALLS
        if distance > FARTHEST and self._looked:
            warnings.warn(
                f"observations lie {distance:.0f} standard deviations from those of the demonstrations, from the first "
                "one on; give them raw, not through VecNormalize or another normalisation",
                stacklevel=3,
            )

    def losses(self, demonstrations: Demonstrations) -> NDArray[np.float64]:
        """Return how badly each code explains each trajectory, (trajectories, codes).

        That is the mean over its steps of the squared error, summed over the action's numbers, each in units of its
        standard deviation in the training demonstrations (of choices, the cross-entropy in nats). Where the policy was
        trained with groups of similar trajectories, it is also how much less likely than in the nearest group the
        trajectory is in the code's, in the same units (`Groups.loss`). A trajectory's code is the arg min of its row.

        Raises:
            InputError: the demonstrations are of other spaces than the policy, or codes cannot be listed.
        """
        self.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
        prior = self.discrete_prior
        assert isinstance(self.network, PolicyNetwork)
        return explain(self.network, prior, demonstrations, self.groups)

    def encode(self, demonstrations: Demonstrations, search: Search | None = None, seed: int = 0) -> Encoding:
        """Search the code under which each trajectory is explained best (Algorithm 2, lines 5 and 6).

        A policy that came with a trajectory encoder asks that instead.

        Args:
            demonstrations: of any lengths.
            search: how continuous codes are searched; as in training unless given.
            seed: of the candidates.

        Raises:
            InputError: the demonstrations are of other spaces than the policy, or it has no codes.
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
        """The loss of predicting the demonstrations' mean action whatever is observed; compare losses to it."""
        return self.network.actions.uninformed_error

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
        """Read the policy that `save` wrote, or that of a run's folder. Nothing in the files can run code.

        Args:
            folder: with policy.json and policy.safetensors.
            seed: of everything that `predict` draws.
            encoder: the module, or what makes it, of a policy with an encoder that is not registered by name.

        Raises:
            InputError: there is none, a file of it is damaged, or its encoder must be given.
        """
        return files.load(cls, Path(folder), seed, encoder)


def load_policy(folder: str | Path, seed: int = 0, encoder: Encoder = None) -> Policy:
    """Read the policy in this folder; see `Policy.load`."""
    return Policy.load(folder, seed, encoder)


def _windows(batch: Any, past: Any) -> Any:
    """Return windows (n, window, ...) from current observations (n, ...) and those before, (n, window - 1, ...)."""
    if isinstance(batch, dict):
        return {name: _windows(array, None if past is None else past[name]) for name, array in batch.items()}
    current = batch[:, None]
    return current if past is None else np.concatenate([past, current], axis=1)
