"""Our CrossQ beside Stable-Baselines3-Contrib's: what each expert returns after the same time.

Both train on the same task and see the same inputs: the task's frame of observation and mode. Both step
as many environments, take as many gradient steps for each environment step, and have layers of the same width. Both
keep a running average of the policy's weights, which is what is evaluated; `last` is Stable-Baselines3's without it.
They run side by side, each in a process of one thread, so that whatever else the machine does slows down both.
Evaluations do not count as training time.
"""

import multiprocessing
import os
import platform
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from manyways.experts.crossq import CrossQ
from manyways.experts.environment import ExpertEnvironment
from manyways.experts.train import evaluate_expert
from manyways.files import read_json, write_json
from manyways.tasks import get_task
from manyways.tasks.expert import Expert

FILE = Path(__file__).parent / "results" / "crossq.json"
EPISODES = 100
EVALUATION_SEED = 1_000_000
PACKAGES = ("manyways", "sb3-contrib", "stable-baselines3", "torch", "gymnasium", "envpool", "mujoco")

Layers = dict[str, np.ndarray]
Trained = tuple[Callable[[], object], dict[str, Callable[[], Layers]], Callable[[], int]]
"""What takes a few steps, the policies, and how many gradient steps were taken."""


def theirs(settings: CrossQ, environment: ExpertEnvironment) -> Trained:
    """Return Stable-Baselines3-Contrib's CrossQ with these settings."""
    import copy

    import torch
    from sb3_contrib import CrossQ as Contrib
    from stable_baselines3.common.buffers import ReplayBuffer
    from stable_baselines3.common.vec_env import VecEnv

    class Environments(VecEnv):
        """Our vector environment, which resets an environment at the step after its end, in their form."""

        def __init__(self) -> None:
            super().__init__(
                environment.num_envs, environment.single_observation_space, environment.single_action_space
            )
            self._ended = np.zeros(self.num_envs, dtype=bool)

        def reset(self) -> np.ndarray:
            return environment.reset(seed=settings.seed)[0].astype(np.float32)

        def step_async(self, actions: np.ndarray) -> None:
            self._actions = actions

        def step_wait(self) -> Any:
            observations, rewards, terminated, truncated, _ = environment.step(self._actions)
            infos = [
                {"reset": bool(reset), "terminated": bool(end)}
                for reset, end in zip(self._ended, terminated, strict=True)
            ]
            self._ended = terminated | truncated
            return observations.astype(np.float32), rewards.astype(np.float32), self._ended, infos

        def close(self) -> None:
            environment.close()

        def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
            return [None] * self.num_envs

        def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
            raise NotImplementedError

        def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
            raise NotImplementedError

        def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
            return [False] * self.num_envs

    class Memory(ReplayBuffer):
        """Leaves out the steps that only reset an environment; a time limit is no end."""

        def __init__(self, *arguments: Any, n_envs: int, **options: Any) -> None:
            super().__init__(*arguments, n_envs=1, **options)

        def add(
            self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: list[dict[str, Any]]
        ) -> None:
            moved = np.array([not info["reset"] for info in infos])
            rows = (self.pos + np.arange(moved.sum())) % self.buffer_size
            self.observations[rows, 0] = obs[moved]
            self.next_observations[rows, 0] = next_obs[moved]
            self.actions[rows, 0] = action[moved]
            self.rewards[rows, 0] = reward[moved]
            self.dones[rows, 0] = np.array([info["terminated"] for info in infos])[moved]
            self.full |= self.pos + len(rows) >= self.buffer_size
            self.pos = int(self.pos + len(rows)) % self.buffer_size

    class Averaged(Contrib):
        """Averages the policy as ours does, after each group of gradient steps."""

        def train(self, gradient_steps: int, batch_size: int = 64) -> None:
            super().train(gradient_steps, batch_size)
            old_weight = settings.averaging ** (gradient_steps / settings.policy_delay)
            with torch.no_grad():
                for old, new in zip(averaged.state_dict().values(), self.actor.state_dict().values(), strict=True):
                    if old.is_floating_point():
                        old.lerp_(new, 1 - old_weight)

    model = Averaged(
        "MlpPolicy",
        Environments(),
        learning_rate=settings.learning_rate,
        buffer_size=settings.buffer,
        learning_starts=settings.random_steps,
        batch_size=settings.batch,
        gamma=settings.gamma,
        gradient_steps=settings.environments // settings.steps_per_update,
        policy_delay=settings.policy_delay,
        replay_buffer_class=Memory,
        policy_kwargs={
            "net_arch": [settings.hidden] * 2,
            "optimizer_kwargs": {"betas": (0.5, 0.999), "fused": True},
        },
        seed=settings.seed,
        device="cpu",
    )
    model._logger = _silent()
    averaged = copy.deepcopy(model.actor).requires_grad_(False)

    def layers(actor: Any) -> Layers:
        tensors: Layers = {"action_scale": environment.action_scale}
        modules = [*actor.latent_pi, actor.mu]
        for number, (norm, linear) in enumerate(zip(modules[0::3], modules[1::3], strict=True)):
            scale = norm.scale / (norm.ra_var + norm.eps).sqrt()
            tensors[f"weight.{number}"] = (linear.weight * scale).detach().numpy().copy()
            shift = linear.weight @ (norm.bias - scale * norm.ra_mean)
            tensors[f"bias.{number}"] = (linear.bias + shift).detach().numpy().copy()
        return tensors

    def step() -> None:
        model.learn(50 * settings.environments, reset_num_timesteps=False)

    policies = {
        "averaged": lambda: layers(model.actor if averaged is None else averaged),
        "last": lambda: layers(model.actor),
    }
    return step, policies, lambda: model._n_updates


def _silent() -> Any:
    from stable_baselines3.common.logger import configure

    return configure(None, [])


def ours(settings: CrossQ, environment: ExpertEnvironment) -> Trained:
    """Return our CrossQ with these settings."""
    from manyways.experts.crossq import CrossQTraining

    training = CrossQTraining(settings, environment)
    return training.step, {"averaged": training.layers}, lambda: training.updates


def train(name: str, task_name: str, minutes: float, evaluations: int, seed: int) -> list[dict[str, Any]]:
    """Train for so many minutes, in a process of its own; return what each evaluation found."""
    import torch

    torch.set_num_threads(1)
    task, settings = get_task(task_name), CrossQ(seed=seed)
    environment = ExpertEnvironment(task, settings.environments, task.modes.spread(settings.environments))
    step, policies, updates = (ours if name == "ours" else theirs)(settings, environment)
    lines: list[dict[str, Any]] = []
    trained = 0.0
    for due in np.linspace(0, 60 * minutes, evaluations + 1)[1:]:
        while trained < due:
            began = time.monotonic()
            step()
            trained += time.monotonic() - began
        line: dict[str, Any] = {"seconds": round(trained), "gradient_steps": updates()}
        for kind, layers in policies.items():
            found = evaluate_expert(task.with_expert(Expert(layers(), {})), EPISODES, EVALUATION_SEED)
            line[kind] = {
                "return_mean": round(float(found.returns.mean()), 1),
                "return_std": round(found.returns_std, 1),
                "returns": found.returns.round(1).tolist(),
            }
        lines.append(line)
        print(task_name, name, line, flush=True)
    return lines


def main(
    tasks: tuple[str, ...] = ("halfcheetah-fwd-back", "ant-dir-6"),
    minutes: float = 15.0,
    evaluations: int = 5,
    seed: int = 0,
    note: str = "",
    write: bool = True,
) -> None:
    """Train both on each task; tasks that are measured anew replace their entry in the result file.

    Args:
        tasks: names.
        minutes: of training, of each on each task.
        evaluations: of 100 episodes each, evenly spread; the last is at the end.
        seed: of everything random.
        note: what else is to be known, such as what ran beside.
        write: whether to write the results.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # of the two processes
    results: dict[str, Any] = read_json(FILE) if write and FILE.exists() else {}
    for task in tasks:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            running = [
                pool.apply_async(train, (name, task, minutes, evaluations, seed)) for name in ("ours", "sb3-contrib")
            ]
            found = [one.get() for one in running]
        last = [lines[-1]["averaged"]["return_mean"] for lines in found]
        results[task] = {
            "ours": found[0],
            "sb3_contrib": found[1],
            "sb3_contrib_over_ours": round(last[1] / last[0], 3),
            "settings": CrossQ(seed=seed).to_json(),
            "minutes": minutes,
            "episodes": EPISODES,
            "command": f"OMP_NUM_THREADS=1 python benchmarks/crossq.py --tasks {task} --minutes {minutes:g}",
            "versions": {package: version(package) for package in PACKAGES},
            "commit": _commit(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "note": note,
        }
        print(f"{task}: {last[1]} beside {last[0]}, {results[task]['sb3_contrib_over_ours']} of ours")
        if write:
            write_json(FILE, results)


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=FILE.parent, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    tyro.cli(main)
