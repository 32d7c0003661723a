"""Generalised advantage estimation, and running moments for normalisation."""

import torch
from torch import Tensor


def generalized_advantages(
    rewards: Tensor, values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return the advantage of every step (Schulman et al. 2016, Equation 16), (steps, environments).

    Values between an episode's last step and the next one's first, even NaN, have no effect on either.

    Args:
        rewards: (steps, environments).
        values: (steps + 1, environments); the entry after an episode's last step is that of its final observation. It
            counts if the episode was truncated; if it terminated, 0 does.
        terminated: (steps, environments).
        truncated: (steps, environments).
        gamma: discount.
        gae_lambda: from 0, the values alone, to 1, the rewards alone.
    """
    deltas = rewards + gamma * values[1:].where(~terminated, 0.0) - values[:-1]
    continues = ~(terminated | truncated)
    advantages = torch.empty_like(deltas)
    advantage = torch.zeros_like(deltas[0])
    for step in range(len(rewards) - 1, -1, -1):
        advantage = deltas[step] + gamma * gae_lambda * advantage.where(continues[step], 0.0)
        advantages[step] = advantage
    return advantages


class RunningMoments:
    """Mean and variance of all rows so far, (*shape), in double precision."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.square = torch.zeros(shape, dtype=torch.float64)  # the sum of squared deviations

    def update(self, rows: Tensor) -> None:
        """Add rows (n, *shape)."""
        rows = rows.double()
        count = self.count + len(rows)
        delta = rows.mean(dim=0) - self.mean
        within = rows.var(dim=0, correction=0) * len(rows)
        self.square = self.square + within + delta**2 * self.count * len(rows) / count
        self.mean = self.mean + delta * len(rows) / count
        self.count = count

    @property
    def std(self) -> Tensor:
        """Standard deviation, (*shape); 1 before the first row."""
        return (self.square / self.count).sqrt() if self.count > 0 else torch.ones_like(self.mean)
