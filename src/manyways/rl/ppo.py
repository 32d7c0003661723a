"""Owns PPO (Schulman et al. 2017; Appendix A): the policy gradient under every algorithm here that needs a simulator.

    repeat: run the environments for some steps under the policy, each episode with a code of its own
            give every step an advantage (generalised advantage estimation)
            several passes over the steps in minibatches: clipped policy loss + value loss (+ a loss of the caller's)

What is rewarded is the environment's own reward, or whatever the caller puts into a rollout before it is learned from.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor, nn

from manyways.demonstrations.spaces import entry_spaces
from manyways.errors import InputError
from manyways.networks.checkpoints import moments, named, part, restore_moments
from manyways.networks.devices import choose_device
from manyways.networks.encoders import Encoder
from manyways.networks.normalization import Normalizer, take
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.advantages import RunningMoments, generalized_advantages
from manyways.rl.rollouts import Collector, DrawCodes, Rollout
from manyways.rl.settings import PPO

_LEAST_STD = 1e-4  # by which anything is divided, so that what hardly varies is not blown up


@dataclass(eq=False)
class Minibatch:
    """Steps to learn from, a row each.

    Attributes:
        inputs: normalised observations (n, ...), or a dictionary of such tensors.
        codes: (n, code size).
        actions: (n, action size), in inner units.
        log_probabilities, values: (n,), of the networks that acted.
        advantages: (n,), normalised.
        returns: (n,), what values should be.
    """

    inputs: Any
    codes: Tensor
    actions: Tensor
    log_probabilities: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def rows(self, index: Any) -> "Minibatch":
        """Return these rows."""
        return Minibatch(*(take(part, index) for part in vars(self).values()))


class PPOTraining:
    """PPO between its first and its last update.

    Args:
        settings: of PPO.
        environment: a vector environment that starts ended episodes at the next step.
        draw_codes: the codes of starting episodes; None where the policy has none.
        code_size: numbers in a code.
        encoder: what makes features of an observation.

    Attributes:
        update: how many updates were done.
        steps: how many environment steps were learned from.
        network: actor and critic.
        policy_weight: of the policy's loss; 0 while only the values should learn.
        lowest_action, highest_action: the ends of the environment's actions, (action size,).

    Raises:
        InputError: the environment restarts ended episodes within the step that ended them, or its actions are not rows
            of numbers.
    """

    def __init__(
        self,
        settings: PPO,
        environment: VectorEnv[Any, Any, Any],
        draw_codes: DrawCodes | None = None,
        code_size: int = 0,
        encoder: Encoder = None,
    ) -> None:
        if environment.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
            raise InputError("PPO needs a vector environment whose autoreset_mode is NEXT_STEP; make it with that")
        observed, acted = environment.single_observation_space, environment.single_action_space
        entry_spaces(observed)
        if not isinstance(acted, Box) or len(acted.shape) != 1:
            raise InputError(f"PPO needs actions that are rows of numbers, not {acted}; wrap the environment")
        self.settings = settings
        self.update = 0
        self.steps = 0
        self.policy_weight = 1.0
        self.device = choose_device(settings.device)
        network = ActorCritic(observed, acted, code_size, settings.hidden, settings.log_std, encoder, settings.seed)
        network.initialize(torch.Generator().manual_seed(settings.seed))
        self.lowest_action, self.highest_action = acted.low.astype(np.float32), acted.high.astype(np.float32)
        if acted.is_bounded():
            network.actor.actions.mean.copy_(torch.from_numpy((self.highest_action + self.lowest_action) / 2))
            network.actor.actions.std.copy_(torch.from_numpy((self.highest_action - self.lowest_action) / 2))
        network.actor.actions.low.copy_(torch.from_numpy(self.lowest_action))
        network.actor.actions.high.copy_(torch.from_numpy(self.highest_action))
        self.network = network.to(self.device)
        self._optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, eps=1e-5, fused=True)
        draw = draw_codes or (lambda starting, rng: np.zeros((len(starting), 0), np.float32))
        self._collector = Collector(environment, draw, settings.switch_codes, self.lowest_action, self.highest_action)
        self._generator = torch.Generator()
        self._observation_moments = {
            name: RunningMoments(box.shape)
            for name, box in entry_spaces(observed).items()
            if isinstance(network.actor.observations.part(name), Normalizer)
        }
        self._return_moments = RunningMoments((1,))

    @property
    def finished(self) -> bool:
        """Whether all steps have been taken."""
        return self.steps >= self.settings.total_steps

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.settings.learning_rate * max(0.0, 1 - self.steps / self.settings.total_steps)

    @property
    def at_restart(self) -> bool:
        """Whether the environments start anew at the next update: where a checkpoint holds everything."""
        return self.update % self.settings.updates_per_restart == 0

    def step(self) -> dict[str, float]:
        """Run the environments and learn from what happened, by their own reward."""
        return self.learn(self.collect())

    def collect(self) -> Rollout:
        """Run every environment for `steps_per_update` steps."""
        if self.at_restart or not self._collector.started:
            self._generator = self._collector.restart(np.random.SeedSequence((self.settings.seed, self.update)))
            self._discounted = torch.zeros(self._collector.environment.num_envs, device=self.device)
        return self._collector.collect(self.network, self.settings.steps_per_update)

    def learn(self, rollout: Rollout, added_loss: Callable[[], Tensor] | None = None) -> dict[str, float]:
        """Take the passes over a rollout.

        The observations' moments are updated afterwards: the policy is compared with the one that acted, on one scale.

        Args:
            rollout: from the last `collect`.
            added_loss: evaluated for each minibatch and added to PPO's, such as λ·L_SOG of Algorithm 3.

        Returns:
            Means over the last pass: policy_loss, value_loss, kl (approximate, from the policy that acted),
            clip_fraction; the entropy after it; and how many passes there were.
        """
        settings, network = self.settings, self.network
        batch = self._batch(rollout)
        passes = 0
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        for _ in range(settings.epochs):
            passes += 1
            facts = []
            for minibatch in self._minibatches(batch):
                loss, measured = self._loss(minibatch)
                if added_loss is not None:
                    loss = loss + added_loss()
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
                self._optimizer.step()
                facts.append(measured)
            sums = torch.stack(facts).sum(dim=0) / len(batch.returns)
            policy_loss, value_loss, kl, clip_fraction = sums.tolist()
            if settings.target_kl is not None and kl > settings.target_kl:
                break
        if settings.normalize and settings.normalize_observations and not self._frozen:
            self._measure_observations(rollout)
        self.steps += int(rollout.valid.sum())
        self.update += 1
        return {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "kl": kl,
            "clip_fraction": clip_fraction,
            "entropy": network.entropy().item(),
            "passes": float(passes),
        }

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> Minibatch:
        """Return a row for each valid step."""
        settings, network = self.settings, self.network
        rewards = rollout.rewards.where(rollout.valid, 0.0)
        if settings.normalize:
            rewards = rewards / self._scale_of_rewards(rewards, rollout)
        inputs = network.actor.observations(rollout.observations)
        values = network.values(inputs, rollout.codes)
        advantages = generalized_advantages(
            rewards, values, rollout.terminated, rollout.truncated, settings.gamma, settings.gae_lambda
        )
        return Minibatch(
            take(inputs, slice(None, -1)),
            rollout.codes[:-1],
            rollout.actions,
            rollout.log_probabilities,
            values[:-1],
            advantages,
            values[:-1] + advantages,
        ).rows(rollout.valid)

    def _minibatches(self, batch: Minibatch) -> Iterator[Minibatch]:
        """Yield the batch in shuffled parts whose sizes differ by one at most, advantages normalised within each."""
        order = torch.randperm(len(batch.returns), generator=self._generator).to(self.device)
        for rows in order.tensor_split(math.ceil(len(order) / self.settings.minibatch)):
            minibatch = batch.rows(rows)
            own = minibatch.advantages - minibatch.advantages.mean()
            minibatch.advantages = own / (own.square().mean().sqrt() + 1e-8)
            yield minibatch

    def _loss(self, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch (Schulman et al. 2017, Equation 9, and 7 for the policy).

        Returns:
            The loss; and sums over the minibatch: of the policy's loss, the value's, the approximate KL divergence from
            the policy that acted, and how often the probability ratio was clipped, (4,).
        """
        settings, clip, network = self.settings, self.settings.clip, self.network
        means = network.means(batch.inputs, batch.codes)
        log_ratio = network.log_probabilities(batch.actions, means) - batch.log_probabilities
        ratio = log_ratio.exp()
        gain = torch.minimum(batch.advantages * ratio, batch.advantages * ratio.clamp(1 - clip, 1 + clip))
        values = network.values(batch.inputs, batch.codes)
        squared_errors = (values - batch.returns).square()
        if settings.clip_values:
            near = batch.values + (values - batch.values).clamp(-clip, clip)
            squared_errors = torch.maximum(squared_errors, (near - batch.returns).square())
        policy_loss = -gain.mean() - settings.entropy_weight * network.entropy()
        loss = self.policy_weight * policy_loss + settings.value_weight * squared_errors.mean()
        with torch.no_grad():
            # Schulman's estimator, http://joschu.net/blog/kl-approx.html
            kl = (ratio - 1 - log_ratio).sum()
            clipped = ((ratio - 1).abs() > clip).sum()
            return loss, torch.stack([-gain.sum(), squared_errors.sum(), kl, clipped])

    @property
    def _frozen(self) -> bool:
        return self.settings.frozen_after is not None and self.update >= self.settings.frozen_after

    def _measure_observations(self, rollout: Rollout) -> None:
        """Add a rollout's observations to the running moments, and normalise by these from now on."""
        for name, running in self._observation_moments.items():
            values = rollout.observations[name] if name else rollout.observations
            running.update(values[:-1][rollout.valid].cpu())
            normalizer = self.network.actor.observations.part(name)
            normalizer.mean.copy_(running.mean)
            normalizer.std.copy_(running.std.clamp_min(_LEAST_STD))

    def _scale_of_rewards(self, rewards: Tensor, rollout: Rollout) -> float:
        """Return the running standard deviation of the discounted return so far, by which rewards are divided."""
        returns = []
        for reward, ended in zip(rewards, rollout.terminated | rollout.truncated, strict=True):
            self._discounted = self._discounted * self.settings.gamma + reward
            returns.append(self._discounted)
            self._discounted = self._discounted.where(~ended, 0.0)
        if not self._frozen:
            self._return_moments.update(torch.stack(returns)[rollout.valid][:, None].cpu())
        return float(self._return_moments.std.clamp_min(_LEAST_STD))

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of everything that `load_state_dict` needs, as named tensors.

        Where `at_restart` holds, training goes on from it bit for bit; elsewhere with environments that start anew.
        """
        tensors = named("network", self.network.state_dict()) | named("optimizer", moments(self._optimizer))
        for kind, running in self._running().items():
            tensors |= named(f"moments.{kind}", vars(running))
        tensors |= {"update": torch.tensor(self.update), "steps": torch.tensor(self.steps)}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go back to where `state_dict` was taken.

        Raises:
            InputError: the tensors are of other settings or another environment.
        """
        try:
            self.network.load_state_dict(part("network", tensors))
            restore_moments(self._optimizer, part("optimizer", tensors))
            for kind, running in self._running().items():
                known = part(f"moments.{kind}", tensors)
                vars(running).update({name: known[name].clone() for name in vars(running)})
            self.update, self.steps = int(tensors["update"]), int(tensors["steps"])
            self._collector.started = False
        except (KeyError, ValueError, RuntimeError) as error:
            raise InputError(f"the checkpoint does not fit the settings ({error}); start in another folder") from error

    def _running(self) -> dict[str, RunningMoments]:
        observed = {f"observations.{number}": m for number, m in enumerate(self._observation_moments.values())}
        return observed | {"returns": self._return_moments}
