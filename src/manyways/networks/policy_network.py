"""The network of Figure 8a, that of every policy with codes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import rows_of
from manyways.demonstrations.sampling import some_rows
from manyways.demonstrations.spaces import Space
from manyways.demonstrations.windows import window_and_chunk
from manyways.networks.actions import make_actions
from manyways.networks.base import ActionNetwork, choose, linear_weights
from manyways.networks.encoders import Encoder, fixed_features
from manyways.networks.gates import DetailGate
from manyways.networks.limits import LARGEST_INPUT as LARGEST_INPUT
from manyways.networks.linear import LinearAnswer
from manyways.networks.normalization import to_tensors
from manyways.networks.residual import initialize_residual, state_layers

_STEPS_FOR_LINEAR = 50_000  # at most, drawn at random


class PolicyNetwork(ActionNetwork):
    """Figure 8a: the state and the code each pass their own layers; their sum gives the mean action.

    observations → encoder → state layers ─┐
    code         → Linear ─────────────────┼─ + → tanh → Linear → mean actions, or logits of choices
    detail       → Linear ─────────────────┘

    Because of the sum, a search computes the state's part once for all codes. In the paper there are no encoder and no
    details, one observation is seen and one action is predicted.

    Args:
        observation_space, action_space: of one step.
        code_size: dimensions of a code; 0 for none.
        hidden: width of the layers.
        continuous: whether codes are standard normal rather than one-hot.
        encoder: from an observation to features.
        seed: of the encoder's weights, where it is made here.
        window, chunk, executed: as in `ActionNetwork`.
        blocks: residual layers of the state's part; 0 for the paper's layers.
        dropout: of the residual layers.
        details: codes of a chunk, below the trajectory's code; 1 for none.
        linear: whether the network predicts what a linear answer to the observations leaves.
    """

    kind = "coded"

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        code_size: int,
        hidden: int = 128,
        continuous: bool = False,
        encoder: Encoder = None,
        seed: int = 0,
        *,
        window: int = 1,
        chunk: int = 1,
        executed: int = 1,
        blocks: int = 0,
        dropout: float = 0.0,
        details: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__(
            observation_space, action_space, encoder, window=window, chunk=chunk, executed=executed, seed=seed
        )
        self.actions = make_actions(action_space, chunk)
        self.continuous, self.blocks, self.details = continuous, blocks, details
        inputs = window * self.feature_size
        self.state = state_layers(inputs, hidden, blocks, dropout)
        self.code = nn.Linear(code_size, hidden)
        self.output = nn.Linear(hidden, self.actions.outputs)
        self.linear = LinearAnswer(inputs, self.actions.outputs) if linear else None
        if details > 1:
            self.detail = nn.Linear(details, hidden, bias=False)
            self.gate = DetailGate(hidden, code_size, details)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's other arguments than spaces, encoder, seed and those of the prior."""
        return {
            "hidden": self.output.in_features,
            "window": self.window,
            "chunk": self.chunk,
            "executed": self.executed,
            "blocks": self.blocks,
            "details": self.details,
            "linear": int(self.linear is not None),
        }

    def matrices(self) -> list[Tensor]:
        """Return the weights of the encoder's and the state's linear layers."""
        return [*super().matrices(), *linear_weights(self.state)]

    def initialize(self, generator: torch.Generator, small: bool = False) -> None:
        """Draw the weights, as the base class; those of residual layers are always small, those of details differ."""
        super().initialize(generator, small)
        initialize_residual(self.state, generator)
        if self.details > 1:
            nn.init.normal_(self.detail.weight, generator=generator)

    def fit(self, demonstrations: Demonstrations, seed: int) -> None:
        """Measure the normalisation, and the linear answer."""
        super().fit(demonstrations, seed)
        if self.linear is None:
            return
        rng = np.random.default_rng(seed)
        rows = np.sort(some_rows(rng, demonstrations.steps, _STEPS_FOR_LINEAR))
        columns = torch.arange(self.window * self.feature_size).view(self.window, self.feature_size)
        columns = columns[:, fixed_features(self.encoder, self.feature_size)].flatten()
        at_once, parts = self.at_once(len(rows)), []
        with torch.no_grad():
            for start in range(0, len(rows), at_once):
                some = rows[start : start + at_once]
                observed, planned = window_and_chunk(demonstrations, some, self.window, self.chunk)
                targets = self.actions.targets(torch.from_numpy(demonstrations.actions[planned]))
                features = torch.empty(len(some), 0)
                if len(columns):
                    observations = to_tensors(rows_of(demonstrations.observations, observed))
                    features = self.window_features(self.observations(observations))[:, columns]
                parts.append((features, targets))
        features, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        self.linear.fit(features, targets, columns)

    def code_inputs(self, codes: Tensor) -> Tensor:
        """Return the inputs of the code's layer, (..., code size): discrete codes themselves, or by the CDF.

        The prior's CDF of each dimension, shifted and scaled to ±√3, is uniform with variance 1. So equal steps are
        equal shares of the prior, no code lies outside the trained range, and a range of modes has ends.
        """
        return LARGEST_INPUT * (2 * torch.special.ndtr(codes) - 1) if self.continuous else codes

    def codes_of(self, inputs: Tensor) -> Tensor:
        """Return the codes of these inputs, (..., code size): the inverse of `code_inputs`."""
        if not self.continuous:
            return inputs
        shares = (inputs.double() / LARGEST_INPUT + 1) / 2
        return torch.special.ndtri(shares.clamp(1e-6, 1 - 1e-6)).to(inputs.dtype)

    def window_features(self, inputs: Any) -> Tensor:
        """Return features (..., window * features) of normalised observations (..., [window,] *shape)."""
        features = self.features(inputs)
        return features if self.window == 1 else features.flatten(-2)

    def state_features(self, observations: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from raw observations (..., [window,] *shape)."""
        return self.state_part(self.observations(observations))

    def state_part(self, inputs: Any) -> Tensor:
        """Return the state's part of the sum, (..., hidden), from normalised observations."""
        features: Tensor = self.state(self.window_features(inputs))
        return features

    def features_and_targets(self, observations: Any, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state's part of the sum (..., hidden), and the loss's targets (..., outputs).

        Args:
            observations: raw, (..., [window,] *shape).
            actions: raw, (..., [chunk,] *shape).
        """
        inputs = self.window_features(self.observations(observations))
        targets = self.actions.targets(actions)
        return self.state(inputs), targets if self.linear is None else self.linear.less(targets, inputs)

    @property
    def uninformed_error(self) -> float:
        """The mean error of always predicting the mean action, or the demonstrated frequencies."""
        if self.linear is None:
            return self.actions.uninformed_error
        varying = (self.actions.std > 0).repeat(self.chunk)
        return float(self.linear.scale.pow(-2)[varying].sum()) / self.chunk

    def decode(self, sums: Tensor) -> Tensor:
        """Return outputs (..., outputs) for `self.actions`, from the sum of both parts (..., hidden)."""
        outputs: Tensor = self.output(torch.tanh(sums))
        return outputs

    def forward(self, observations: Any, codes: Tensor) -> Tensor:
        """Return outputs (..., outputs) for raw observations and codes (..., code size), without a detail."""
        return self.decode(self.state_features(observations) + self.code(self.code_inputs(codes)))

    def act(self, windows: Any, codes: Tensor | None, rng: np.random.Generator | None) -> Tensor:
        """Return actions (n, executed, ...)."""
        assert codes is not None
        if self.window == 1:
            windows = {name: w[:, 0] for name, w in windows.items()} if isinstance(windows, dict) else windows[:, 0]
        outputs = self._outputs(windows, self.code_inputs(codes), rng)
        actions = self.actions.actions(outputs, rng)
        return actions[:, None] if self.chunk == 1 else actions[:, : self.executed]

    def mean_actions(self, observations: Any, inputs: Tensor) -> Tensor:
        """Return actions (n, [chunk,] size) in real units, without limits and without noise.

        Args:
            observations: raw, (n, [window,] *shape).
            inputs: of the code's layer, (n, code size).
        """
        outputs = self._outputs(observations, inputs, None)
        return self.actions.restore(outputs if self.chunk == 1 else outputs.reshape(len(outputs), self.chunk, -1))

    def _outputs(self, observations: Any, codes: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return normalised actions, or logits, (n, outputs), under the likeliest detail, or under a drawn one."""
        inputs = self.window_features(self.observations(observations))
        features: Tensor = self.state(inputs)
        sums = features + self.code(codes)
        if self.details > 1:
            logits = self.gate(features, codes)
            sums = sums + self.detail.weight.T[logits.argmax(dim=1) if rng is None else choose(logits, rng)]
        outputs = self.decode(sums)
        return outputs if self.linear is None else self.linear.plus(outputs, inputs)
