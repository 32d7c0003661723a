"""Diffusion policy (Chi et al. 2023) on states: actions are noise from which a network has taken the noise away.

    last observations ─┐
    noisy actions ─────┼─→ Linear → SiLU → Linear → SiLU → Linear → SiLU → Linear → the actions without noise
    how noisy ─────────┘

A few actions are drawn together and done before the next are drawn, so a way once drawn is kept for these; after that
only the last observations tell it. The paper's networks are a temporal U-Net and a transformer for images and long
chunks; for states and chunks of eight actions a network of a few layers does. It predicts the actions rather than their
noise, which the paper's code offers too: on Circles the return was 969 after 1,200 iterations, and 447 after 1,500 of
predicting the noise.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from manyways.algorithms.codeless import Codeless
from manyways.errors import InputError
from manyways.policies.codeless import CodelessNetwork

_NOISE_LEVELS = 100  # in training, as in the paper
_TIME_FEATURES = 32
_LARGEST_BETA = 0.999


@dataclass(frozen=True, kw_only=True)
class Diffusion(Codeless):
    """Settings of diffusion policy; `fit` runs it.

    Args:
        window: how many observations are seen, the last included.
        chunk: how many actions are drawn together.
        executed: how many of them are done before the next are drawn.
        denoising_steps: from noise to actions, by DDIM.
        others: as in `Codeless`.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str] = "diffusion"

    steps_per_batch: int = 2048
    learning_rate: float = 1e-2
    window: int = 2
    chunk: int = 8
    executed: int = 4
    denoising_steps: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("window", "chunk", "executed", "denoising_steps")
        if self.executed > self.chunk:
            raise InputError(f"executed is {self.executed}; give at most the {self.chunk} actions of a chunk")
        if self.denoising_steps > _NOISE_LEVELS:
            raise InputError(f"denoising_steps is {self.denoising_steps}; give at most {_NOISE_LEVELS}")

    def network(self, observation_size: int, action_size: int) -> "DiffusionNetwork":
        """Return the network before training."""
        return DiffusionNetwork(
            observation_size,
            action_size,
            self.window,
            self.chunk,
            self.executed,
            self.denoising_steps,
            self.hidden,
        )


class DiffusionNetwork(CodelessNetwork):
    """Finds a chunk of normalised actions in noise, given a window of observations.

    Args:
        observation_size, action_size: numbers in each.
        window, chunk, executed: as in `CodelessNetwork`.
        denoising_steps: from noise to actions.
        hidden: width of the layers.
    """

    kind = Diffusion.name

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        window: int,
        chunk: int,
        executed: int,
        denoising_steps: int,
        hidden: int,
    ) -> None:
        super().__init__(observation_size, action_size, window, chunk, executed)
        self.denoising_steps = denoising_steps
        self.layers = nn.Sequential(
            nn.Linear(window * observation_size + chunk * action_size + _TIME_FEATURES, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.output = nn.Linear(hidden, chunk * action_size)
        self.register_buffer("signal", cosine_schedule(_NOISE_LEVELS), persistent=False)

    signal: Tensor  # (levels,), the share of the variance that is signal, at each level of noise

    def settings(self) -> dict[str, int]:
        """Return what the network is built from."""
        return {
            "window": self.window,
            "chunk": self.chunk,
            "executed": self.executed,
            "denoising_steps": self.denoising_steps,
            "hidden": self.output.in_features,
        }

    def matrices(self) -> list[Tensor]:
        """Return the weights of all layers but the last."""
        return [layer.weight for layer in self.layers if isinstance(layer, nn.Linear)]

    def denoise(self, windows: Tensor, noisy: Tensor, levels: Tensor) -> Tensor:
        """Return the chunks (n, chunk, action size) that noisy ones of levels (n,) were made of."""
        inputs = torch.cat([windows.flatten(1), noisy.flatten(1), time_features(levels)], dim=1)
        chunks: Tensor = self.output(self.layers(inputs))
        return chunks.view_as(noisy)

    def losses(self, windows: Tensor, actions: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the mean squared error of the normalised actions that are found in noise of a random level."""
        chunks = actions[:, -self.chunk :]
        levels = torch.randint(_NOISE_LEVELS, (len(chunks),), generator=generator).to(chunks.device)
        noise = torch.randn(chunks.shape, generator=generator).to(chunks.device)
        signal = self.signal[levels, None, None]
        noisy = signal.sqrt() * chunks + (1 - signal).sqrt() * noise
        return {"actions": functional.mse_loss(self.denoise(windows, noisy, levels), chunks)}

    def draw(self, windows: Tensor, rng: np.random.Generator | None) -> Tensor:
        """Return what is left of noise without its noise (DDIM, Song et al. 2021); without `rng`, of zero."""
        low, high = (self.actions.normalize(limit) for limit in (self.action_low, self.action_high))
        shape = (len(windows), self.chunk, self.sizes[1])
        noisy = torch.zeros(shape) if rng is None else torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        levels = np.linspace(_NOISE_LEVELS - 1, 0, self.denoising_steps).round().astype(int)
        signals = [*self.signal[levels].tolist(), 1.0]
        for level, signal, next_signal in zip(levels, signals[:-1], signals[1:], strict=True):
            chunks = self.denoise(windows, noisy, torch.full((len(noisy),), int(level))).clamp(low, high)
            noise = (noisy - math.sqrt(signal) * chunks) / math.sqrt(1 - signal)
            noisy = math.sqrt(next_signal) * chunks + math.sqrt(1 - next_signal) * noise
        return noisy[:, : self.executed]


def cosine_schedule(levels: int) -> Tensor:
    """Return the share of signal in the variance at each level, (levels,) (Nichol & Dhariwal 2021, Equation 17)."""
    times = np.arange(levels + 1) / levels
    shares = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - shares[1:] / shares[:-1], _LARGEST_BETA)
    return torch.from_numpy(np.cumprod(1 - betas)).float()


def time_features(levels: Tensor) -> Tensor:
    """Return sines and cosines of each level, (n, features), in wavelengths from a few levels to more than all."""
    rates = torch.logspace(0, -2.5, _TIME_FEATURES // 2, device=levels.device)
    angles = levels[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
