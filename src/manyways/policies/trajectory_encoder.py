"""The encoder of VAE-GAIL (Wang et al. 2017): a bidirectional LSTM from a trajectory's states to its code."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyways.demonstrations import Demonstrations
from manyways.demonstrations.observations import apply, rows_of
from manyways.demonstrations.spaces import Space, entry_spaces
from manyways.networks.encoders import Encoder, encode, features_of, make_encoder
from manyways.networks.normalization import ObservationNormalizer, to_tensors

LONGEST = 50  # steps of a trajectory that are read; evenly spaced in longer trajectories
_AT_ONCE = 100  # trajectories


class TrajectoryEncoder(nn.Module):
    """States → bidirectional LSTM → mean over time → mean and log-variance of the code.

    Args:
        observation_space: of one step.
        code_size: dimensions of a code.
        hidden: width of the LSTM in each direction.
        encoder: from an observation to features.
    """

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, observation_space: Space, code_size: int, hidden: int = 64, encoder: Encoder = None) -> None:
        super().__init__()
        self.observations = ObservationNormalizer(observation_space)
        self.encoder = make_encoder(encoder, observation_space)
        self._ndims = {name: len(box.shape) for name, box in entry_spaces(observation_space).items()}
        self.lstm = nn.LSTM(features_of(self.encoder, observation_space), hidden, batch_first=True, bidirectional=True)
        self.to_code = nn.Linear(2 * hidden, 2 * code_size)
        # Moments of the training demonstrations' codes, which standardise all codes.
        self.register_buffer("code_mean", torch.zeros(code_size))
        self.register_buffer("code_std", torch.ones(code_size))

    @classmethod
    def from_tensors(
        cls, tensors: dict[str, Tensor], observation_space: Space, encoder: Encoder = None
    ) -> "TrajectoryEncoder":
        """Return the encoder with this `state_dict`.

        Raises:
            KeyError, RuntimeError: the tensors are of no encoder.
        """
        code_size, hidden = len(tensors["code_mean"]), tensors["lstm.weight_hh_l0"].shape[1]
        module = cls(observation_space, code_size, hidden, encoder)
        module.load_state_dict(tensors)
        return module

    def forward(self, observations: Any, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the codes, (n, code size) each.

        Args:
            observations: (n, longest, ...), normalised; values behind a trajectory's end are not used.
            lengths: (n,), on the CPU.
        """
        features = encode(self.encoder, observations, self._ndims)
        packed = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # zero behind the ends
        mean, log_variance = self.to_code(outputs.sum(dim=1) / lengths[:, None].to(outputs.device)).chunk(2, dim=1)
        return mean, log_variance

    def normalized(self, observations: Any, device: Any = None) -> Any:
        """Return normalised observations (steps, ...) on the device."""
        return self.observations(to_tensors(apply(np.ascontiguousarray, observations), device))

    @staticmethod
    def rows(
        demonstrations: Demonstrations, trajectories: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Return the rows to read of trajectories (n,), (n, longest); how many of each, (n,); and which are real.

        At most 50 steps of a trajectory are read, evenly spaced. The last step, which has no next state, is not.
        """
        steps = demonstrations.lengths[trajectories] - 1
        lengths = np.minimum(steps, LONGEST)
        places = np.arange(lengths.max())
        offsets = (places * (steps / lengths)[:, None]).astype(np.int64)
        real = places < lengths[:, None]
        rows = demonstrations.starts[trajectories, None] + np.where(real, offsets, 0)
        return rows, torch.from_numpy(lengths), torch.from_numpy(real)

    @torch.no_grad()
    def means(self, demonstrations: Demonstrations) -> Tensor:
        """Return the mean code of every trajectory, (trajectories, code size)."""
        parts, device = [], self.code_mean.device
        for start in range(0, len(demonstrations), _AT_ONCE):
            trajectories = np.arange(start, min(start + _AT_ONCE, len(demonstrations)))
            rows, lengths, _ = self.rows(demonstrations, trajectories)
            parts.append(self(self.normalized(rows_of(demonstrations.observations, rows), device), lengths)[0])
        return torch.cat(parts)

    def standardize(self, demonstrations: Demonstrations) -> None:
        """Measure the moments of these demonstrations' codes; `codes` then has mean 0 and variance 1 on them."""
        means = self.means(demonstrations)
        self.code_mean.copy_(means.mean(dim=0))
        self.code_std.copy_(means.std(dim=0, correction=0).clamp_min(1e-6))

    def codes(self, demonstrations: Demonstrations) -> Tensor:
        """Return the standardised code of every trajectory, (trajectories, code size)."""
        return (self.means(demonstrations) - self.code_mean) / self.code_std
