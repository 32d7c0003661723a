"""InfoGAIL (Li et al. 2017): the adversarial loop, with a posterior network that recovers the code.

The reward has an additional λ_I log q(code | s, a), which is high if the state and the action reveal the code. q learns
from rollouts by maximum likelihood. The reward uses a slowly following copy of q, as published.
"""

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from manyways.algorithms.adversarial.method import Method
from manyways.algorithms.adversarial.pairs import Pairs, Scorer, batches
from manyways.algorithms.adversarial.settings import InfoGAIL
from manyways.demonstrations import Demonstrations
from manyways.latents import Categorical
from manyways.networks.checkpoints import add_prefix, load_moments, moments, take_prefix

_LEAST_LOG_STD = -3.0  # of the Gaussian posterior, so that its likelihood stays finite


class InfoMethod(Method):
    """Pretraining under random codes; λ_I log q(code | s, a) in the reward."""

    settings: InfoGAIL

    def __init__(self, settings: InfoGAIL, demonstrations: Demonstrations) -> None:
        # Appendix B: demonstrations have no codes here, so pretraining draws them at random.
        super().__init__(settings, demonstrations, give_codes=self._random_codes)
        self._discrete = isinstance(settings.prior, Categorical)
        size = settings.prior.dimension
        self.posterior = Scorer(
            demonstrations.observation_space,
            self.cloning.network.actions.outputs,
            size if self._discrete else 2 * size,
            settings.hidden,
            settings.encoder,
            settings.seed + 2,
        ).to(self.device)
        self.slow_posterior = copy.deepcopy(self.posterior).requires_grad_(False)
        self._optimizer = torch.optim.Adam(self.posterior.parameters(), settings.posterior_learning_rate, fused=True)

    def _random_codes(self, trajectories: Tensor, number: int) -> Tensor:
        rng = np.random.default_rng((self.settings.seed, number, 0))
        return torch.from_numpy(self.draw_codes(trajectories.cpu().numpy(), rng)).to(self.device)

    def log_likelihood(self, posterior: Scorer, pairs: Pairs) -> Tensor:
        """Return log q(code | s, a) of pairs, (n,)."""
        scores, codes = posterior(pairs), pairs.codes
        if self._discrete:
            return -functional.cross_entropy(scores, codes.argmax(dim=1), reduction="none")
        mean, log_std = scores.chunk(2, dim=1)
        log_std = log_std.clamp(_LEAST_LOG_STD, 2.0)
        squares = ((codes - mean) * torch.exp(-log_std)).square()
        return (-0.5 * squares - log_std - 0.5 * np.log(2 * np.pi)).sum(dim=1)

    def learn(self, pairs: Pairs, rng: np.random.Generator) -> dict[str, float]:
        """Take as many gradient steps on the posterior as on the discriminator."""
        settings = self.settings
        likelihoods = []
        for rows in batches(settings, len(pairs), rng):
            loss = -self.log_likelihood(self.posterior, pairs.rows(rows)).mean()
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            with torch.no_grad():
                for slow, fast in zip(self.slow_posterior.parameters(), self.posterior.parameters(), strict=True):
                    slow.lerp_(fast, 1 - settings.averaging)
            likelihoods.append(-loss.item())
        return {"posterior_log_likelihood": float(np.mean(likelihoods))}

    @torch.no_grad()
    def bonus(self, pairs: Pairs) -> Tensor:
        """Return λ_I log q(code | s, a), (n,)."""
        return self.settings.lambda_i * self.log_likelihood(self.slow_posterior, pairs)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the posterior, its slow copy and the optimizer's state."""
        return (
            add_prefix("posterior", self.posterior.state_dict())
            | add_prefix("slow", self.slow_posterior.state_dict())
            | add_prefix("optimizer", moments(self._optimizer))
        )

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken."""
        self.posterior.load_state_dict(take_prefix("posterior", tensors))
        self.slow_posterior.load_state_dict(take_prefix("slow", tensors))
        load_moments(self._optimizer, take_prefix("optimizer", tensors))
