"""VAE-GAIL (Wang et al. 2017): an encoder gives each demonstration a code, and the discriminator sees it.

a variational autoencoder of trajectories: a bidirectional LSTM → code → each step's action and next state
behaviour cloning under these codes
the adversarial loop: rollouts under codes of demonstrations, D(s, a, code) beside pairs with their own code
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyways.algorithms.adversarial import Adversarial, Method, Pretraining
from manyways.checkpoints import moments, named, part, restore_moments
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian
from manyways.networks import Normalizer, PolicyNetwork
from manyways.policy import Policy

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_LONGEST = 50  # steps of a trajectory that are read; of longer ones every second, third, ...
_AT_ONCE = 100  # trajectories


@dataclass(frozen=True, kw_only=True)
class VAEGAIL(Adversarial):
    """Settings of VAE-GAIL; those of `Adversarial` otherwise.

    Args:
        prior: of the policy that is kept: a list of codes stands for as many demonstrations, the middles of groups of
            their codes; with a continuous prior the policy is kept as it is, with `vae_code_size` numbers.
        vae_code_size: numbers in the autoencoder's code.
        vae_iterations: gradient steps of the autoencoder.
        vae_batch: trajectories in one of them.
        vae_learning_rate: of Adam.
        vae_hidden: width of the LSTM in each direction.
        decoder_hidden: width of the decoder.
    """

    name: ClassVar[str] = "vae-gail"

    vae_code_size: int = 20
    vae_iterations: int = 1000
    vae_batch: int = 32
    vae_learning_rate: float = 1e-3
    vae_hidden: int = 64
    decoder_hidden: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("vae_code_size", "vae_iterations", "vae_batch", "vae_hidden", "decoder_hidden"):
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")
        if not self.vae_learning_rate > 0:
            raise InputError(f"vae_learning_rate is {self.vae_learning_rate}; give more than 0")

    def method(self, demonstrations: Demonstrations) -> "Encoded":
        """Return what this algorithm adds to the loop."""
        return Encoded(self, demonstrations)


class TrajectoryVAE(nn.Module):
    """Encoder: states → bidirectional LSTM → mean over time → code. Decoder: (code, state) → action and next state.

    Args:
        observation_size, action_size, code_size: numbers in each.
        hidden: width of the LSTM in each direction.
        decoder_hidden: width of the decoder's two layers.
    """

    def __init__(
        self, observation_size: int, action_size: int, code_size: int, hidden: int = 64, decoder_hidden: int = 300
    ) -> None:
        super().__init__()
        self.lstm = nn.LSTM(observation_size, hidden, batch_first=True, bidirectional=True)
        self.to_code = nn.Linear(2 * hidden, 2 * code_size)
        self.decoder = nn.Sequential(
            nn.Linear(code_size + observation_size, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, action_size + observation_size),
        )

    def encode(self, observations: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the codes, (n, code size) each.

        Args:
            observations: (n, longest, observation size), normalised; what is behind a trajectory's end is not read.
            lengths: (n,), on the CPU.
        """
        packed = pack_padded_sequence(observations, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # zero behind the ends
        mean, log_variance = self.to_code(outputs.sum(dim=1) / lengths[:, None]).chunk(2, dim=1)
        return mean, log_variance


class VAETraining:
    """The autoencoder between its first and its last iteration.

    Attributes:
        iteration: how many gradient steps have been taken.
        loss: of the last step: minus the evidence's lower bound for each step, in nats but for constants.
    """

    def __init__(self, settings: VAEGAIL, demonstrations: Demonstrations) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.iteration = 0
        self.loss = float("nan")
        self._observations = Normalizer(demonstrations.observation_size)
        self._actions = Normalizer(demonstrations.action_size)
        self._observations.fit(demonstrations.observations)
        self._actions.fit(demonstrations.actions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = TrajectoryVAE(
                demonstrations.observation_size,
                demonstrations.action_size,
                settings.vae_code_size,
                settings.vae_hidden,
                settings.decoder_hidden,
            )
        self._optimizer = torch.optim.Adam(self.network.parameters(), settings.vae_learning_rate, fused=True)

    @property
    def finished(self) -> bool:
        """Whether the last gradient step has been taken."""
        return self.iteration >= self.settings.vae_iterations

    def _read(self, trajectories: Integers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows (n, longest) of the trajectories, what is normalised there, lengths, and where rows are real.

        Of a trajectory of more than 100 steps are read as many, evenly; the last step, after which nothing is known, is
        not.
        """
        demonstrations = self.demonstrations
        steps = demonstrations.lengths[trajectories] - 1
        lengths = np.minimum(steps, _LONGEST)
        places = np.arange(lengths.max())
        offsets = (places * (steps / lengths)[:, None]).astype(np.int64)
        real = places < lengths[:, None]
        rows = demonstrations.starts[trajectories, None] + np.where(real, offsets, 0)
        observations = self._observations.normalize(torch.from_numpy(demonstrations.observations[rows])).clamp(-10, 10)
        return torch.from_numpy(rows), observations, torch.from_numpy(lengths), torch.from_numpy(real)

    def step(self) -> None:
        """Take one gradient step."""
        settings, demonstrations = self.settings, self.demonstrations
        rng = np.random.default_rng((settings.seed, self.iteration, 1))
        chosen = rng.integers(len(demonstrations), size=settings.vae_batch)
        rows, observations, lengths, real = self._read(chosen)
        following = self._observations.normalize(torch.from_numpy(demonstrations.observations[rows.numpy() + 1]))
        actions = self._actions.normalize(torch.from_numpy(demonstrations.actions[rows.numpy()]))
        wanted = torch.cat([actions, following.clamp(-10, 10) - observations], dim=2)
        mean, log_variance = self.network.encode(observations, lengths)
        noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32))
        codes = mean + (0.5 * log_variance).exp() * noise
        every = codes[:, None].expand(*observations.shape[:2], codes.shape[1])
        told = self.network.decoder(torch.cat([every, observations], dim=2))
        errors = 0.5 * (told - wanted).square().sum(dim=2)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
        loss = (errors[real].sum() + divergence.sum()) / real.sum()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.loss = loss.item()
        self.iteration += 1

    @torch.no_grad()
    def codes(self) -> Tensor:
        """Return the mean code of every trajectory, standardised over all, (trajectories, code size)."""
        parts = []
        for start in range(0, len(self.demonstrations), _AT_ONCE):
            chosen = np.arange(start, min(start + _AT_ONCE, len(self.demonstrations)))
            _, observations, lengths, _ = self._read(chosen)
            parts.append(self.network.encode(observations, lengths)[0])
        codes = torch.cat(parts)
        return (codes - codes.mean(dim=0)) / codes.std(dim=0, correction=0).clamp_min(1e-6)

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs."""
        tensors = named("network", self.network.state_dict()) | named("optimizer", moments(self._optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self.network.load_state_dict(part("network", tensors))
        restore_moments(self._optimizer, part("optimizer", tensors))
        self.iteration = int(tensors["iteration"])


class Encoded(Method):
    """Rollouts under codes of demonstrations, which the discriminator sees."""

    settings: VAEGAIL
    sees_codes = True

    def __init__(self, settings: VAEGAIL, demonstrations: Demonstrations) -> None:
        self.autoencoder = VAETraining(settings, demonstrations)
        super().__init__(
            settings,
            demonstrations,
            give_codes=lambda trajectories, number: self.inputs[trajectories],
            prior=Gaussian(settings.vae_code_size),
        )

    @property
    def pretrainings(self) -> list[Pretraining]:
        """The autoencoder, then behaviour cloning under its codes."""
        return [self.autoencoder, self.cloning]

    @property
    def pretraining_iterations(self) -> int:
        """Those of both."""
        return self.settings.vae_iterations + self.settings.pretraining

    @cached_property
    def inputs(self) -> Tensor:
        """The demonstrations' codes as the code's layer sees them, (trajectories, code size), once they are learned."""
        assert self.autoencoder.finished
        return self.cloning.network.code_inputs(self.autoencoder.codes())

    def draw_codes(self, starting: Integers, rng: np.random.Generator) -> Floats:
        """Return the codes of demonstrations drawn at random, (n, code size)."""
        return self.inputs[rng.integers(len(self.inputs), size=len(starting))].numpy()

    def expert_codes(self, rows: Integers) -> Tensor:
        """Return the codes of demonstrated steps (n,), those of their trajectories."""
        return self.inputs[self.demonstrations.trajectory_of(rows)]

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy; where a list of codes is wanted, with demonstrations' codes that stand for all."""
        if not isinstance(self.settings.prior, Categorical):
            return Policy(network, self.prior, ())
        return self._listed(self._restricted(network, self.settings.prior.size), self.settings.prior, counted)

    def _restricted(self, network: PolicyNetwork, count: int) -> PolicyNetwork:
        """Return the same policy under `count` codes alone, given one-hot: the code's layer takes them in."""
        inputs = self.inputs.numpy()
        middles = KMeans(count, n_init=10, random_state=self.settings.seed).fit(inputs).cluster_centers_
        chosen = self.inputs[[int(np.square(inputs - middle).sum(axis=1).argmin()) for middle in middles]]
        restricted = PolicyNetwork(
            len(network.observations.mean), len(network.actions.mean), count, self.settings.hidden
        )
        tensors = dict(network.state_dict())
        tensors["code.weight"] = network.code.weight.detach() @ chosen.T
        restricted.load_state_dict(tensors)
        return restricted
