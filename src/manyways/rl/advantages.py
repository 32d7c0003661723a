"""Generalised advantage estimation, and running moments for normalisation."""

import torch
from torch import Tensor


def generalized_advantages(
    rewards: Tensor, values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, gae_lambda: float
) -> Tensor:
    """Return the advantage of every step (Schulman et al. 2016, Equation 16), (steps, environments).

    What stands between an episode's last step and the next one's first, even what is no number, reaches neither.

    Args:
        rewards: (steps, environments).
        values: (steps + 1, environments); the entry after an episode's last step is that of the observation it ended
            with. An episode that terminated is worth nothing from there on; one that was truncated is worth that value.
        terminated: (steps, environments).
        truncated: (steps, environments).
        gamma: discount.
        gae_lambda: 0 trusts the values, 1 the rewards.
    """
    deltas = rewards + gamma * values[1:].where(~terminated, 0.0) - values[:-1]
    goes_on = ~(terminated | truncated)
    advantages = torch.empty_like(deltas)
    following = torch.zeros_like(deltas[0])
    for step in range(len(rewards) - 1, -1, -1):
        following = deltas[step] + gamma * gae_lambda * following.where(goes_on[step], 0.0)
        advantages[step] = following
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
