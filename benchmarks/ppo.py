"""PPO beside Stable-Baselines3's: what both reach, and how fast both train, with the same networks and settings.

Both have two hidden layers of 64 tanh for the policy and as many for the value, orthogonal first weights, standard
deviations that no state changes, normalised observations and rewards, a learning rate that falls to 0. What differs:

- The policy adds the code's layer before its second tanh. Without codes it is one bias more, beside one that is there.
- Observations are normalised by moments that change after an update, not after every step; rewards are not cut at 10.
- An update's steps are split evenly into minibatches, and the step that resets is not one of them.

`returns` trains on Gymnasium's own environments. `speed` trains on EnvPool's HalfCheetah, Stable-Baselines3 through a
small adapter, and says what Stable-Baselines3 does on its own vector environment.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
import tyro
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from common import RESULTS
from manyways.files import read_json, write_json
from manyways.rl import ppo
from manyways.rl.settings import PPO
from manyways.runs.provenance import provenance
from manyways.tasks import Base, DiscreteModes
from manyways.tasks.mode_rewards import EnvPoolModeRewards

HIDDEN = 64
EVALUATION_EPISODES = 20


@dataclass(frozen=True)
class Setting:
    """What both are given; `log_std` is that of the action itself."""

    environments: int
    steps_per_update: int
    minibatch: int
    total_steps: int = 10**9
    epochs: int = 10
    learning_rate: float = 3e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    log_std: float = 0.0


RETURNS = {
    "Pendulum-v1": Setting(4, 256, 64, total_steps=150_000, learning_rate=1e-3, gamma=0.9),
    "InvertedDoublePendulum-v5": Setting(8, 256, 64, total_steps=200_000),
    "HalfCheetah-v5": Setting(8, 256, 64, total_steps=300_000),
}
SPEED = (Setting(8, 256, 64), Setting(64, 64, 512))


def our_training(setting: Setting, environment: VectorEnv[Any, Any, Any], seed: int) -> ppo.PPOTraining:
    half_range = (environment.single_action_space.high - environment.single_action_space.low) / 2
    settings = PPO(
        total_steps=setting.total_steps,
        steps_per_update=setting.steps_per_update,
        epochs=setting.epochs,
        minibatch=setting.minibatch,
        learning_rate=setting.learning_rate,
        gamma=setting.gamma,
        gae_lambda=setting.gae_lambda,
        clip_values=False,
        hidden=HIDDEN,
        log_std=setting.log_std - float(np.log(half_range[0])),
        updates_per_restart=10**9,
        seed=seed,
    )
    return ppo.PPOTraining(settings, environment)


def their_training(setting: Setting, environment: VecEnv, seed: int) -> stable_baselines3.PPO:
    return stable_baselines3.PPO(
        "MlpPolicy",
        VecNormalize(environment, gamma=setting.gamma),
        learning_rate=lambda left: setting.learning_rate * left,
        n_steps=setting.steps_per_update,
        batch_size=setting.minibatch,
        n_epochs=setting.epochs,
        gamma=setting.gamma,
        gae_lambda=setting.gae_lambda,
        policy_kwargs={"net_arch": {"pi": [HIDDEN, HIDDEN], "vf": [HIDDEN, HIDDEN]}, "log_std_init": setting.log_std},
        device="cpu",
        seed=seed,
    )


Act = Callable[[np.ndarray], np.ndarray]
"""From observations (n, observation size) to actions in the environment's units, without noise."""


def train_ours(name: str, setting: Setting, seed: int) -> Act:
    environment = SyncVectorEnv([lambda: gym.make(name)] * setting.environments, autoreset_mode=AutoresetMode.NEXT_STEP)
    training = our_training(setting, environment, seed)
    while not training.finished:
        training.step()
    environment.close()
    network = training.network
    network_actions = network.actor.actions

    @torch.no_grad()
    def act(observations: np.ndarray) -> np.ndarray:
        inputs = network.actor.observations(torch.from_numpy(observations.astype(np.float32)))
        means = network.means(inputs, torch.zeros(len(observations), 0))
        return (means * network_actions.std + network_actions.mean).numpy()

    return act


def train_theirs(name: str, setting: Setting, seed: int) -> Act:
    training = their_training(setting, DummyVecEnv([lambda: gym.make(name)] * setting.environments), seed)
    training.learn(setting.total_steps)
    normalizer: Any = training.get_env()
    normalizer.close()
    return lambda seen: training.predict(normalizer.normalize_obs(seen), deterministic=True)[0]


def mean_return(name: str, act: Act) -> float:
    """Return the mean return of episodes that both are given alike."""
    environment = gym.make(name)
    low, high = environment.action_space.low, environment.action_space.high
    total = 0.0
    for episode in range(EVALUATION_EPISODES):
        seen, _ = environment.reset(seed=1_000_000 + episode)
        ended = False
        while not ended:
            seen, reward, terminated, truncated, _ = environment.step(np.clip(act(seen[None])[0], low, high))
            total += float(reward)
            ended = terminated or truncated
    environment.close()
    return total / EVALUATION_EPISODES


def returns(
    seeds: int = 3,
    share: float = 1.0,
    tasks: tuple[str, ...] = tuple(RETURNS),
    out: Path = RESULTS / "ppo-returns.json",
) -> None:
    """Train both on each task and seed, and measure what the result file does not have yet.

    Args:
        seeds: how many, from 0 on.
        share: of the steps, for a trial.
        tasks: which.
        out: the result file.
    """
    torch.set_num_threads(1)
    result = read_json(out) if out.exists() else {}
    for name in tasks:
        setting = RETURNS[name]
        if share != 1:
            setting = Setting(**asdict(setting) | {"total_steps": round(share * setting.total_steps)})
        if result.get(name, {}).get("setting") != asdict(setting):
            result[name] = {"setting": asdict(setting), "manyways": {}, "stable_baselines3": {}}
        task = result[name]
        for seed in range(seeds):
            for who, train in (("manyways", train_ours), ("stable_baselines3", train_theirs)):
                if str(seed) in task[who]:
                    continue
                began = time.perf_counter()
                act = train(name, setting, seed)
                seconds = time.perf_counter() - began
                task[who][str(seed)] = {"return": round(mean_return(name, act), 1), "seconds": round(seconds, 1)}
                print(name, who, seed, task[who][str(seed)], flush=True)
                write_json(out, result)
        for who in ("manyways", "stable_baselines3"):
            reached = [run["return"] for run in task[who].values()]
            task[f"{who}_mean"] = round(statistics.mean(reached), 1)
            task[f"{who}_std"] = round(statistics.pstdev(reached), 1)
        print({key: value for key, value in task.items() if key.endswith(("_mean", "_std"))})
        write_json(out, result | {"provenance": provenance(seeds=range(seeds))})


CHEETAH = Base("HalfCheetah-v5")
CHEETAH_STEPS = 1000  # its time limit


def cheetah(environments: int) -> VectorEnv[Any, Any, Any]:
    """Return the tasks' vector environment, with HalfCheetah's own reward as that of its only mode."""
    return EnvPoolModeRewards(
        lambda seeds: CHEETAH.make_pool(seeds, CHEETAH_STEPS),
        environments,
        DiscreteModes((1.0,), ("forward",)),
        lambda step, directions: directions * step.info["x_velocity"][:, None] - 0.1 * step.effort[:, None],
        0,
        CHEETAH_STEPS,
        CHEETAH,
    )


class PoolVecEnv(VecEnv):
    """The same EnvPool, as Stable-Baselines3 wants it: an episode that ended starts anew within the step."""

    def __init__(self, environments: int) -> None:
        self.pool = CHEETAH.make_pool(range(environments), CHEETAH_STEPS)
        super().__init__(environments, self.pool.observation_space, self.pool.action_space)

    def reset(self) -> np.ndarray:
        """Start every environment anew."""
        return self.pool.reset()[0]

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the next step."""
        self.actions = actions

    def step_wait(self) -> Any:
        """Step all environments, and start those anew that ended."""
        observations, rewards, terminated, truncated, _ = self.pool.step(self.actions)
        ended = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended.any():
            numbers = np.flatnonzero(ended)
            observations = observations.copy()
            for number in numbers:
                limited = bool(truncated[number] and not terminated[number])
                infos[number] = {"terminal_observation": observations[number].copy(), "TimeLimit.truncated": limited}
            observations[numbers] = self.pool.reset(numbers)[0]
        return observations, rewards, ended, infos

    def close(self) -> None:
        """Free the pool."""
        self.pool.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return that no environment has it; render_mode is asked for."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: not needed here."""
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: not needed here."""
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return that none is."""
        return [False] * self.num_envs


@contextmanager
def stopwatch(parts: Sequence[tuple[Any, str, str]]) -> Iterator[dict[str, float]]:
    """Yield the seconds spent in functions from here on, given as (owner, attribute, name of the part)."""
    seconds = dict.fromkeys((name for _, _, name in parts), 0.0)

    def timed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments, **named)
            seconds[name] += time.perf_counter() - began
            return result

        return wrapped

    with ExitStack() as stack:
        for owner, attribute, name in parts:
            stack.enter_context(patch.object(owner, attribute, timed(getattr(owner, attribute), name)))
        yield seconds


def breakdown(training: ppo.PPOTraining, updates: int) -> dict[str, float]:
    """Return where the time of our training goes, as shares; the watch itself adds a little to the smallest parts."""
    parts = [
        (training.environment, "step", "simulator"),
        (training, "collect", "collect"),
        (training, "learn", "learning"),
    ]
    began = time.perf_counter()
    with stopwatch(parts) as seconds:
        for _ in range(updates):
            training.step()
    whole = time.perf_counter() - began
    shares = {
        "simulator": seconds["simulator"],
        "inference": seconds["collect"] - seconds["simulator"],
        "learning": seconds["learning"],
    }
    return {name: round(part / whole, 3) for name, part in shares.items()}


def compare(setting: Setting, rounds: int) -> dict[str, Any]:
    steps = setting.environments * setting.steps_per_update
    ours = our_training(setting, cheetah(setting.environments), 0)
    theirs = their_training(setting, PoolVecEnv(setting.environments), 0)
    dummies = [lambda: gym.make(CHEETAH.id)] * setting.environments
    theirs_alone = their_training(setting, DummyVecEnv(dummies), 0)
    learn = {"total_timesteps": steps, "reset_num_timesteps": False, "log_interval": None}
    works: dict[str, Callable[[], Any]] = {
        "manyways": ours.step,
        "stable_baselines3": partial(theirs.learn, **learn),
        "stable_baselines3_dummy": partial(theirs_alone.learn, **learn),
    }
    speeds: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(rounds + 1):
        for name, work in works.items():
            before, began = ours.steps, time.perf_counter()
            work()
            seconds = time.perf_counter() - began
            if round_:  # the first is the warm-up
                speeds[name].append((ours.steps - before if name == "manyways" else steps) / seconds)
    result: dict[str, Any] = {f"{name}_steps_per_second": round(statistics.median(speeds[name])) for name in works}
    for other in ("stable_baselines3", "stable_baselines3_dummy"):
        pairs = zip(speeds["manyways"], speeds[other], strict=True)
        result[f"over_{other}"] = round(statistics.median(a / b for a, b in pairs), 2)
    result["shares"] = breakdown(ours, rounds)
    for environment in (ours.environment, theirs.get_env(), theirs_alone.get_env()):
        environment.close()
    return result


def speed(rounds: int = 15, out: Path = RESULTS / "ppo-speed.json") -> None:
    """Measure training steps a second in alternation, on one thread and on all; the simulator has all in both.

    Args:
        rounds: of one update each.
        out: the result file.
    """
    cores = os.cpu_count() or 1
    result: dict[str, Any] = {
        "cores": cores,
        "torch": torch.__version__,
        "stable_baselines3": stable_baselines3.__version__,
        "rounds": rounds,
        "sizes": [],
    }
    for setting in SPEED:
        size = {name: getattr(setting, name) for name in ("environments", "steps_per_update", "minibatch", "epochs")}
        for threads in sorted({1, cores}):
            torch.set_num_threads(threads)
            measured = compare(setting, rounds)
            print({**size, "threads": threads, **measured}, flush=True)
            result["sizes"].append({**size, "threads": threads, **measured})
    write_json(out, result | {"provenance": provenance(seeds=[0])})


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"returns": returns, "speed": speed})
