"""The encoder of VAE-GAIL (Wang et al. 2017): a bidirectional LSTM over a trajectory's states gives its code."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from manyways.demonstrations import Demonstrations
from manyways.networks.policy_network import FARTHEST, Normalizer

LONGEST = 50  # steps of a trajectory that are read; of longer ones every second, third, ...
_AT_ONCE = 100  # trajectories


class TrajectoryEncoder(nn.Module):
    """States → bidirectional LSTM → mean over time → mean and log-variance of the code.

    Args:
        observation_size, code_size: numbers in each.
        hidden: width of the LSTM in each direction.
    """

    code_mean: Tensor
    code_std: Tensor

    def __init__(self, observation_size: int, code_size: int, hidden: int = 64) -> None:
        super().__init__()
        self.observations = Normalizer(observation_size)
        self.lstm = nn.LSTM(observation_size, hidden, batch_first=True, bidirectional=True)
        self.to_code = nn.Linear(2 * hidden, 2 * code_size)
        # Of the codes of the training demonstrations, by which all are standardised.
        self.register_buffer("code_mean", torch.zeros(code_size))
        self.register_buffer("code_std", torch.ones(code_size))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "TrajectoryEncoder":
        """Return the encoder with this `state_dict`.

        Raises:
            KeyError, RuntimeError: the tensors are not those of an encoder.
        """
        sizes = (
            tensors["lstm.weight_ih_l0"].shape[1],
            len(tensors["code_mean"]),
            tensors["lstm.weight_hh_l0"].shape[1],
        )
        encoder = cls(*sizes)
        encoder.load_state_dict(tensors)
        return encoder

    def forward(self, observations: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the codes, (n, code size) each.

        Args:
            observations: (n, longest, observation size), normalised; what is behind a trajectory's end is not read.
            lengths: (n,), on the CPU.
        """
        packed = pack_padded_sequence(observations, lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # zero behind the ends
        mean, log_variance = self.to_code(outputs.sum(dim=1) / lengths[:, None]).chunk(2, dim=1)
        return mean, log_variance

    def normalized(self, observations: NDArray[np.float32]) -> Tensor:
        """Return observations as the LSTM sees them."""
        return self.observations.normalize(torch.from_numpy(observations)).clamp(-FARTHEST, FARTHEST)

    @staticmethod
    def rows(
        demonstrations: Demonstrations, trajectories: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Return which steps of trajectories (n,) are read, (n, longest), how many of each, and which of them are real.

        Of a trajectory of more than 50 steps are read as many, evenly; the last step, after which nothing is known, is
        not.
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
        parts = []
        for start in range(0, len(demonstrations), _AT_ONCE):
            chosen = np.arange(start, min(start + _AT_ONCE, len(demonstrations)))
            rows, lengths, _ = self.rows(demonstrations, chosen)
            parts.append(self(self.normalized(demonstrations.observations[rows]), lengths)[0])
        return torch.cat(parts)

    def standardize(self, demonstrations: Demonstrations) -> None:
        """Measure the codes of these demonstrations, so that those of `codes` have mean 0 and variance 1 on them."""
        means = self.means(demonstrations)
        self.code_mean.copy_(means.mean(dim=0))
        self.code_std.copy_(means.std(dim=0, correction=0).clamp_min(1e-6))

    def codes(self, demonstrations: Demonstrations) -> Tensor:
        """Return the standardised code of every trajectory, (trajectories, code size)."""
        return (self.means(demonstrations) - self.code_mean) / self.code_std
