"""Settings of PPO; no PyTorch is needed."""

from dataclasses import asdict, dataclass
from typing import Any

from manyways.errors import require_above_zero, require_at_least, require_share


@dataclass(frozen=True, kw_only=True)
class PPO:
    """Settings of PPO.

    Args:
        total_steps: environment steps of a whole training.
        steps_per_update: steps of each environment between two updates.
        epochs: passes over an update's steps.
        minibatch: most steps in a gradient step; an update's steps are divided evenly.
        learning_rate: of Adam at the start; falls to 0 linearly.
        gamma: discount.
        gae_lambda: of generalised advantage estimation.
        clip: greatest distance of the probability ratio from 1.
        clip_values: whether values are clipped around the old ones by the same amount, as in OpenAI's code.
        target_kl: the greatest mean approximate KL divergence from the rollout's policy; a pass beyond it is the last
            one. None for all passes.
        value_weight, entropy_weight: of their losses.
        max_gradient_norm: longer gradients are scaled down to it.
        normalize: whether observations and rewards are normalised by running moments.
        normalize_observations: False keeps the network's moments of observations, such as those of demonstrations;
            rewards are still normalised.
        frozen_after: updates after which the moments no longer change; None for never.
        hidden: width of the networks.
        log_std: of the action noise at the start, in units of half the action range.
        switch_codes: the probability that a step begins with a new code, inside an episode too.
        updates_per_restart: updates between resets of the environments from (seed, update); training restored at a
            reset continues bit for bit.
        seed: of everything random.
        device: of the networks; auto takes a GPU if there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    total_steps: int = 10_000_000
    steps_per_update: int = 64
    epochs: int = 10
    minibatch: int = 512
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    clip_values: bool = True
    target_kl: float | None = None
    value_weight: float = 0.5
    entropy_weight: float = 0.0
    max_gradient_norm: float = 0.5
    normalize: bool = True
    normalize_observations: bool = True
    frozen_after: int | None = None
    hidden: int = 128
    log_std: float = 0.0
    switch_codes: float = 0.0
    updates_per_restart: int = 50
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        # A single step may be a reset, and a single row has no normalised advantage.
        require_at_least(self, 2, "steps_per_update", "minibatch")
        require_at_least(self, 1, "total_steps", "epochs", "hidden", "updates_per_restart")
        require_above_zero(self, "learning_rate", "clip", "max_gradient_norm", "target_kl")
        require_at_least(self, 0, "value_weight", "entropy_weight", "frozen_after", "seed")
        require_share(self, "gamma", "gae_lambda", "switch_codes")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self)
