"""Training a task's expert: one policy that is told the mode, until it reaches the task's floor.

Everything is in the run's folder, so that the same command goes on where it stopped.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.experts.crossq import CrossQ
from manyways.experts.ddpg_her import DDPGHER
from manyways.experts.mode_ppo import ModePPO, Stretch
from manyways.files import read_json, read_tensors, write_bytes, write_json, write_tensors
from manyways.tasks import DiscreteModes, Task
from manyways.tasks.expert import Expert, Floor
from manyways.tasks.rollouts import roll_out

Floats = NDArray[np.floating[Any]]

_SETTINGS: dict[str, CrossQ | DDPGHER | ModePPO] = {
    "fetch-reach": DDPGHER(),
    "walker2d-vel-6": ModePPO(
        stretches=(Stretch(steps=14_000_000, noise=(0.6, 0.07)),),
        costs=(1.0,) * 6,
        costly_steps=4_000_000,
    ),
    "hopper-vel-6": ModePPO(
        stretches=(
            Stretch(steps=20_000_000),
            Stretch(steps=6_000_000, learning_rate=2e-4, environments=(24, 8, 24, 8, 8, 8), noise=(0.2, 0.07)),
            Stretch(
                steps=8_000_000,
                learning_rate=2.5e-4,
                environments=(36, 8, 28, 8, 8, 8),
                noise=(0.2, 0.07),
                taken_over=((2, 3),),
            ),
        ),
        costs=(1.0,) * 6,
        costly_steps=10_000_000,
    ),
    "humanoid-dir-6": CrossQ(
        gamma=0.99, buffer=1_000_000, averaging=0.9998, constant_updates=520_000, half_life=30_000
    ),
}
"""Of the experts that are not trained as all others are."""

CHECKPOINT = "checkpoint.safetensors"
_PROBE_SEED = 1_000_000  # of the environments, far from those of demonstrations
_EPISODES = 100  # by which an expert is judged, all modes equally often
_SECONDS_BETWEEN_PROBES = 60.0
_PROBES_SHARE = 0.1  # of the time, at most
_SECONDS_BETWEEN_CHECKPOINTS = 300.0


@dataclass(frozen=True)
class Probe:
    """What an expert did over some episodes.

    Attributes:
        scores: (modes,), the mean score of each mode's episodes; one number where modes cannot be listed.
        returns: (modes,), the mean returns.
        returns_std: standard deviation of the return over all episodes.
        reached: whether that is the task's floor.
    """

    scores: Floats
    returns: Floats
    returns_std: float
    reached: bool


def probe(task: Task, act: Callable[[Floats, NDArray[Any]], Floats], episodes: int, seed: int) -> Probe:
    """Run an expert deterministically, each mode in as many episodes as the others.

    Args:
        task: whose floor is asked for.
        act: from observations (n, observation size) and modes (n, ...) to actions (n, action size).
        episodes: how many.
        seed: of the environments.
    """
    floor = task.floor or Floor(np.inf)
    modes = task.modes.spread(episodes)
    environment = task.make_vec(episodes, modes)
    rollouts = roll_out(environment, lambda seen: act(seen, modes), seed)
    environment.close()
    rewards = rollouts.rewards_under(task.modes, modes)
    scores, returns = floor.score(rewards, rollouts.actions), rewards.sum(axis=1)
    listed = isinstance(task.modes, DiscreteModes)
    groups = [modes == mode for mode in range(len(task.modes))] if listed else [np.ones(episodes, dtype=bool)]
    means = np.array([scores[group].mean() for group in groups])
    return Probe(means, np.array([returns[g].mean() for g in groups]), float(returns.std()), floor.reached(means))


def train_expert(
    task: Task,
    path: Path,
    *,
    command: str,
    seed: int = 0,
    hours: float | None = None,
    start_from: Path | None = None,
    on_probe: Callable[[dict[str, Any]], object] = lambda line: None,
) -> Expert:
    """Train until the floor is reached, or for so many hours of work; the best so far is kept in the folder.

    Args:
        task: whose expert is no script.
        path: folder of the training: new, or one to go on with.
        command: how a person would do it again, for the card.
        seed: of everything random.
        start_from: folder of the training of another task that looks the same, such as ant-dir-6 for ant-fwd-back.
        hours: after which to stop, those of earlier calls included; None for as long as it takes.
        on_probe: called with each line of progress.jsonl.

    Raises:
        InputError: the task has a scripted expert; it has no floor and `hours` is not given; or the folder is that of
            another training.
        WriteError: the system refused to write.
    """
    if task.scripted_expert is not None:
        raise InputError(f"{task.name} has a scripted expert; there is nothing to train")
    if task.floor is None and hours is None:
        raise InputError(f"{task.name} has no floor at which to stop; give --hours")
    settings = replace(_SETTINGS.get(task.name, CrossQ()), seed=seed)
    config = {"task": task.name, "settings": settings.to_json(), "start_from": start_from and str(start_from)}
    if (path / "config.json").exists() and read_json(path / "config.json") != config:
        raise InputError(f"{path} is the training of another expert or with other settings; give another folder")
    write_json(path / "config.json", config)
    training = settings.start(task)
    lines = read_progress(path)
    checkpoint = path / CHECKPOINT
    if start_from is not None and not checkpoint.exists():
        training.restore(read_tensors(start_from / CHECKPOINT))
    if checkpoint.exists():
        training.restore(read_tensors(checkpoint))
        # What came after the checkpoint is done again.
        lines = [line for line in lines if line["updates"] <= training.updates]
    best = max((line["score_mean"] for line in lines), default=-np.inf)
    worked = lines[-1]["seconds"] if lines else 0.0
    since = last_probe = last_checkpoint = time.monotonic()
    pause = _SECONDS_BETWEEN_PROBES
    while True:
        training.step()
        now = time.monotonic()
        if now - last_checkpoint > _SECONDS_BETWEEN_CHECKPOINTS:  # probes of long episodes may be further apart
            write_tensors(checkpoint, training.state())
            last_checkpoint = now
        if training.updates == 0 or (now - last_probe < pause and not training.finished):
            continue
        layers = training.layers()
        act = task.with_expert(Expert(layers, {})).expert
        probed = probe(task, act, _EPISODES, _PROBE_SEED)
        if probed.reached:
            # The first of many probes to reach the floor is a lucky one: it counts if fresh episodes say the same.
            probed = probe(task, act, _EPISODES, _PROBE_SEED + _EPISODES + training.updates)
        last_probe = time.monotonic()
        pause = max(_SECONDS_BETWEEN_PROBES, (last_probe - now) / _PROBES_SHARE)
        seconds = worked + now - since
        line = {
            "seconds": round(seconds, 1),
            "steps": training.steps,
            "updates": training.updates,
            "score_mean": float(probed.scores.mean()),
            "scores": probed.scores.round(4).tolist(),
            "return_mean": float(probed.returns.mean()),
            "return_std": probed.returns_std,
            "reached": probed.reached,
        }
        lines.append(line)
        _write_progress(path, lines)
        on_probe(line)
        if line["score_mean"] > best or probed.reached:
            best = line["score_mean"]
            card = {
                "task": task.name,
                "algorithm": type(settings).__name__,
                "environment_steps": training.steps,
                "gradient_steps": training.updates,
                "wall_seconds": round(seconds),
                "episodes": _EPISODES,
                "return_mean": line["return_mean"],
                "return_std": line["return_std"],
                "returns": probed.returns.round(1).tolist(),
                "scores": line["scores"],
                "floor": None if task.floor is None else task.floor.mean,
                "floor_reached": probed.reached,
                "settings": settings.to_json(),
                "command": command,
            }
            Expert(layers, card).save(path, task.name)
        over = probed.reached or training.finished or (hours is not None and seconds > 3600 * hours)
        if over:
            write_tensors(checkpoint, training.state())
            return Expert.load(path, task.name)


def read_progress(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's progress.jsonl, none where there is no such file."""
    file = path / "progress.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _write_progress(path: Path, lines: list[dict[str, Any]]) -> None:
    write_bytes(path / "progress.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
