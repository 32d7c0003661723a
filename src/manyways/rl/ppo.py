"""Owns PPO (Schulman et al. 2017; Appendix A), the policy gradient of all algorithms with a simulator.

    repeat: run the environments for some steps under the policy, each episode with its own code
            compute every step's advantage (generalised advantage estimation)
            several passes over the steps in minibatches: clipped policy loss + value loss (+ the caller's loss)

The rewards are the environment's, unless the caller replaces them in a rollout before `learn`.
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
from manyways.networks.checkpoints import add_prefix, fitting_checkpoint, load_moments, moments, take_prefix
from manyways.networks.devices import choose_device
from manyways.networks.encoders import Encoder
from manyways.networks.normalization import Normalizer, take
from manyways.rl.actor_critic import ActorCritic
from manyways.rl.advantages import RunningMoments, generalized_advantages
from manyways.rl.rollouts import Collector, DrawCodes, Rollout
from manyways.rl.settings import PPO

_LEAST_STD = 1e-4  # divisor, so that nearly constant values do not become large


@dataclass(eq=False)
class Minibatch:
    """Steps to learn from, a row for each.

    Attributes:
        inputs: normalised observations (n, ...), or a dictionary of such tensors.
        codes: (n, code size).
        actions: (n, action size), in inner units.
        log_probabilities, values: (n,), by the networks during the rollout.
        advantages: (n,), normalised.
        returns: (n,), the targets of the values.
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
        environment: a vector environment that resets ended episodes at the next step.
        draw_codes: the codes of starting episodes; None without codes.
        code_size: dimensions of a code.
        encoder: from an observation to features.

    Attributes:
        update: the number of updates so far.
        steps: the number of environment steps so far.
        network: actor and critic.
        policy_weight: of the policy's loss; 0 while only the values should learn.
        lowest_action, highest_action: the bounds of the environment's actions, (action size,).

    Raises:
        InputError: the environment resets ended episodes within their last step, or its actions are not vectors.
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
        observation_space, action_space = environment.single_observation_space, environment.single_action_space
        boxes = entry_spaces(observation_space)
        if not isinstance(action_space, Box) or len(action_space.shape) != 1:
            raise InputError(f"PPO needs actions that are vectors, not {action_space}; wrap the environment")
        self.settings = settings
        self.update = 0
        self.steps = 0
        self.policy_weight = 1.0
        self.device = choose_device(settings.device)
        network = ActorCritic(
            observation_space, action_space, code_size, settings.hidden, settings.log_std, encoder, settings.seed
        )
        network.initialize(torch.Generator().manual_seed(settings.seed))
        self.lowest_action = action_space.low.astype(np.float32)
        self.highest_action = action_space.high.astype(np.float32)
        if action_space.is_bounded():
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
            for name, box in boxes.items()
            if isinstance(network.actor.observations.part(name), Normalizer)
        }
        self._return_moments = RunningMoments((1,))

    @property
    def finished(self) -> bool:
        """Whether `total_steps` is reached."""
        return self.steps >= self.settings.total_steps

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next update."""
        return self.settings.learning_rate * max(0.0, 1 - self.steps / self.settings.total_steps)

    @property
    def at_restart(self) -> bool:
        """Whether the environments are reset at the next update, so that a checkpoint now is complete."""
        return self.update % self.settings.updates_per_restart == 0

    def step(self) -> dict[str, float]:
        """Run the environments and learn from their own rewards."""
        return self.learn(self.collect())

    def collect(self) -> Rollout:
        """Run every environment for `steps_per_update` steps."""
        if self.at_restart or not self._collector.started:
            self._generator = self._collector.restart(np.random.SeedSequence((self.settings.seed, self.update)))
            self._discounted = torch.zeros(self._collector.environment.num_envs, device=self.device)
        return self._collector.collect(self.network, self.settings.steps_per_update)

    def learn(self, rollout: Rollout, added_loss: Callable[[], Tensor] | None = None) -> dict[str, float]:
        """Take the passes over a rollout.

        The observations' moments are updated afterwards, since both policies of a ratio need the same scale.

        Args:
            rollout: from the last `collect`.
            added_loss: evaluated for each minibatch and added to PPO's, such as λ·L_SOG of Algorithm 3.

        Returns:
            Means over the last pass: policy_loss, value_loss, kl (approximate, from the rollout's policy),
            clip_fraction; the entropy after it; and the number of passes.
        """
        settings, network = self.settings, self.network
        batch = self._batch(rollout)
        passes = 0
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        for _ in range(settings.epochs):
            passes += 1
            statistics = []
            for minibatch in self._minibatches(batch):
                loss, sums = self._loss(minibatch)
                if added_loss is not None:
                    loss = loss + added_loss()
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
                self._optimizer.step()
                statistics.append(sums)
            means = torch.stack(statistics).sum(dim=0) / len(batch.returns)
            policy_loss, value_loss, kl, clip_fraction = means.tolist()
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
            rewards = rewards / self._reward_scale(rewards, rollout)
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
        """Yield shuffled parts of the batch, whose sizes differ by one at most, with normalised advantages."""
        order = torch.randperm(len(batch.returns), generator=self._generator).to(self.device)
        for rows in order.tensor_split(math.ceil(len(order) / self.settings.minibatch)):
            minibatch = batch.rows(rows)
            centred = minibatch.advantages - minibatch.advantages.mean()
            minibatch.advantages = centred / (centred.square().mean().sqrt() + 1e-8)
            yield minibatch

    def _loss(self, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Return the loss of a minibatch (Schulman et al. 2017, Equation 9, and 7 for the policy).

        Returns:
            The loss; and sums over the minibatch, (4,): the policy's loss, the value's, the approximate KL divergence
            from the rollout's policy, and how often the probability ratio was clipped.
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
        """Add a rollout's observations to the running moments, which normalise from now on."""
        for name, running in self._observation_moments.items():
            values = rollout.observations[name] if name else rollout.observations
            running.update(values[:-1][rollout.valid].cpu())
            normalizer = self.network.actor.observations.part(name)
            normalizer.mean.copy_(running.mean)
            normalizer.std.copy_(running.std.clamp_min(_LEAST_STD))

    def _reward_scale(self, rewards: Tensor, rollout: Rollout) -> float:
        """Return the running standard deviation of the discounted return, the divisor of rewards."""
        returns = []
        for reward, ended in zip(rewards, rollout.terminated | rollout.truncated, strict=True):
            self._discounted = self._discounted * self.settings.gamma + reward
            returns.append(self._discounted)
            self._discounted = self._discounted.where(~ended, 0.0)
        if not self._frozen:
            self._return_moments.update(torch.stack(returns)[rollout.valid][:, None].cpu())
        return float(self._return_moments.std.clamp_min(_LEAST_STD))

    def state_dict(self) -> dict[str, Tensor]:
        """Return a copy of the state as tensors by name.

        If `at_restart` holds, training continues from it bit for bit; otherwise with environments that are reset.
        """
        tensors = add_prefix("network", self.network.state_dict()) | add_prefix("optimizer", moments(self._optimizer))
        for kind, running in self._all_moments().items():
            tensors |= add_prefix(f"moments.{kind}", vars(running))
        tensors |= {"update": torch.tensor(self.update), "steps": torch.tensor(self.steps)}
        return {name: tensor.clone() for name, tensor in tensors.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state of `state_dict`.

        Raises:
            InputError: the tensors are of other settings or another environment.
        """
        with fitting_checkpoint():
            self.network.load_state_dict(take_prefix("network", tensors))
            load_moments(self._optimizer, take_prefix("optimizer", tensors))
            for kind, running in self._all_moments().items():
                state = take_prefix(f"moments.{kind}", tensors)
                vars(running).update({name: state[name].clone() for name in vars(running)})
            self.update, self.steps = int(tensors["update"]), int(tensors["steps"])
            self._collector.started = False

    def _all_moments(self) -> dict[str, RunningMoments]:
        observations = {f"observations.{number}": m for number, m in enumerate(self._observation_moments.values())}
        return observations | {"returns": self._return_moments}
