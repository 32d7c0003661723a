"""Owns the adversarial loop that GAIL, SOG-GAIL, InfoGAIL and VAE-GAIL share (Algorithm 3).

    behaviour cloning first                                                      (Appendix B)
    repeat: run the environments under the policy, each episode under a code     (line 3)
            teach the discriminator to tell these pairs from the expert's        (lines 4, 5)
            reward what it takes for the expert's, and take PPO's steps on that  (lines 6 to 8)

The four differ in a `Method`: where a rollout's code comes from, what the reward has besides, which loss is added to
PPO's, and what is learned beside the policy.
"""

import copy
import math
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from manyways.algorithms.adversarial.discriminator import Discriminator
from manyways.algorithms.sog_bc import SOGBC, GiveCodes, Training
from manyways.clustering.groups import Groups
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.latents import Categorical, Gaussian, Prior
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.policy import Policy
from manyways.rl.ppo import PPO, PPOTraining, Rollout
from manyways.rl.random_actions import RandomActions
from manyways.search import Search, trajectory_losses

Floats = NDArray[np.floating[Any]]

_LEAST_STD = 0.1  # of the policy's first action noise, in standard deviations of the demonstrated actions
_CODES_COMPARED = 16  # drawn from a continuous prior, to see whether codes matter
_ROWS_COMPARED = 256
_PATIENCE = 20  # updates in a row after which a failure is told
_ALL_TOLD_APART = 0.995  # accuracy of a discriminator from which nothing can be learned
_NO_INFORMATION = 0.01  # nats a step that the action says about the code
_EXPLODED = 1.5  # nats for each number of an action, above the entropy at the start


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Settings that the adversarial algorithms have in common.

    Args:
        prior: the codes of rollouts.
        total_steps: environment steps.
        environments: how many are stepped at once.
        steps_per_update: steps of each between two updates.
        pretraining: gradient steps of behaviour cloning before.
        epochs, minibatch, learning_rate, target_kl, entropy_weight: of PPO.
        warm_up_updates: in which only the value network and the discriminator learn, which know nothing at first.
        discriminator_learning_rate: of Adam.
        discriminator_batch: pairs of each side in a gradient step.
        discriminator_steps: gradient steps an update.
        gradient_penalty: its weight.
        random_actions: share of the actions in rollouts that are drawn from the whole action space, so that the policy
            also meets what follows a mistake.
        switch_codes: the probability that a rollout's code is drawn anew at a step, so that the policy also learns to
            go from one way into another.
        hidden: width of all networks.
        updates_per_restart: environments are reset from (seed, update) this often, which is when training can be
            checkpointed so that it goes on bit for bit.
        seed: of everything random.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str]

    prior: Prior
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
    seed: int = 0

    def __post_init__(self) -> None:
        for setting in ("environments", "pretraining", "discriminator_batch", "discriminator_steps"):
            if getattr(self, setting) < 1:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 1 or more")
        for setting in ("warm_up_updates", "gradient_penalty"):
            if getattr(self, setting) < 0:
                raise InputError(f"{setting} is {getattr(self, setting)}; give 0 or more")
        if not 0 <= self.random_actions < 1:
            raise InputError(f"random_actions is {self.random_actions}; give a share from 0 to less than 1")
        if not self.discriminator_learning_rate > 0:
            raise InputError(f"discriminator_learning_rate is {self.discriminator_learning_rate}; give more than 0")
        _ = self.ppo  # which checks the others

    @property
    def ppo(self) -> PPO:
        """PPO's settings."""
        return PPO(
            total_steps=self.total_steps,
            steps_per_update=self.steps_per_update,
            epochs=self.epochs,
            minibatch=self.minibatch,
            learning_rate=self.learning_rate,
            target_kl=self.target_kl,
            entropy_weight=self.entropy_weight,
            normalize_observations=False,
            switch_codes=self.switch_codes,
            hidden=self.hidden,
            updates_per_restart=self.updates_per_restart,
            seed=self.seed,
        )

    @property
    def updates(self) -> int:
        """How many updates the environment steps make."""
        return math.ceil(self.total_steps / (self.environments * self.steps_per_update))

    def batches(self, count: int, rng: np.random.Generator) -> Tensor:
        """Return which of `count` pairs are in each of the discriminator's batches, (steps, batch)."""
        size = min(self.discriminator_batch, count)
        needed = self.discriminator_steps * size
        order = np.concatenate([rng.permutation(count) for _ in range(math.ceil(needed / count))])
        return torch.from_numpy(order[:needed].reshape(-1, size))

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return asdict(self) | {"prior": self.prior.to_json()}

    @abstractmethod
    def method(self, demonstrations: Demonstrations) -> "Method":
        """Return what this algorithm adds to the loop."""

    def start(self, demonstrations: Demonstrations, environment: VectorEnv[Any, Any, Any]) -> "AdversarialTraining":
        """Return training at its first iteration, to be stepped, saved and restored by the caller.

        Args:
            demonstrations: what the expert did.
            environment: `environments` of them, which start ended episodes at the next step; the rewards are not used.

        Raises:
            InputError: the demonstrations do not fit the environment, or there are more codes than trajectories.
        """
        return AdversarialTraining(self, self.method(demonstrations), demonstrations, environment)

    def fit(
        self,
        demonstrations: Demonstrations,
        environment: VectorEnv[Any, Any, Any],
        callback: Callable[["AdversarialTraining"], object] | None = None,
    ) -> Policy:
        """Learn from the demonstrations; arguments as for `start`, `callback` is called after each iteration."""
        training = self.start(demonstrations, environment)
        while not training.finished:
            training.step()
            if callback is not None:
                callback(training)
        return training.policy()


class Pretraining(Protocol):
    """What is learned from the demonstrations alone, before the environments are run."""

    loss: float

    @property
    def finished(self) -> bool:
        """Whether the last step has been taken."""

    def step(self) -> None:
        """Take a gradient step."""

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""


class Method:
    """What an adversarial algorithm adds to the loop; this one adds nothing: plain GAIL.

    Codes are as the code's layer sees them throughout.

    Args:
        settings: of the algorithm.
        demonstrations: what the expert did.
        give_codes: of the demonstrations in pretraining; None for a search.
        search: how continuous codes are searched.
        prior: of the policy's codes, where that is not the settings' own.

    Attributes:
        prior: of the policy's codes.
        cloning: behaviour cloning, which shares the policy's network once pretraining is over.
        sees_codes: whether the discriminator judges pairs together with their code.
    """

    sees_codes = False

    def __init__(
        self,
        settings: Adversarial,
        demonstrations: Demonstrations,
        give_codes: GiveCodes | None = None,
        search: Search | None = None,
        prior: Prior | None = None,
    ) -> None:
        self.settings = settings
        self.demonstrations = demonstrations
        self.prior = prior or settings.prior
        cloning = SOGBC(
            prior=self.prior,
            search=search or Search(),
            iterations=settings.pretraining,
            hidden=settings.hidden,
            seed=settings.seed,
            device="cpu",
        )
        self.cloning = Training(cloning, demonstrations, give_codes)

    @property
    def pretrainings(self) -> list[Pretraining]:
        """What is learned before the environments are run, in this order."""
        return [self.cloning]

    @property
    def pretraining_iterations(self) -> int:
        """How many steps they have together."""
        return self.settings.pretraining

    def draw_codes(self, starting: NDArray[np.integer[Any]], rng: np.random.Generator) -> Floats:
        """Return the codes of starting episodes (n, code size)."""
        drawn = torch.from_numpy(self.prior.sample(len(starting), rng))
        return self.cloning.network.code_inputs(drawn).numpy()

    def expert_codes(self, rows: NDArray[np.integer[Any]]) -> Tensor:
        """Return the codes of demonstrated steps (n,) that the discriminator sees, (n, code size); (n, 0) for none."""
        return torch.empty(len(rows), 0)

    def learn(self, pairs: Tensor, codes: Tensor, rng: np.random.Generator) -> dict[str, float]:
        """Learn from a rollout's pairs (n, numbers) and codes (n, code size) what else there is; return its scalars."""
        return {}

    def bonus(self, pairs: Tensor, codes: Tensor) -> Tensor | None:
        """Return what is added to the discriminator's reward, (n,)."""
        return None

    def added_loss(self, update: int, rng: np.random.Generator) -> Callable[[], Tensor] | None:
        """Return what is added to PPO's loss in each minibatch of an update."""
        return None

    def scalars(self) -> dict[str, float]:
        """Return what the added loss was."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """Return what `restore` needs beside the pretrainings."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken."""

    def policy(self, network: PolicyNetwork, counted: bool) -> Policy:
        """Return the policy, with how many demonstrations each code explains best where that is asked for."""
        if not isinstance(self.prior, Categorical):
            return Policy(network, self.prior, ())
        return self._listed(network, self.prior, counted)

    def _listed(self, network: PolicyNetwork, prior: Categorical, counted: bool) -> Policy:
        if not counted:
            return Policy(network, prior, (0,) * prior.size)
        losses = trajectory_losses(network, self.demonstrations, torch.eye(prior.size))
        groups = self.groups
        if groups is not None:
            groups = groups.with_residual(losses, self.demonstrations)
            losses += groups.loss(self.demonstrations)
        counts = np.bincount(losses.argmin(axis=1), minlength=prior.size)
        return Policy(network, prior, tuple(int(count) for count in counts), groups=groups)

    @property
    def groups(self) -> Groups | None:
        """The groups of similar trajectories that codes belong to, where there are any."""
        return None


class AdversarialTraining:
    """An adversarial algorithm between its first and its last iteration: those of pretraining, then PPO's updates.

    Attributes:
        iteration: how many of them were done.
        loss: of the last: of behaviour cloning, then of the discriminator.
        code_usage: how many of the demonstrations' trajectories the last search gave to each code.
        ppo: the policy at work in the environments.
        warnings: failures that were seen, each told once, with what to try.
    """

    def __init__(
        self,
        settings: Adversarial,
        method: Method,
        demonstrations: Demonstrations,
        environment: VectorEnv[Any, Any, Any],
    ) -> None:
        if environment.num_envs != settings.environments:
            raise InputError(f"there are {environment.num_envs} environments; make {settings.environments}")
        if settings.random_actions:
            environment = RandomActions(environment, settings.random_actions)
        cloned = method.cloning.network
        self.settings = settings
        self.demonstrations = demonstrations
        self.method = method
        self.ppo = PPOTraining(settings.ppo, environment, method.draw_codes, method.prior.dimension)
        sizes = (demonstrations.observation_size, demonstrations.action_size)
        actor = self.ppo.network.actor
        own = (len(actor.observations.mean), len(actor.actions.mean))
        if sizes != own:
            raise InputError(
                f"the demonstrations have {sizes[0]} numbers an observation and {sizes[1]} an action, but the "
                f"environment has {own[0]} and {own[1]}; give those of the same task"
            )
        actor.continuous = cloned.continuous
        self.iteration = 0
        self.loss = float("nan")
        self.code_usage = method.cloning.code_usage
        self.warnings: list[str] = []
        self._scalars: dict[str, float] = {}
        self._in_a_row = {"accuracy": 0, "information": 0}
        self._first_entropy: float | None = None
        self._observations = torch.from_numpy(demonstrations.observations)
        self._actions = torch.from_numpy(demonstrations.actions)
        inputs = sum(sizes) + (method.prior.dimension if method.sees_codes else 0)
        self.discriminator = Discriminator(
            inputs,
            settings.hidden,
            settings.discriminator_learning_rate,
            settings.gradient_penalty,
            torch.Generator().manual_seed(settings.seed + 1),
        )

    @property
    def iterations(self) -> int:
        """How many there are in all."""
        return self.method.pretraining_iterations + self.settings.updates

    @property
    def finished(self) -> bool:
        """Whether the last iteration is done."""
        return self.iteration >= self.iterations

    @property
    def pretraining(self) -> Pretraining | None:
        """What is being learned before the environments are run; None once that is over."""
        return next((stage for stage in self.method.pretrainings if not stage.finished), None)

    @property
    def at_checkpoint(self) -> bool:
        """Whether `state` holds everything that training needs to go on bit for bit."""
        return self.pretraining is not None or self.ppo.at_restart

    @property
    def to_be_judged(self) -> bool:
        """Whether the policy should be judged now, as the best or not: some twenty times in all, and at the end."""
        return self.ppo.update > 0 and (self.ppo.at_restart or self.finished)

    @property
    def learning_rate(self) -> float:
        """The policy's at the next iteration."""
        return self.method.cloning.learning_rate if self.pretraining is not None else self.ppo.learning_rate

    @property
    def steps_per_iteration(self) -> int:
        """How many steps an iteration learns from: demonstrated ones, then the environments'."""
        cloning = self.method.cloning.settings
        if self.pretraining is not None:
            return cloning.trajectories_per_batch * cloning.steps_per_trajectory
        return self.settings.environments * self.settings.steps_per_update

    def scalars(self) -> dict[str, float]:
        """Return what the last iteration measured."""
        return {"loss": self.loss} | self._scalars

    def step(self) -> None:
        """Take one gradient step of pretraining, or one update."""
        stage = self.pretraining
        if stage is not None:
            stage.step()
            self.loss = stage.loss
            if self.pretraining is None:
                self._take_over()
        else:
            self._update()
        self.code_usage = self.method.cloning.code_usage
        self.iteration += 1

    def _take_over(self) -> None:
        """Give the pretrained policy to PPO, and PPO's network to whatever is added to its loss."""
        actor = self.ppo.network.actor
        actor.load_state_dict(self.method.cloning.network.state_dict())
        actor.action_low.copy_(torch.from_numpy(self.ppo.lowest_action))
        actor.action_high.copy_(torch.from_numpy(self.ppo.highest_action))
        residual = math.sqrt(self.method.cloning.loss / len(actor.actions.mean))
        self.ppo.network.log_std.data.fill_(math.log(min(1.0, max(_LEAST_STD, residual))))
        self.method.cloning.network = actor

    def _update(self) -> None:
        ppo, update = self.ppo, self.ppo.update
        rng = np.random.default_rng((self.settings.seed, 1 + update))
        rollout = ppo.collect()
        began = time.perf_counter()
        pairs, codes = self._pairs_of(rollout)
        facts = self._teach_discriminator(pairs, codes, rng)
        facts |= self.method.learn(pairs, codes, rng)
        rewards = self.discriminator.logits(self._judged(pairs, codes))
        facts |= {"reward": rewards.mean().item(), "reward_std": rewards.std().item()}
        bonus = self.method.bonus(pairs, codes)
        if bonus is not None:
            facts["bonus"] = bonus.mean().item()
            rewards = rewards + bonus
        rollout.rewards[rollout.valid] = rewards
        ppo.policy_weight = 0.0 if update < self.settings.warm_up_updates else 1.0
        learned = ppo.learn(rollout, self.method.added_loss(update, rng))
        self.loss = facts["discriminator_loss"]
        seconds = (*rollout.seconds, time.perf_counter() - began)
        shares = {
            f"share_{name}": spent / sum(seconds)
            for name, spent in zip(("simulator", "inference", "learning"), seconds, strict=True)
        }
        facts |= learned | self.method.scalars() | {"environment_steps": float(ppo.steps)} | shares
        if self.method.prior.dimension > 1 or isinstance(self.method.prior, Gaussian):
            facts["code_information"] = self._code_information(rollout, rng)
        self._scalars = facts
        self._tell(facts)

    def _pairs_of(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return the rollout's pairs (n, numbers), with actions as the environment took them, and codes (n, size)."""
        actor = self.ppo.network.actor
        observations, codes = rollout.observations[:-1][rollout.valid], rollout.codes[:-1][rollout.valid]
        given = actor.actions.restore(rollout.actions[rollout.valid])
        given = given.clamp(actor.action_low, actor.action_high)
        return torch.cat([actor.normalized(observations), actor.actions.normalize(given)], dim=1), codes

    def _judged(self, pairs: Tensor, codes: Tensor) -> Tensor:
        """Return what the discriminator sees of pairs and their codes."""
        return torch.cat([pairs, codes], dim=1) if self.method.sees_codes else pairs

    def _expert(self, rows: NDArray[np.int64]) -> Tensor:
        """Return what the discriminator sees of demonstrated steps (n,), read where they are."""
        actor = self.ppo.network.actor
        observations, actions = self._observations[rows], self._actions[rows]
        parts = [actor.normalized(observations), actor.actions.normalize(actions), self.method.expert_codes(rows)]
        return torch.cat(parts, dim=1)

    def _teach_discriminator(self, pairs: Tensor, codes: Tensor, rng: np.random.Generator) -> dict[str, float]:
        """Take the steps on a rollout's pairs, as many of the expert's beside them."""
        judged = self._judged(pairs, codes)
        order = self.settings.batches(len(judged), rng)
        rows = rng.integers(self.demonstrations.steps, size=tuple(order.shape))
        shares = torch.from_numpy(rng.random((*order.shape, 1), dtype=np.float32))
        judgements = [
            self.discriminator.step(self._expert(demonstrated), judged[chosen], share)
            for chosen, demonstrated, share in zip(order, rows, shares, strict=True)
        ]
        return {
            "discriminator_loss": float(np.mean([judgement.loss for judgement in judgements])),
            "discriminator_accuracy": float(np.mean([judgement.accuracy for judgement in judgements])),
            "gradient_penalty": float(np.mean([judgement.penalty for judgement in judgements])),
        }

    @torch.no_grad()
    def _code_information(self, rollout: Rollout, rng: np.random.Generator) -> float:
        """Return how much an action says about the code, in nats a step: 0 where the code does not matter.

        That is the mean log-probability of the actions under their own code beside that under codes drawn anew.
        """
        network, prior = self.ppo.network, self.method.prior
        rows = rng.permutation(int(rollout.valid.sum()))[:_ROWS_COMPARED]
        observations, codes = rollout.observations[:-1][rollout.valid][rows], rollout.codes[:-1][rollout.valid][rows]
        others: Floats = np.eye(prior.dimension, dtype=np.float32)
        if not isinstance(prior, Categorical):
            others = self.method.draw_codes(np.arange(_CODES_COMPARED), rng)
        compared = torch.cat([codes[:, None], torch.from_numpy(others).expand(len(rows), *others.shape)], dim=1)
        inputs = network.normalized(observations)
        means = network.means(inputs[:, None], compared)  # (rows, 1 + codes, action size)
        deviations = (rollout.actions[rollout.valid][rows][:, None] - means) * torch.exp(-network.log_std)
        likelihoods = network.log_probabilities(deviations).double()
        own, every = likelihoods[:, 0], likelihoods[:, 1:]
        return float((own - every.logsumexp(dim=1) + math.log(every.shape[1])).mean())

    def _tell(self, facts: dict[str, float]) -> None:
        """Warn of the failures that adversarial training is known for, each once."""
        size = len(self.ppo.network.log_std)
        if self._first_entropy is None:
            self._first_entropy = facts["entropy"]
        seen = {
            "accuracy": facts["discriminator_accuracy"] > _ALL_TOLD_APART,
            "information": facts.get("code_information", math.inf) < _NO_INFORMATION,
        }
        for failure, present in seen.items():
            self._in_a_row[failure] = self._in_a_row[failure] + 1 if present else 0
        told = {
            "the discriminator": (
                self._in_a_row["accuracy"] == _PATIENCE,
                f"tells all pairs apart (accuracy {facts['discriminator_accuracy']:.1%}), so that its reward no longer "
                "says what is better; try a lower --discriminator-learning-rate or a greater --gradient-penalty",
            ),
            "the code": (
                self._in_a_row["information"] == _PATIENCE,
                f"no longer matters: an action says {facts.get('code_information', 0.0):.4f} nats about it; try a "
                "greater --lambda-s (SOG-GAIL) or --lambda-i (InfoGAIL), or more --pretraining",
            ),
            "the policy": (
                facts["entropy"] - self._first_entropy > _EXPLODED * size,
                f"has become noise: its entropy rose from {self._first_entropy:.1f} to {facts['entropy']:.1f} nats; "
                "try a lower --learning-rate or --target-kl",
            ),
        }
        for who, (failed, what) in told.items():
            if failed and not any(warning.startswith(who) for warning in self.warnings):
                self.warnings.append(f"{who} {what}")

    def state(self) -> dict[str, Tensor]:
        """Return everything that `restore` needs, as named tensors."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        for number, stage in enumerate(self.method.pretrainings):
            tensors |= named(f"pretraining.{number}", stage.state())
        tensors |= named("method", self.method.state()) | named("ppo", self.ppo.state())
        tensors |= named("discriminator.network", self.discriminator.network.state_dict())
        tensors |= named("discriminator.optimizer", moments(self.discriminator.optimizer))
        if self._first_entropy is not None:
            tensors["first_entropy"] = torch.tensor(self._first_entropy, dtype=torch.float64)
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state` was taken.

        Raises:
            InputError: the tensors are of other settings, demonstrations or another environment.
        """
        try:
            for number, stage in enumerate(self.method.pretrainings):
                stage.restore(part(f"pretraining.{number}", tensors))
            self.method.restore(part("method", tensors))
            self.ppo.restore(part("ppo", tensors))
            self.discriminator.network.load_state_dict(part("discriminator.network", tensors))
            restore_moments(self.discriminator.optimizer, part("discriminator.optimizer", tensors))
            self.iteration = int(tensors["iteration"])
            self._first_entropy = float(tensors["first_entropy"]) if "first_entropy" in tensors else None
        except (KeyError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error
        if self.pretraining is None:
            self.method.cloning.network = self.ppo.network.actor

    def policy(self, counted: bool = True) -> Policy:
        """Return the policy as it stands.

        Args:
            counted: whether to say how many demonstrations each code explains best, which takes a while.
        """
        if self.pretraining is not None:
            return self.method.policy(copy.deepcopy(self.method.cloning.network), counted)
        network = copy.deepcopy(self.ppo.network.actor)
        network.action_std.copy_(self.ppo.network.log_std.exp() * network.actions.std)
        return self.method.policy(network.requires_grad_(True), counted)
