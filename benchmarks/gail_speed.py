"""GAIL beside the one of the `imitation` library: environment steps a second of whole training, with equal settings.

`imitation` needs Gymnasium 0.29, so it has a virtual environment of its own, made on first use; this file is also run
there, so what only one of the two environments has is imported where it is used. Both train on HalfCheetah (there v4,
here v5, which are the same but for the reward, which GAIL never sees) from the same demonstrations. In a round both

- collect the rollouts of all environments and give them the discriminator's reward,
- take PPO's epochs over them,
- take the discriminator's steps, each on a batch of demonstrated and a batch of own pairs.

`imitation` is measured with all environments in one process and with a process each; the ratio is to the faster. Its
discriminator normalises its input, as in its documentation; its policy does not, which only saves it time.
"""

import json
import os
import statistics
import subprocess
import sys
import time
import venv
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
# The last versions that work together; PyTorch is that of requirements.lock.
REQUIREMENTS = (
    "imitation==1.0.1",
    "stable-baselines3==2.2.1",
    "gymnasium[mujoco]==0.29.1",
    "mujoco==2.3.7",
    "torch==2.13.0",
)


@dataclass(frozen=True)
class Setting:
    """What both are given.

    Attributes:
        environments: how many.
        steps_per_update: of each environment, a round.
        epochs, minibatch: of PPO.
        discriminator_steps: a round.
        discriminator_batch: demonstrated pairs of one such step, and as many of the policy's own.
        hidden: units in each of two layers, of the policy, of its value and of the discriminator, all tanh.
    """

    environments: int = 8
    steps_per_update: int = 2048
    epochs: int = 10
    minibatch: int = 64
    discriminator_steps: int = 80
    discriminator_batch: int = 128
    hidden: int = 128

    @property
    def steps_per_round(self) -> int:
        """Environment steps of one round."""
        return self.environments * self.steps_per_update


SETTING = Setting()


def ours(rounds: int) -> float:
    """Return our environment steps a second: the median of so many rounds, after one to warm up.

    PyTorch has been told how many threads to use.
    """
    from manyways.algorithms import GAIL
    from manyways.tasks import get_task

    settings = GAIL(
        total_steps=(rounds + 1) * SETTING.steps_per_round,
        environments=SETTING.environments,
        steps_per_update=SETTING.steps_per_update,
        pretraining=1,
        epochs=SETTING.epochs,
        minibatch=SETTING.minibatch,
        target_kl=None,
        warm_up_updates=0,
        discriminator_batch=SETTING.discriminator_batch,
        discriminator_steps=SETTING.discriminator_steps,
        hidden=SETTING.hidden,
    )
    training = settings.start(demonstrations(), get_task("halfcheetah-fwd-back").make_vec(SETTING.environments))
    training.step()  # the only one of pretraining
    speeds = []
    while not training.finished:
        began = time.perf_counter()
        training.step()
        speeds.append(SETTING.steps_per_round / (time.perf_counter() - began))
    return statistics.median(speeds[1:])


def demonstrations() -> Any:
    """Return those of the HalfCheetah-Fwd-Back expert, collected if nobody did."""
    from common import demonstrations_of

    return demonstrations_of("halfcheetah-fwd-back")[0]


def write_transitions(path: Path) -> None:
    """Write the demonstrated steps that have a next one, as `imitation` takes them."""
    pairs = list(demonstrations())
    np.savez(
        path,
        obs=np.concatenate([observations[:-1] for observations, _ in pairs]),
        acts=np.concatenate([actions[:-1] for _, actions in pairs]),
        next_obs=np.concatenate([observations[1:] for observations, _ in pairs]),
    )


def theirs(python: Path, transitions: Path, rounds: int, threads: int, processes: bool) -> float:
    """Return `imitation`'s environment steps a second: the median of so many rounds, after one to warm up."""
    code = f"import gail_speed; gail_speed.imitation_speeds({str(transitions)!r}, {rounds}, {threads}, {processes})"
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [python, "-c", code], cwd=Path(__file__).parent, env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    return statistics.median(json.loads(done.stdout.splitlines()[-1])["steps_per_second"])


def imitation_speeds(transitions: str, rounds: int, threads: int, processes: bool) -> None:
    """Train with `imitation`, and print the environment steps a second of every round as JSON; for its own Python."""
    import gymnasium as gym
    import torch
    from imitation.algorithms.adversarial.gail import GAIL
    from imitation.data.types import Transitions
    from imitation.rewards.reward_nets import BasicRewardNet
    from imitation.util import logger
    from imitation.util.networks import RunningNorm
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with np.load(transitions) as shown:
        count = len(shown["obs"])
        expert = Transitions(
            obs=shown["obs"],
            acts=shown["acts"],
            infos=np.array([{}] * count),
            next_obs=shown["next_obs"],
            dones=np.zeros(count, dtype=bool),
        )
    make = [lambda: gym.make("HalfCheetah-v4")] * SETTING.environments
    environment = SubprocVecEnv(make) if processes else DummyVecEnv(make)
    layers = [SETTING.hidden, SETTING.hidden]
    trainer = GAIL(
        demonstrations=expert,
        demo_batch_size=SETTING.discriminator_batch,
        n_disc_updates_per_round=SETTING.discriminator_steps,
        gen_replay_buffer_capacity=SETTING.steps_per_round,  # its default: the last round's steps only
        venv=environment,
        gen_algo=PPO(
            "MlpPolicy",
            environment,
            n_steps=SETTING.steps_per_update,
            batch_size=SETTING.minibatch,
            n_epochs=SETTING.epochs,
            policy_kwargs={"net_arch": {"pi": layers, "vf": layers}},
            device="cpu",
            seed=0,
        ),
        reward_net=BasicRewardNet(
            environment.observation_space,
            environment.action_space,
            hid_sizes=layers,
            activation=torch.nn.Tanh,
            normalize_input_layer=RunningNorm,
        ),
        custom_logger=logger.configure(format_strs=[]),  # writing would cost it time
    )
    times = [time.perf_counter()]
    trainer.train((rounds + 1) * SETTING.steps_per_round, lambda _: times.append(time.perf_counter()))
    environment.close()
    print(json.dumps({"steps_per_second": [SETTING.steps_per_round / seconds for seconds in np.diff(times)[1:]]}))


def prepared(folder: Path) -> Path:
    """Return the Python that has `imitation`, in a virtual environment that is made if it is not there."""
    python, ready = folder / ".venv" / "bin" / "python", folder / ".venv" / ".ready"
    wanted = "\n".join(REQUIREMENTS)
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(folder / ".venv", clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        ready.write_text(wanted)
    return python


def main(
    *,
    rounds: int = 5,
    out: Path = ROOT / "benchmarks" / "results" / "gail-speed.json",
    cache: Path = ROOT / ".cache" / "imitation",
) -> None:
    """Measure both, on one thread and on all; a round of `imitation` takes ten seconds and more.

    Args:
        rounds: of each, after one to warm up.
        out: the result.
        cache: folder of `imitation`'s virtual environment, 1.8 GB.
    """
    import torch

    from common import write_result

    cores = os.cpu_count() or 1
    python = prepared(cache.resolve())
    transitions = cache.resolve() / ".venv" / "transitions.npz"
    write_transitions(transitions)
    result: dict[str, Any] = {
        "cores": cores,
        "imitation": list(REQUIREMENTS),
        "torch": torch.__version__,
        "setting": asdict(SETTING),
        "rounds": rounds,
        "speeds": [],
    }
    for threads in sorted({1, cores}):
        torch.set_num_threads(threads)
        speeds: dict[str, Any] = {"threads": threads}
        for name, processes in (("imitation", False), ("imitation_processes", True)):
            speeds[f"{name}_steps_per_second"] = round(theirs(python, transitions, rounds, threads, processes))
            print(speeds, flush=True)
        speeds["manyways_steps_per_second"] = round(ours(rounds))
        fastest = max(speeds["imitation_steps_per_second"], speeds["imitation_processes_steps_per_second"])
        speeds["ratio"] = round(speeds["manyways_steps_per_second"] / fastest, 2)
        print(speeds, flush=True)
        result["speeds"].append(speeds)
    write_result(out, result, seeds=[0])


if __name__ == "__main__":
    import tyro

    sys.exit(tyro.cli(main))
