"""Training of a task's expert: one policy with the mode as an input, until it reaches the task's target return.

The run's folder has the whole state, so that the same command continues after an interruption.
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
from manyways.experts.mode_ppo import ModePPO, Phase
from manyways.files import read_json, read_tensors, write_bytes, write_json, write_tensors
from manyways.tasks import DiscreteModes, Task
from manyways.tasks.expert import Expert, TargetReturn
from manyways.tasks.rollouts import roll_out_expert

Floats = NDArray[np.floating[Any]]

_SETTINGS: dict[str, CrossQ | ModePPO] = {
    "walker2d-vel-6": ModePPO(
        phases=(Phase(steps=14_000_000, noise=(0.6, 0.07)),),
        costs=(1.0,) * 6,
        costly_steps=4_000_000,
    ),
    "hopper-vel-6": ModePPO(
        phases=(
            Phase(steps=20_000_000),
            Phase(steps=6_000_000, learning_rate=2e-4, environments=(24, 8, 24, 8, 8, 8), noise=(0.2, 0.07)),
            Phase(
                steps=8_000_000,
                learning_rate=2.5e-4,
                environments=(36, 8, 28, 8, 8, 8),
                noise=(0.2, 0.07),
                copy_mode=((2, 3),),
            ),
        ),
        costs=(1.0,) * 6,
        costly_steps=10_000_000,
    ),
    "humanoid-dir-6": CrossQ(
        gamma=0.99, buffer=1_000_000, averaging=0.9998, constant_updates=520_000, half_life=30_000
    ),
}
"""Settings of the experts; `CrossQ()` for the others."""

CHECKPOINT = "checkpoint.safetensors"
_EVALUATION_SEED = 1_000_000  # of the environments, far from those of demonstrations
_EPISODES = 100  # of an evaluation, all modes equally often
_SECONDS_BETWEEN_EVALUATIONS = 60.0
_EVALUATIONS_SHARE = 0.1  # of the time, at most
_SECONDS_BETWEEN_CHECKPOINTS = 300.0


@dataclass(frozen=True)
class ExpertEvaluation:
    """The scores of an expert over some episodes.

    Attributes:
        scores: (modes,), the mean score of each mode's episodes; (1,) for continuous modes.
        returns: (modes,), the mean returns.
        returns_std: standard deviation of the return over all episodes.
        reached: whether they reach the task's target.
    """

    scores: Floats
    returns: Floats
    returns_std: float
    reached: bool


def evaluate_expert(task: Task, episodes: int, seed: int) -> ExpertEvaluation:
    """Run the task's expert without noise, in equally many episodes for each mode.

    Args:
        task: with an expert; its target defines the score, the return by default.
        episodes: how many.
        seed: of the environments.

    Raises:
        InputError: the task has no expert.
    """
    target = task.target_return or TargetReturn(np.inf)
    modes = task.modes.spread(episodes)
    rollouts = roll_out_expert(task, modes, seed)
    rewards = rollouts.rewards_under(task.modes, modes)
    scores, returns = target.score(rewards, rollouts.actions), rewards.sum(axis=1)
    listed = isinstance(task.modes, DiscreteModes)
    groups = [modes == mode for mode in range(len(task.modes))] if listed else [np.ones(episodes, dtype=bool)]
    means = np.array([scores[group].mean() for group in groups])
    by_mode = np.array([returns[group].mean() for group in groups])
    return ExpertEvaluation(means, by_mode, float(returns.std()), target.reached(means))


def train_expert(
    task: Task,
    path: Path,
    *,
    command: str,
    seed: int = 0,
    hours: float | None = None,
    start_from: Path | None = None,
    on_evaluation: Callable[[dict[str, Any]], object] = lambda line: None,
) -> Expert:
    """Train until the target is reached, or for some hours; the folder has the best expert so far.

    Args:
        task: without a scripted expert.
        path: folder of the training: a new one, or one to continue.
        command: to repeat the training, for the card.
        seed: of everything random.
        start_from: folder of the training for another task with the same inputs, such as ant-dir-6 for ant-fwd-back.
        hours: of all calls together, after which to stop; None for no limit.
        on_evaluation: called with each line of progress.jsonl.

    Raises:
        InputError: the task has a scripted expert; there is neither a target nor `hours`; or the folder has another
            training.
        WriteError: the system refused to write.
    """
    if task.scripted_expert is not None:
        raise InputError(f"{task.name} has a scripted expert; there is nothing to train")
    if task.target_return is None and hours is None:
        raise InputError(f"{task.name} has no target_return at which to stop; declare one, or give --hours")
    settings = replace(_SETTINGS.get(task.name, CrossQ()), seed=seed)
    config = {"task": task.name, "settings": settings.to_json(), "start_from": start_from and str(start_from)}
    if (path / "config.json").exists() and read_json(path / "config.json") != config:
        raise InputError(f"{path} is the training of another expert or with other settings; give another folder")
    write_json(path / "config.json", config)
    training = settings.start(task)
    lines = read_progress(path)
    checkpoint = path / CHECKPOINT
    if start_from is not None and not checkpoint.exists():
        training.load_state_dict(read_tensors(start_from / CHECKPOINT))
    if checkpoint.exists():
        training.load_state_dict(read_tensors(checkpoint))
        # Training after the checkpoint is repeated.
        lines = [line for line in lines if line["updates"] <= training.updates]
    best = max((line["score_mean"] for line in lines), default=-np.inf)
    worked = lines[-1]["seconds"] if lines else 0.0
    since = last_evaluation = last_checkpoint = time.monotonic()
    pause = _SECONDS_BETWEEN_EVALUATIONS
    while True:
        training.step()
        now = time.monotonic()
        if now - last_checkpoint > _SECONDS_BETWEEN_CHECKPOINTS:  # evaluations of long episodes may be further apart
            write_tensors(checkpoint, training.state_dict())
            last_checkpoint = now
        if training.updates == 0 or (now - last_evaluation < pause and not training.finished):
            continue
        layers = training.layers()
        trained = task.with_expert(Expert(layers, {}))
        evaluation = evaluate_expert(trained, _EPISODES, _EVALUATION_SEED)
        if evaluation.reached:
            # The first of many evaluations to reach the target may be luck: it counts if new episodes agree.
            evaluation = evaluate_expert(trained, _EPISODES, _EVALUATION_SEED + _EPISODES + training.updates)
        last_evaluation = time.monotonic()
        pause = max(_SECONDS_BETWEEN_EVALUATIONS, (last_evaluation - now) / _EVALUATIONS_SHARE)
        seconds = worked + now - since
        line = {
            "seconds": round(seconds, 1),
            "steps": training.steps,
            "updates": training.updates,
            "score_mean": float(evaluation.scores.mean()),
            "scores": evaluation.scores.round(4).tolist(),
            "return_mean": float(evaluation.returns.mean()),
            "return_std": evaluation.returns_std,
            "reached": evaluation.reached,
        }
        lines.append(line)
        _write_progress(path, lines)
        on_evaluation(line)
        if line["score_mean"] > best or evaluation.reached:
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
                "returns": evaluation.returns.round(1).tolist(),
                "scores": line["scores"],
                "target_return": None if task.target_return is None else task.target_return.mean,
                "target_reached": evaluation.reached,
                "settings": settings.to_json(),
                "command": command,
            }
            Expert(layers, card).save(path, task.name)
        over = evaluation.reached or training.finished or (hours is not None and seconds > 3600 * hours)
        if over:
            write_tensors(checkpoint, training.state_dict())
            return Expert.load(path, task.name)


def read_progress(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a training's progress.jsonl; none without the file."""
    file = path / "progress.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _write_progress(path: Path, lines: list[dict[str, Any]]) -> None:
    write_bytes(path / "progress.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
