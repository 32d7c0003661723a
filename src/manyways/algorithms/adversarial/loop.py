"""Owns the adversarial loop that GAIL, SOG-GAIL, InfoGAIL and VAE-GAIL share (Algorithm 3).

    behaviour cloning first                                                      (Appendix B)
    repeat: run the environments under the policy, each episode under a code     (line 3)
            train the discriminator to separate these pairs from the expert's    (lines 4, 5)
            take PPO's steps, with the discriminator's logit as the reward       (lines 6 to 8)

The four differ in a `Method`: the source of a rollout's code, additional terms of the reward and of PPO's loss, and
other networks.
"""

import copy
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.adversarial.diagnostics import Failures, code_information
from manyways.algorithms.adversarial.discriminator import Discriminator
from manyways.algorithms.adversarial.method import Method, Pretraining
from manyways.algorithms.adversarial.pairs import Pairs, Scorer, batches
from manyways.algorithms.adversarial.settings import Adversarial
from manyways.algorithms.training import Training, ignored_columns
from manyways.demonstrations import Demonstrations, spaces
from manyways.demonstrations.observations import rows_of
from manyways.errors import InputError
from manyways.networks.checkpoints import add_prefix, fitting_checkpoint, load_moments, moments, take_prefix
from manyways.networks.devices import seeded_layers
from manyways.networks.normalization import take, to_tensors
from manyways.policies.policy import Policy
from manyways.rl.ppo import PPOTraining
from manyways.rl.random_actions import RandomActions
from manyways.rl.rollouts import Rollout

_LEAST_STD = 0.1  # of the policy's first action noise, in standard deviations of the demonstrated actions


class AdversarialTraining(Training):
    """Training of an adversarial algorithm: its iterations are pretraining steps, then PPO's updates.

    Args:
        settings: of the algorithm.
        make_method: makes the algorithm's `Method` from the demonstrations.
        demonstrations: of the expert.
        environment: with `settings.environments` environments.

    Attributes:
        ppo: PPO with the policy.
    """

    def __init__(
        self,
        settings: Adversarial,
        make_method: Callable[[Demonstrations], Method],
        demonstrations: Demonstrations,
        environment: VectorEnv[Any, Any, Any],
    ) -> None:
        if environment.num_envs != settings.environments:
            raise InputError(f"there are {environment.num_envs} environments; make {settings.environments}")
        for what, own, other in (
            ("an observation", demonstrations.observation_space, environment.single_observation_space),
            ("an action", demonstrations.action_space, environment.single_action_space),
        ):
            if not spaces.fits(own, other):
                raise InputError(
                    f"in the demonstrations {what} is {spaces.describe(own)}, but in the environment "
                    f"{spaces.describe(other)}; give those of the same task"
                )
        if settings.random_actions:
            environment = RandomActions(environment, settings.random_actions)
        self.settings = settings
        self.demonstrations = demonstrations
        self.method = method = make_method(demonstrations)
        self.ppo = PPOTraining(settings.ppo, environment, method.draw_codes, method.prior.dimension, settings.encoder)
        self.ppo.network.actor.continuous = method.cloning.network.continuous
        self.device = method.device
        self.code_usage = method.cloning.code_usage
        self._failures = Failures()
        self._ignored = ignored_columns(demonstrations)
        self._scalars: dict[str, float] = {}
        sizes = (demonstrations.actions.shape[1], method.prior.dimension if method.judges_codes else 0)
        scorer = Scorer(
            demonstrations.observation_space, sum(sizes), 1, settings.hidden, settings.encoder, settings.seed + 1
        )
        self.discriminator = Discriminator(
            scorer.to(self.device),
            settings.discriminator_learning_rate,
            settings.gradient_penalty,
            method.judges_codes,
        )

    @property
    def warnings(self) -> list[str]:  # type: ignore[override]
        """Sentences for the user: ignored columns, and failures with a remedy."""
        return [*self._ignored, *self._failures.warnings]

    @property
    def iterations(self) -> int:
        """How many there are in all."""
        return self.method.pretraining_iterations + self.settings.updates

    @property
    def pretraining(self) -> Pretraining | None:
        """The current stage of pretraining; None after the last."""
        return next((stage for stage in self.method.pretrainings if not stage.finished), None)

    @property
    def at_checkpoint(self) -> bool:
        """Whether `state_dict` holds everything that training needs to go on bit for bit."""
        return self.pretraining is not None or self.ppo.at_restart

    @property
    def environment_steps(self) -> int:
        """How many steps the environments have taken."""
        return self.ppo.steps

    @property
    def evaluation_due(self) -> bool:
        """Whether the policy should be evaluated now: some twenty times in all, and at the end."""
        return self.ppo.update > 0 and (self.ppo.at_restart or self.finished)

    @property
    def learning_rate(self) -> float:
        """The policy's learning rate at the next iteration."""
        return self.method.cloning.learning_rate if self.pretraining is not None else self.ppo.learning_rate

    @property
    def steps_per_iteration(self) -> int:
        """How many steps an iteration learns from: demonstrated ones in pretraining, then the environments'."""
        if self.pretraining is not None:
            return self.method.cloning.steps_per_iteration
        return self.settings.environments * self.settings.steps_per_update

    def scalars(self) -> dict[str, float]:
        """Return the scalars of the last iteration."""
        return {"loss": self.loss} | self._scalars

    def step(self) -> None:
        """Take one gradient step of pretraining, or one update."""
        stage = self.pretraining
        if stage is not None:
            stage.step()
            self.loss = stage.loss
            if self.pretraining is None:
                self._start_adversarial()
        else:
            with seeded_layers(self.settings.seed, self.iteration, self.device):
                self._update()
        self.code_usage = self.method.cloning.code_usage
        self.iteration += 1

    def _start_adversarial(self) -> None:
        """Copy the pretrained policy into PPO; from now on `method` uses PPO's network."""
        actor = self.ppo.network.actor
        actor.load_state_dict(self.method.cloning.network.state_dict())
        actor.actions.low.copy_(torch.from_numpy(self.ppo.lowest_action))
        actor.actions.high.copy_(torch.from_numpy(self.ppo.highest_action))
        residual = math.sqrt(self.method.cloning.loss / actor.actions.outputs)
        self.ppo.network.log_std.data.fill_(math.log(min(1.0, max(_LEAST_STD, residual))))
        self.method.cloning.network = actor

    def _update(self) -> None:
        ppo, update = self.ppo, self.ppo.update
        rng = np.random.default_rng((self.settings.seed, 1 + update))
        rollout = ppo.collect()
        start = time.perf_counter()
        pairs = self._pairs_of(rollout)
        scalars = self._train_discriminator(pairs, rng)
        scalars |= self.method.learn(pairs, rng)
        rewards = self.discriminator.logits(pairs)
        scalars |= {"reward": rewards.mean().item(), "reward_std": rewards.std().item()}
        bonus = self.method.bonus(pairs)
        if bonus is not None:
            scalars["bonus"] = bonus.mean().item()
            rewards = rewards + bonus
        rollout.rewards[rollout.valid] = rewards
        ppo.policy_weight = 0.0 if update < self.settings.warm_up_updates else 1.0
        ppo_scalars = ppo.learn(rollout, self.method.added_loss(update, rng))
        self.loss = scalars["discriminator_loss"]
        seconds = (*rollout.seconds, time.perf_counter() - start)
        shares = {
            f"share_{name}": part / sum(seconds)
            for name, part in zip(("simulator", "inference", "learning"), seconds, strict=True)
        }
        scalars |= ppo_scalars | self.method.scalars() | {"environment_steps": float(ppo.steps)} | shares
        information = code_information(self.ppo.network, self.method, rollout, rng)
        if information is not None:
            scalars["code_information"] = information
        self._scalars = scalars
        self._failures.check(scalars, self.ppo.network.actor.actions.outputs)

    @torch.no_grad()
    def _pairs_of(self, rollout: Rollout) -> Pairs:
        """Return the rollout's pairs, with actions clipped as in the environment."""
        actor = self.ppo.network.actor
        observations = take(take(rollout.observations, slice(None, -1)), rollout.valid)
        actions = actor.actions.restore(rollout.actions[rollout.valid]).clamp(actor.actions.low, actor.actions.high)
        codes = rollout.codes[:-1][rollout.valid]
        return Pairs(actor.observations(observations), actor.actions.normalize(actions), codes)

    @torch.no_grad()
    def _expert(self, rows: NDArray[np.int64]) -> Pairs:
        """Return the pairs of demonstrated steps (n,)."""
        actor = self.ppo.network.actor
        observations = to_tensors(rows_of(self.demonstrations.observations, rows), self.device)
        actions = torch.from_numpy(self.demonstrations.actions[rows]).to(self.device)
        return Pairs(actor.observations(observations), actor.actions.targets(actions), self.method.expert_codes(rows))

    def _train_discriminator(self, pairs: Pairs, rng: np.random.Generator) -> dict[str, float]:
        """Take an update's gradient steps, on the rollout's pairs and as many of the expert's."""
        if not self.method.judges_codes:
            pairs = Pairs(pairs.inputs, pairs.actions, pairs.codes[:, :0])
        order = batches(self.settings, len(pairs), rng)
        rows = rng.integers(self.demonstrations.steps, size=tuple(order.shape))
        shares = torch.from_numpy(rng.random((*order.shape, 1), dtype=np.float32)).to(self.device)
        steps = [
            self.discriminator.step(self._expert(expert_rows), pairs.rows(policy_rows), share)
            for policy_rows, expert_rows, share in zip(order, rows, shares, strict=True)
        ]
        return {
            "discriminator_loss": float(np.mean([step.loss for step in steps])),
            "discriminator_accuracy": float(np.mean([step.accuracy for step in steps])),
            "gradient_penalty": float(np.mean([step.penalty for step in steps])),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        for number, stage in enumerate(self.method.pretrainings):
            tensors |= add_prefix(f"pretraining.{number}", stage.state_dict())
        tensors |= add_prefix("method", self.method.state_dict()) | add_prefix("ppo", self.ppo.state_dict())
        tensors |= add_prefix("discriminator.network", self.discriminator.network.state_dict())
        tensors |= add_prefix("discriminator.optimizer", moments(self.discriminator.optimizer))
        if self._failures.first_entropy is not None:
            tensors["first_entropy"] = torch.tensor(self._failures.first_entropy, dtype=torch.float64)
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`.

        Raises:
            InputError: the tensors are of other settings, demonstrations or another environment.
        """
        with fitting_checkpoint():
            for number, stage in enumerate(self.method.pretrainings):
                stage.load_state_dict(take_prefix(f"pretraining.{number}", tensors))
            self.method.load_state_dict(take_prefix("method", tensors))
            self.ppo.load_state_dict(take_prefix("ppo", tensors))
            self.discriminator.network.load_state_dict(take_prefix("discriminator.network", tensors))
            load_moments(self.discriminator.optimizer, take_prefix("discriminator.optimizer", tensors))
            self.iteration = int(tensors["iteration"])
            if "first_entropy" in tensors:
                self._failures.first_entropy = float(tensors["first_entropy"])
        if self.pretraining is None:
            self.method.cloning.network = self.ppo.network.actor

    def policy(self, counted: bool = True) -> Policy:
        """Return the current policy; `counted` as in `Training.policy`."""
        if self.pretraining is not None:
            network = copy.deepcopy(self.method.cloning.network)
        else:
            network = copy.deepcopy(self.ppo.network.actor).requires_grad_(True)
            network.actions.noise.copy_(self.ppo.network.log_std.exp() * network.actions.std)
        novelty = self.method.cloning.measure_novelty(network) if counted else None
        policy = self.method.policy(network, counted)
        policy.novelty_model = novelty
        return policy
