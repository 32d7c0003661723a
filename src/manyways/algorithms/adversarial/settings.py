"""Settings of the algorithms that run environments; no PyTorch is needed."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from manyways.algorithms.settings import Algorithm, require_prior
from manyways.errors import InputError, require_above_zero, require_at_least, require_share
from manyways.latents import Categorical, Prior
from manyways.rl.settings import PPO
from manyways.search.settings import Search

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from manyways.algorithms.training import Training
    from manyways.demonstrations import Demonstrations


@dataclass(frozen=True, kw_only=True)
class Adversarial(Algorithm):
    """Settings of the algorithms that run environments.

    Args:
        total_steps: environment steps.
        environments: how many are stepped at once.
        steps_per_update: steps of each between two updates.
        pretraining: gradient steps of behaviour cloning before the environments are run.
        epochs: passes of PPO over an update's steps.
        minibatch: most steps in one of PPO's gradient steps.
        learning_rate: of PPO's Adam at the start; falls to 0 linearly.
        target_kl: how far an update may move the policy, by the mean KL divergence.
        entropy_weight: λ_H, of the entropy of the action noise in PPO's loss.
        warm_up_updates: first updates, in which only the value network and the discriminator learn.
        discriminator_learning_rate: of Adam.
        discriminator_batch: pairs of each side in a gradient step.
        discriminator_steps: gradient steps an update.
        gradient_penalty: weight of the discriminator's gradient penalty.
        random_actions: share of the actions in rollouts that are random, so that the policy also learns from states
            after a mistake.
        switch_codes: the probability that a step of a rollout begins with a new code, so that the policy also learns to
            change from one mode to another.
        updates_per_restart: updates between resets of the environments from (seed, update); training restored at a
            reset continues bit for bit.
    """

    runs_environments: ClassVar[bool] = True

    prior: Prior = None  # type: ignore[assignment]  # `start` needs one
    total_steps: int = 2_000_000
    environments: int = 32
    steps_per_update: int = 128
    pretraining: int = 3000
    epochs: int = 5
    minibatch: int = 512
    learning_rate: float = 3e-4
    target_kl: float | None = 0.02
    entropy_weight: float = 0.0
    warm_up_updates: int = 10
    discriminator_learning_rate: float = 3e-4
    discriminator_batch: int = 256
    discriminator_steps: int = 16
    gradient_penalty: float = 10.0
    random_actions: float = 0.0
    switch_codes: float = 0.0
    hidden: int = 128
    updates_per_restart: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "environments", "pretraining", "discriminator_batch", "discriminator_steps")
        require_at_least(self, 0, "warm_up_updates", "gradient_penalty")
        require_share(self, "random_actions", below_one=True)
        require_above_zero(self, "discriminator_learning_rate")
        _ = self.ppo  # checks the others

    @property
    def ppo(self) -> PPO:
        """PPO's settings."""
        names = ("total_steps", "steps_per_update", "epochs", "minibatch", "learning_rate", "target_kl")
        more = ("entropy_weight", "switch_codes", "hidden", "updates_per_restart", "seed", "device")
        return PPO(normalize_observations=False, **{name: getattr(self, name) for name in names + more})

    @property
    def updates(self) -> int:
        """The number of updates."""
        return math.ceil(self.total_steps / (self.environments * self.steps_per_update))

    @abstractmethod
    def method(self, demonstrations: "Demonstrations") -> Any:
        """Return the algorithm's `Method`."""

    def start(
        self, demonstrations: "Demonstrations", environment: "VectorEnv[Any, Any, Any] | None" = None
    ) -> "Training":
        """Return training at its first iteration."""
        from manyways.demonstrations.spaces import require_continuous

        if environment is None:
            raise InputError(f"{self.name} runs environments; give it a vector environment, or a task by --task NAME")
        require_prior(self)
        require_continuous(demonstrations.action_space, self.name)
        if demonstrations.rotations:
            raise InputError(f"{self.name} cannot learn angles and quaternions; leave them out, or take sog-bc")
        from manyways.algorithms.adversarial.loop import AdversarialTraining

        return AdversarialTraining(self, self.method, demonstrations, environment)


@dataclass(frozen=True, kw_only=True)
class GAIL(Adversarial):
    """Settings of GAIL.

    Args:
        prior: a single code, without effect.
    """

    name: ClassVar[str] = "gail"
    summary: ClassVar[str] = "The discriminator's reward alone, without codes (Ho & Ermon 2016)."

    prior: Prior = field(default_factory=lambda: Categorical(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prior != Categorical(1):
            raise InputError(f"GAIL has no codes to choose from, but {self.prior} were given; leave them out")

    def method(self, demonstrations: "Demonstrations") -> Any:
        """Return the algorithm's `Method`."""
        from manyways.algorithms.adversarial.method import Method

        return Method(self, demonstrations)


@dataclass(frozen=True, kw_only=True)
class SOGGAIL(Adversarial):
    """Settings of SOG-GAIL (Algorithm 3).

    Args:
        prior: the codes to choose from.
        search: how continuous codes are searched; discrete codes are all tried.
        lambda_s: λ_S, the weight of L_SOG, the demonstrations' squared error, beside PPO's loss.
        sog_minibatch: demonstrated steps that are added to each of PPO's minibatches.
    """

    name: ClassVar[str] = "sog-gail"
    summary: ClassVar[str] = "PPO on the discriminator's reward, plus λ_S times SOG-BC's loss (Algorithm 3)."
    has_codes: ClassVar[bool] = True

    search: Search = field(default_factory=Search)
    lambda_s: float = 1.0
    sog_minibatch: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "lambda_s")
        require_at_least(self, 1, "sog_minibatch")

    def method(self, demonstrations: "Demonstrations") -> Any:
        """Return the algorithm's `Method`."""
        from manyways.algorithms.adversarial.sog_gail import SOGMethod

        return SOGMethod(self, demonstrations)


@dataclass(frozen=True, kw_only=True)
class InfoGAIL(Adversarial):
    """Settings of InfoGAIL.

    Args:
        prior: the codes of rollouts.
        lambda_i: λ_I, the weight of the posterior's log-likelihood in the reward.
        posterior_learning_rate: of Adam.
        averaging: weight of the old values in the running average of the posterior, which gives the reward.
    """

    name: ClassVar[str] = "infogail"
    summary: ClassVar[str] = "GAIL with a reward for states and actions that reveal the code (Li et al. 2017)."
    has_codes: ClassVar[bool] = True

    lambda_i: float = 2.0
    posterior_learning_rate: float = 1e-3
    averaging: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "lambda_i")
        require_above_zero(self, "posterior_learning_rate")
        require_share(self, "averaging", below_one=True)

    def method(self, demonstrations: "Demonstrations") -> Any:
        """Return the algorithm's `Method`."""
        from manyways.algorithms.adversarial.infogail import InfoMethod

        return InfoMethod(self, demonstrations)


@dataclass(frozen=True, kw_only=True)
class VAEGAIL(Adversarial):
    """Settings of VAE-GAIL.

    Args:
        prior: of the resulting policy. Each discrete code stands for the code of one demonstration, in the middle of a
            group. A continuous prior keeps the autoencoder's codes, of `vae_code_size` dimensions.
        vae_code_size: dimensions of the autoencoder's code.
        vae_iterations: gradient steps of the autoencoder.
        vae_batch: trajectories in one of them.
        vae_learning_rate: of Adam.
        vae_hidden: width of the LSTM in each direction.
        decoder_hidden: width of the decoder.
    """

    name: ClassVar[str] = "vae-gail"
    summary: ClassVar[str] = "GAIL under codes that an autoencoder gives the demonstrations (Wang et al. 2017)."
    has_codes: ClassVar[bool] = True

    vae_code_size: int = 4
    vae_iterations: int = 1000
    vae_batch: int = 32
    vae_learning_rate: float = 1e-3
    vae_hidden: int = 64
    decoder_hidden: int = 300

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "vae_code_size", "vae_iterations", "vae_batch", "vae_hidden", "decoder_hidden")
        require_above_zero(self, "vae_learning_rate")

    def method(self, demonstrations: "Demonstrations") -> Any:
        """Return the algorithm's `Method`."""
        from manyways.algorithms.adversarial.vae_gail import VAEMethod

        return VAEMethod(self, demonstrations)
