"""VAE-GAIL (Wang et al. 2017): an encoder gives each demonstration a code, and the discriminator sees it.

a variational autoencoder of trajectories: a bidirectional LSTM → code → each step's action and next state
behaviour cloning under these codes
the adversarial loop: rollouts under codes of demonstrations, D(s, a, code) beside pairs with their own code
"""

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from manyways.algorithms.adversarial.loop import Adversarial, Method, Pretraining
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.networks.policy_network import Normalizer, PolicyNetwork
from manyways.policies.policy import Policy
from manyways.policies.trajectory_encoder import TrajectoryEncoder

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


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

    vae_code_size: int = 4
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
    """The encoder, and a decoder: (code, state) → action and change of the state.

    Args:
        observation_size, action_size, code_size: numbers in each.
        hidden: width of the LSTM in each direction.
        decoder_hidden: width of the decoder's two layers.
    """

    def __init__(
        self, observation_size: int, action_size: int, code_size: int, hidden: int = 64, decoder_hidden: int = 300
    ) -> None:
        super().__init__()
        self.encoder = TrajectoryEncoder(observation_size, code_size, hidden)
        self.decoder = nn.Sequential(
            nn.Linear(code_size + observation_size, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, action_size + observation_size),
        )


class VAETraining:
    """The autoencoder between its first and its last iteration.

    Attributes:
        iteration: how many gradient steps have been taken.
        loss: of the last step: minus the evidence's lower bound for each step, in nats but for constants.
        encoder: gives a trajectory its code.
    """

    def __init__(self, settings: VAEGAIL, demonstrations: Demonstrations) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.iteration = 0
        self.loss = float("nan")
        self._actions = Normalizer(demonstrations.action_size)
        self._actions.fit(demonstrations.actions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self._network = TrajectoryVAE(
                demonstrations.observation_size,
                demonstrations.action_size,
                settings.vae_code_size,
                settings.vae_hidden,
                settings.decoder_hidden,
            )
        self.encoder = self._network.encoder
        self.encoder.observations.fit(demonstrations.observations)
        self._optimizer = torch.optim.Adam(self._network.parameters(), settings.vae_learning_rate, fused=True)

    @property
    def finished(self) -> bool:
        """Whether the last gradient step has been taken."""
        return self.iteration >= self.settings.vae_iterations

    def step(self) -> None:
        """Take one gradient step."""
        settings, demonstrations, encoder = self.settings, self.demonstrations, self.encoder
        rng = np.random.default_rng((settings.seed, self.iteration, 1))
        chosen = rng.integers(len(demonstrations), size=settings.vae_batch)
        rows, lengths, real = encoder.rows(demonstrations, chosen)
        observations, following = (encoder.normalized(demonstrations.observations[rows + after]) for after in (0, 1))
        actions = self._actions.normalize(torch.from_numpy(demonstrations.actions[rows]))
        wanted = torch.cat([actions, following - observations], dim=2)
        mean, log_variance = encoder(observations, lengths)
        noise = torch.from_numpy(rng.standard_normal(mean.shape, dtype=np.float32))
        codes = mean + (0.5 * log_variance).exp() * noise
        every = codes[:, None].expand(*observations.shape[:2], codes.shape[1])
        told = self._network.decoder(torch.cat([every, observations], dim=2))
        errors = 0.5 * (told - wanted).square().sum(dim=2)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
        loss = (errors[real].sum() + divergence.sum()) / real.sum()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.loss = loss.item()
        self.iteration += 1
        if self.finished:
            encoder.standardize(demonstrations)

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs."""
        tensors = named("network", self._network.state_dict()) | named("optimizer", moments(self._optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""
        self._network.load_state_dict(part("network", tensors))
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
        return self.cloning.network.code_inputs(self.autoencoder.encoder.codes(self.demonstrations))

    def draw_codes(self, starting: Integers, rng: np.random.Generator) -> Floats:
        """Return the codes of demonstrations drawn at random, (n, code size)."""
        return self.inputs[rng.integers(len(self.inputs), size=len(starting))].numpy()

    def expert_codes(self, rows: Integers) -> Tensor:
        """Return the codes of demonstrated steps (n,), those of their trajectories."""
        return self.inputs[self.demonstrations.trajectory_of(rows)]

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy; where a list of codes is wanted, with demonstrations' codes that stand for all."""
        if not isinstance(self.settings.prior, Categorical):
            return Policy(network, self.prior, (), encoder=copy.deepcopy(self.autoencoder.encoder))
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
