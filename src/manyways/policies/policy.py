"""Owns `Policy`: a network with its normalisation, its codes and its memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations, spaces
from manyways.demonstrations.alike import require_demonstrations
from manyways.demonstrations.rotations import Rotations
from manyways.demonstrations.spaces import Space
from manyways.errors import InputError
from manyways.hub import is_hub_name
from manyways.latents import Gaussian, Prior
from manyways.networks.base import ActionNetwork
from manyways.networks.encoders import Encoder
from manyways.networks.in_numpy import in_numpy
from manyways.networks.normalization import to_tensors
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies import files, hub, modes
from manyways.policies.acting import Actor
from manyways.policies.ensemble import Ensemble
from manyways.policies.explanation import Encoding, encode, explain
from manyways.policies.novelty import Novelty
from manyways.policies.segments import Switches
from manyways.policies.start_gate import StartGate
from manyways.policies.trajectory_encoder import TrajectoryEncoder
from manyways.search.segments import segments_of
from manyways.search.settings import Search

Floats = NDArray[np.floating[Any]]


class Policy(Actor):
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
        novelty: how far observations are from the demonstrations; None where that was not measured.
        switches: how codes change within trajectories; None where they do not.
        rotations: which columns of the data are angles and quaternions; None for none.
        ensemble: see `Cloning.ensemble`; for a network that executes whole plans. None for none.

    Attributes:
        provenance: where it comes from (algorithm, data, command, date), as far as that is known; kept in its file.
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
        novelty: Novelty | None = None,
        switches: Switches | None = None,
        rotations: Rotations | None = None,
        ensemble: float | None = None,
    ) -> None:
        self.network = network.cpu().eval()
        self.groups = groups
        self.trajectory_encoder = trajectory_encoder
        self.switches = switches
        self.provenance: dict[str, Any] = {}
        self._arrays = fast = in_numpy(network) if isinstance(network, PolicyNetwork) else None
        super().__init__(
            network,
            prior,
            counts,
            seed,
            start_gate,
            novelty,
            network.observations.precise,
            None if fast is None else fast.moments,
            None if fast is None else fast.fast,
            rotations,
            None if ensemble is None else Ensemble(ensemble, network.executed, _switches(network)),
        )

    @torch.no_grad()
    def _answer(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        tensor = None if self.prior is None else torch.from_numpy(codes)
        actions: NDArray[Any] = self.network.act(to_tensors(windows), tensor, rng).numpy()
        return actions

    @torch.no_grad()
    def _features(self, observations: Any) -> Floats:
        if self._arrays is not None:
            return self._arrays.features(observations)
        features: Floats = self.network.features(self.network.observations(to_tensors(observations))).numpy()
        return features

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
        demonstrations = self.encoded(demonstrations)
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
            demonstrations = self.encoded(demonstrations)
            assert isinstance(self.network, PolicyNetwork)
            return encode(self.network, self.prior, demonstrations, search or Search(), seed, self.trajectory_encoder)
        losses = self.losses(demonstrations)
        codes = self.discrete_prior.enumerate()[losses.argmin(axis=1)]
        return Encoding(codes, losses.min(axis=1), None)

    def segments(self, demonstrations: Demonstrations) -> list[list[tuple[int, int, int]]]:
        """Return each trajectory's stretches of one code: first step, step after the last, code.

        Raises:
            InputError: the policy was trained without segments, or the spaces differ.
        """
        if self.switches is None:
            raise InputError("this policy keeps one code a trajectory; train one with segments=True (--segments)")
        demonstrations = self.encoded(demonstrations)
        assert isinstance(self.network, PolicyNetwork)
        path, _ = self.switches.path(self.network, demonstrations)
        return [segments_of(part) for part in np.split(path, demonstrations.starts[1:])]

    def encoded(self, demonstrations: Demonstrations) -> Demonstrations:
        """Return the demonstrations as the network sees them: the policy's own angles and quaternions encoded.

        Raises:
            InputError: they have other spaces than the policy.
        """
        require_demonstrations(demonstrations)
        if demonstrations.rotations is not None and demonstrations.rotations.encoded:
            return demonstrations
        self.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
        return replace(demonstrations, rotations=self.rotations or Rotations({})).encoded

    @property
    def uninformed_loss(self) -> float:
        """The loss of always predicting the demonstrations' mean action, to compare losses with."""
        network = self.network
        return network.uninformed_error if isinstance(network, PolicyNetwork) else network.actions.uninformed_error

    def require_spaces(self, observation_space: Space, action_space: Space, what: str) -> None:
        """Raise `InputError` unless `what`, which has these spaces, fits the policy's, names of columns included."""
        for name, own, other in (
            ("an observation", self.observation_space, observation_space),
            ("an action", self.action_space, action_space),
        ):
            if not (spaces.fits(own, other) or spaces.fits(other, own)):
                raise InputError(
                    f"in {what} {name} is {spaces.describe(other)}, but for the policy {spaces.describe(own)}; "
                    "use what is of the same kind as it was trained on"
                )
            spaces.require_same_names(own, other, what)

    def export(self, path: str | Path) -> None:
        """Write the policy as an ONNX file, which needs the extra `onnx`.

        Its inputs are `observation`, raw, (n, [window,] ...), or `observation.NAME` for each entry of a dictionary, and
        `code`, (n, code size). Its output is `action`, (n, [chunk,] ...), the likeliest, in real units and within the
        demonstrated range. Its metadata `manyways` says in JSON how long windows and chunks are, how many actions of a
        chunk are executed, and the names of the codes.

        Args:
            path: ends in .onnx.

        Raises:
            InputError: the policy has no codes, its encoder cannot be exported, or the extra is not installed.
            WriteError: the system refused to write.
        """
        from manyways.policies.onnx import export

        export(self, Path(path))

    def push_to_hub(
        self, name: str, *, private: bool = False, token: str | None = None, message: str = "Upload a policy"
    ) -> str:
        """Upload the policy with a model card to the Hugging Face Hub, which needs the extra `hub`.

        `manyways.load_policy(name)` reads it. A run's held-out loss and pictures come along with `manyways push RUN`.

        Args:
            name: USER/NAME; made unless it is there.
            private: whether a new one is.
            token: of the user; that of `hf auth login` unless given.
            message: of the commit.

        Returns:
            The address.

        Raises:
            InputError: the name is none, the extra is missing, or the Hub refuses.
        """
        return hub.push(self, name, private=private, token=token, message=message)

    @classmethod
    def from_pretrained(
        cls, name: str | Path, *, revision: str | None = None, seed: int = 0, encoder: Encoder = None
    ) -> "Policy":
        """Read a policy from a folder, or from the Hugging Face Hub, where there is no such folder.

        Args:
            name: a folder, or USER/NAME.
            revision: a branch, a tag or a commit of the Hub; the newest unless given.
            seed: of everything that `predict` draws.
            encoder: as for `load`.

        Raises:
            InputError: there is no such policy, or as `load`.
        """
        remote = is_hub_name(name)
        return cls.load(hub.pull(str(name), revision) if remote else name, seed, encoder)

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


def _switches(network: ActionNetwork) -> Any:
    """Return which dimensions of an action have two values, and these values."""
    return tuple(getattr(network.actions, name).numpy() for name in ("switches", "low", "high"))


def load_policy(folder: str | Path, seed: int = 0, encoder: Encoder = None) -> Policy:
    """Read the policy in this folder, such as a run's, or USER/NAME on the Hub; see `Policy.from_pretrained`."""
    return Policy.from_pretrained(folder, seed=seed, encoder=encoder)
