"""VAE-GAIL (Wang et al. 2017): an encoder gives each demonstration a code, an input of the discriminator.

1. A variational autoencoder of trajectories: a bidirectional LSTM → code → each step's action and next state.
2. Behaviour cloning under these codes.
3. The adversarial loop: rollouts under codes of demonstrations, and the discriminator D(s, a, code).
"""

import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from manyways.algorithms.adversarial.method import Method, Pretraining
from manyways.algorithms.adversarial.settings import VAEGAIL
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.latents import Categorical, Gaussian
from manyways.networks.actions import ContinuousActions
from manyways.networks.checkpoints import add_prefix, load_moments, moments, take_prefix
from manyways.networks.devices import choose_device
from manyways.networks.encoders import Encoder, encode
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.policy import Policy
from manyways.policies.trajectory_encoder import TrajectoryEncoder

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


class TrajectoryVAE(nn.Module):
    """The trajectory encoder, and a decoder: (code, state) → action and change of the state.

    Args:
        observation_space: of one step.
        action_size, code_size: dimensions of each.
        hidden: width of the LSTM in each direction.
        decoder_hidden: width of the decoder's two layers.
        encoder: from an observation to features.
    """

    def __init__(
        self,
        observation_space: Space,
        action_size: int,
        code_size: int,
        hidden: int = 64,
        decoder_hidden: int = 300,
        encoder: Encoder = None,
    ) -> None:
        super().__init__()
        self.encoder = TrajectoryEncoder(observation_space, code_size, hidden, encoder)
        boxes = entry_spaces(observation_space)
        self.ndims = {name: len(box.shape) for name, box in boxes.items()}
        self._flat = [name for name, box in boxes.items() if len(box.shape) == 1]  # their changes are predicted
        outputs = action_size + sum(boxes[name].shape[0] for name in self._flat)
        self.decoder = nn.Sequential(
            nn.Linear(code_size + self.encoder.lstm.input_size, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, decoder_hidden),
            nn.Tanh(),
            nn.Linear(decoder_hidden, outputs),
        )

    def changes(self, inputs: Any, next_inputs: Any) -> list[Tensor]:
        """Return the changes of the vectors in normalised observations from one step to the next."""
        pairs = [(inputs[name], next_inputs[name]) if name else (inputs, next_inputs) for name in self._flat]
        return [after - before for before, after in pairs]


class VAETraining:
    """Training of the autoencoder.

    Attributes:
        iteration: the number of gradient steps so far.
        loss: of the last step: minus the evidence lower bound for each step, in nats up to a constant.
        encoder: from a trajectory to its code.
    """

    def __init__(self, settings: VAEGAIL, demonstrations: Demonstrations) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.iteration = 0
        self.loss = float("nan")
        self.device = choose_device(settings.device)
        actions = ContinuousActions(demonstrations.actions.shape[1])
        actions.fit(demonstrations.actions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = TrajectoryVAE(
                demonstrations.observation_space,
                actions.outputs,
                settings.vae_code_size,
                settings.vae_hidden,
                settings.decoder_hidden,
                settings.encoder,
            )
        network.encoder.observations.fit(demonstrations.observations)
        self._actions = actions.to(self.device)
        self._network = network.to(self.device)
        self.encoder = network.encoder
        self._optimizer = torch.optim.Adam(network.parameters(), settings.vae_learning_rate, fused=True)

    @property
    def finished(self) -> bool:
        """Whether the last gradient step has been taken."""
        return self.iteration >= self.settings.vae_iterations

    def step(self) -> None:
        """Take one gradient step."""
        settings, demonstrations, encoder, network = self.settings, self.demonstrations, self.encoder, self._network
        rng = np.random.default_rng((settings.seed, self.iteration, 1))
        trajectories = rng.integers(len(demonstrations), size=settings.vae_batch)
        rows, lengths, real = encoder.rows(demonstrations, trajectories)
        real = real.to(self.device)
        inputs, next_inputs = (
            encoder.normalized(rows_of(demonstrations.observations, rows + after), self.device) for after in (0, 1)
        )
        actions = self._actions.targets(torch.from_numpy(demonstrations.actions[rows]).to(self.device))
        targets = torch.cat([actions, *network.changes(inputs, next_inputs)], dim=2)
        mean, log_variance = encoder(inputs, lengths)
        noise = torch.from_numpy(rng.standard_normal(tuple(mean.shape), dtype=np.float32)).to(self.device)
        codes = mean + (0.5 * log_variance).exp() * noise
        features = encode(encoder.encoder, inputs, network.ndims)
        every = codes[:, None].expand(*features.shape[:2], codes.shape[1])
        outputs = network.decoder(torch.cat([every, features], dim=2))
        errors = 0.5 * (outputs - targets).square().sum(dim=2)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1)
        loss = (errors[real].sum() + divergence.sum()) / real.sum()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self.loss = loss.item()
        self.iteration += 1
        if self.finished:
            encoder.standardize(demonstrations)

    def state_dict(self) -> dict[str, Tensor]:
        """Return everything that `load_state_dict` needs."""
        tensors = add_prefix("network", self._network.state_dict()) | add_prefix("optimizer", moments(self._optimizer))
        return tensors | {"iteration": torch.tensor(self.iteration)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""
        self._network.load_state_dict(take_prefix("network", tensors))
        load_moments(self._optimizer, take_prefix("optimizer", tensors))
        self.iteration = int(tensors["iteration"])


class VAEMethod(Method):
    """Rollouts under codes of demonstrations, which are inputs of the discriminator."""

    settings: VAEGAIL
    judges_codes = True

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
        """The gradient steps of both."""
        return self.settings.vae_iterations + self.settings.pretraining

    @cached_property
    def inputs(self) -> Tensor:
        """The demonstrations' codes as inputs of the code's layer, (trajectories, code size), after its training."""
        assert self.autoencoder.finished
        return self.cloning.network.code_inputs(self.autoencoder.encoder.codes(self.demonstrations).to(self.device))

    def draw_codes(self, starting: Integers, rng: np.random.Generator) -> Floats:
        """Return the codes of demonstrations drawn at random, (n, code size)."""
        return self.inputs[rng.integers(len(self.inputs), size=len(starting))].cpu().numpy()

    def expert_codes(self, rows: Integers) -> Tensor:
        """Return the codes of demonstrated steps (n,): those of their trajectories."""
        return self.inputs[self.demonstrations.trajectory_of(rows)]

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy; with discrete codes, each stands for the code of one demonstration."""
        if not isinstance(self.settings.prior, Categorical):
            encoder = copy.deepcopy(self.autoencoder.encoder).cpu()
            return Policy(network, self.prior, trajectory_encoder=encoder)
        return self._listed(self._restricted(network, self.settings.prior.size), self.settings.prior, counted)

    def _restricted(self, network: PolicyNetwork, count: int) -> PolicyNetwork:
        """Return the same policy with `count` one-hot codes, each in place of a continuous code."""
        inputs = self.inputs.cpu()
        middles = KMeans(count, n_init=10, random_state=self.settings.seed).fit(inputs.numpy()).cluster_centers_
        representatives = inputs[[int(np.square(inputs.numpy() - middle).sum(axis=1).argmin()) for middle in middles]]
        network = network.cpu()
        restricted = PolicyNetwork(
            network.observation_space,
            network.action_space,
            count,
            self.settings.hidden,
            encoder=network.encoder,
        )
        restricted.encoder_name = network.encoder_name
        tensors = dict(network.state_dict())
        tensors["code.weight"] = network.code.weight.detach() @ representatives.T
        restricted.load_state_dict(tensors)
        return restricted
