"""The measurements behind choices that docs/decisions.md states: the optimizer, its precision, the warm-up."""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import tyro

import manyways
from common import RESULTS, demonstrations_of, write_result
from manyways.algorithms.muon import orthogonalize
from manyways.clustering.competition import find_groups
from manyways.evaluation import evaluate, normalized_mutual_information, purity
from manyways.files import read_json
from manyways.tasks import get_task

WARM_UPS = (0.1, 0.3, 0.5, 0.8)
PLANAR = ((5, 20, 0), (5, 20, 1), (12, 10, 0), (12, 10, 1))  # kinds, trajectories a kind, seed
RELATIONS = ((3, 50, 0), (3, 50, 1))


def adam(parameters: Any, learning_rate: float, width: int | None = None) -> torch.optim.Adam:
    """Return Adam in the place of Muon, whose `width` it does not need."""
    return torch.optim.Adam(parameters, learning_rate)


def optimizers(iterations: int, episodes: int) -> dict[str, Any]:
    """Train on Circles with Muon, and with Adam in its place at several learning rates."""
    demonstrations, _ = demonstrations_of("circles")
    result = {}
    for name, rate in (("muon", 5e-3), ("adam", 1e-3), ("adam", 3e-3), ("adam", 1e-2)):
        settings = manyways.SOGBC(prior=manyways.Categorical(3), learning_rate=rate, iterations=iterations)
        with patch("manyways.algorithms.training.Muon", adam) if name == "adam" else patch.dict({}):
            policy = settings.fit(demonstrations)
        returns = evaluate(policy, get_task("circles"), episodes)
        residual = policy.losses(demonstrations).min(axis=1).mean()
        result[f"{name} {rate:g}"] = {"return_mean": round(returns.return_mean, 1), "loss": round(float(residual), 4)}
        print(name, rate, result[f"{name} {rate:g}"])
    return result


def milliseconds_to_orthogonalize(rounds: int) -> dict[str, float]:
    """Time one 128 x 128 matrix in both precisions."""
    matrix = torch.randn(128, 128)
    result = {}
    for name, value in (("float32", matrix), ("bfloat16", matrix.bfloat16())):
        orthogonalize(value)
        began = time.perf_counter()
        for _ in range(rounds):
            orthogonalize(value)
        result[name] = round(1000 * (time.perf_counter() - began) / rounds, 2)
    return result


def precision(rounds: int) -> dict[str, Any]:
    """Time it on this processor, and with what it knows beyond AVX2 switched off."""
    result = {}
    for name, limit in (("this processor", {}), ("limited to AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"})):
        with patch.dict(os.environ, limit), multiprocessing.get_context("spawn").Pool(1) as pool:
            result[name] = pool.apply(milliseconds_to_orthogonalize, (rounds,))
        print(name, result[name])
    return result


def planar_motions(kinds: int, per_kind: int, seed: int) -> tuple[manyways.Demonstrations, np.ndarray]:
    """Return noisy motions in the plane, each kind a curve of its own that starts a little elsewhere every time."""
    rng = np.random.default_rng(seed)
    pairs, labels = [], []
    time_ = np.linspace(0, 1, 75)
    for kind in range(kinds):
        drift, swings, phases = 2 * rng.normal(size=2), rng.normal(size=(2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
        angles = 2 * np.pi * time_[:, None, None] * np.array([1, 2]) + phases  # (steps, coordinates, harmonics)
        curve = drift * time_[:, None] + (swings * np.sin(angles)).sum(axis=-1)
        for _ in range(per_kind):
            start = 0.3 * rng.normal(size=2)
            positions = curve - curve[0] + start + 0.005 * rng.normal(size=curve.shape)
            pairs.append((positions[:-1], 10 * np.diff(positions, axis=0)))
            labels.append(kind)
    return manyways.Demonstrations.from_arrays(pairs), np.array(labels)


def relations(kinds: int, per_kind: int, seed: int) -> tuple[manyways.Demonstrations, np.ndarray]:
    """Return three kinds that differ only in how one of two action numbers answers to one of 18 state numbers."""
    rng = np.random.default_rng(seed)
    labels = np.arange(kinds * per_kind) % kinds
    pairs = []
    for label in labels:
        states = rng.normal(size=(rng.integers(40, 120), 18))
        actions = np.stack([(1, -1, 0)[label] * states[:, 0], np.sin(states[:, 1])], axis=1)
        pairs.append((states, actions + 0.05 * rng.normal(size=actions.shape)))
    return manyways.Demonstrations.from_arrays(pairs), labels


Family = Callable[[int, int, int], tuple[manyways.Demonstrations, np.ndarray]]


def warm_ups(family: Family, sets: Sequence[tuple[int, int, int]], iterations: int) -> list[dict[str, Any]]:
    """Find the kinds of each set after keeping the first codes for different shares of the iterations."""
    result = []
    for kinds, per_kind, seed in sets:
        demonstrations, labels = family(kinds, per_kind, seed)
        found = find_groups(demonstrations, kinds, seed=0).relative_nll(demonstrations).argmin(axis=1)
        row: dict[str, Any] = {"kinds": kinds, "trajectories": len(demonstrations), "seed": seed}
        row["first codes"] = _agreement(found, labels)
        for share in WARM_UPS:
            settings = manyways.SOGBC(prior=manyways.Categorical(kinds), iterations=iterations, warm_up=share)
            policy = settings.fit(demonstrations)
            row[f"warm-up {share:g}"] = _agreement(policy.losses(demonstrations).argmin(axis=1), labels)
        print(row)
        result.append(row)
    return result


def _agreement(codes: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "purity": round(purity(codes, labels), 3),
        "normalized_mutual_information": round(normalized_mutual_information(codes, labels), 3),
    }


def main(
    *,
    only: tuple[str, ...] = (),
    iterations: int = 3000,
    episodes: int = 100,
    rounds: int = 50,
    out: Path = RESULTS / "choices.json",
) -> None:
    """Measure what the result file does not have yet, and write it.

    Args:
        only: which: precision_milliseconds, optimizers_on_circles, warm_up_on_planar_motions, warm_up_on_relations; all
            unless given.
        iterations: of the training on Circles; a third of it on planar motions, half of it on relations.
        episodes: of the evaluation on Circles.
        rounds: of the precision's timing.
        out: the result file.
    """
    result = read_json(out) if out.exists() else {}
    measurements: dict[str, Callable[[], Any]] = {
        "precision_milliseconds": lambda: precision(rounds),
        "optimizers_on_circles": lambda: optimizers(iterations, episodes),
        "warm_up_on_planar_motions": lambda: warm_ups(planar_motions, PLANAR, iterations // 3),
        "warm_up_on_relations": lambda: warm_ups(relations, RELATIONS, iterations // 2),
    }
    for name, measure in measurements.items():
        if name not in result and (not only or name in only):
            result[name] = measure()
            write_result(out, result, seeds=[0, 1])


if __name__ == "__main__":
    tyro.cli(main)
