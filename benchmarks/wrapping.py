"""A heading that wraps: how often a policy arrives that learns it as a number, and as an angle.

A boat sails west past a buoy, on its north side or on its south side, to a mooring. West is π and -π. The heading is
observed, and the heading to steer is the action, both wrapped. By default the library recognises them as angles.

The rule that recognises them was chosen on the seeds 0 to 5.

    python benchmarks/wrapping.py
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

import manyways
from common import RESULTS, write_result
from manyways.runs.provenance import data_fingerprint

Floats = NDArray[np.floating[Any]]

DECLARED = {"raw": ("none",), "recognised": (), "declared": ("observations.2", "actions.0")}
MOORING, NEAR = np.array([-1.0, 0.0]), 0.15
_STRIDE, _RUDDER, _STEPS = 0.05, 0.4, 120
_ERROR, _PERSISTENCE = 0.15, 0.9  # of the person at the helm


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        counts: of demonstrations.
        seeds: of the demonstrations and of the training.
        iterations: gradient steps; those that follow from the data unless given.
        episodes: rollouts of each mode.
        out: the file of results.
    """

    counts: tuple[int, ...] = (40,)
    seeds: tuple[int, ...] = (10, 11, 12, 13)
    iterations: int | None = None
    episodes: int = 100
    out: Path = field(default=RESULTS / "wrapping.json")


def wrapped(angle: Floats) -> Floats:
    """Return angles from -π to π."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def reset(count: int, rng: np.random.Generator) -> Floats:
    """Return x, y and heading at the start, (count, 3)."""
    places = np.stack([np.full(count, 1.0), rng.uniform(-0.3, 0.3, count)], axis=1)
    return np.concatenate([places, wrapped(np.pi + rng.uniform(-0.3, 0.3, (count, 1)))], axis=1)


def advance(boats: Floats, steered: Floats) -> Floats:
    """Return the boats (n, 3) a step later, after turning towards the headings (n,) by what the rudder allows."""
    heading = boats[:, 2] + np.clip(wrapped(steered - boats[:, 2]), -_RUDDER, _RUDDER)
    moved = boats[:, :2] + _STRIDE * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return np.concatenate([moved, wrapped(heading)[:, None]], axis=1)


def steer(boats: Floats, sides: NDArray[np.int64]) -> Floats:
    """Return the headings of the script, (n,): to a point beside the buoy at the origin, then to the mooring."""
    beside = np.stack([np.zeros(len(boats)), np.where(sides == 0, 0.5, -0.5)], axis=1)
    to = np.where(boats[:, :1] > 0, beside, MOORING) - boats[:, :2]
    return np.arctan2(to[:, 1], to[:, 0])


def demonstrations(count: int, seed: int) -> tuple[manyways.Demonstrations, NDArray[np.int64]]:
    """Return demonstrations and the side of each."""
    rng = np.random.default_rng((seed, 1))
    sides = np.arange(count) % 2
    boats, error, track = reset(count, rng), np.zeros(count), []
    for _ in range(_STEPS):
        error = _PERSISTENCE * error + np.sqrt(1 - _PERSISTENCE**2) * _ERROR * rng.standard_normal(count)
        steered = wrapped(steer(boats, sides) + error)
        track.append((boats, steered[:, None]))
        boats = advance(boats, steered)
    observed, acted = (np.array(part, dtype=np.float32).swapaxes(0, 1) for part in zip(*track, strict=True))
    arrived = np.linalg.norm(observed[..., :2] - MOORING, axis=2) < NEAR
    lengths = np.where(arrived.any(axis=1), arrived.argmax(axis=1), _STEPS)
    return manyways.Demonstrations.from_arrays(
        (o[:n], a[:n]) for o, a, n in zip(observed, acted, lengths, strict=True)
    ), sides


def success(policy: Any, codes: NDArray[np.int64], episodes: int, seed: int) -> Floats:
    """Return the share of episodes under the code of each side that pass the buoy there and arrive, (2,)."""
    shares = []
    for side, code in enumerate(codes):
        boats, state = reset(episodes, np.random.default_rng((seed, 2))), None
        right, arrived = np.ones(episodes, bool), np.zeros(episodes, bool)
        for step in range(_STEPS):
            starts = np.full(episodes, step == 0)
            seen = boats.astype(np.float32)
            steered, state = policy.with_code(int(code)).predict(seen, state, starts, deterministic=True)
            after = advance(boats, steered[:, 0])
            passing = (boats[:, 0] > 0) & (after[:, 0] <= 0)
            right &= ~passing | ((after[:, 1] > 0.2) if side == 0 else (after[:, 1] < -0.2))
            arrived |= np.linalg.norm(after[:, :2] - MOORING, axis=1) < NEAR
            boats = after
        shares.append((right & arrived).mean())
    return np.array(shares)


def main(options: Options) -> None:
    """Measure and write."""
    rows = []
    for count in options.counts:
        for seed in options.seeds:
            data, sides = demonstrations(count, seed)
            for name, angles in DECLARED.items():
                settings = {} if options.iterations is None else {"iterations": options.iterations}
                told = data.with_rotations(angles=angles)
                policy = manyways.SOGBC(prior=manyways.Categorical(2), seed=seed, **settings).fit(told)
                found = policy.losses(told).argmin(axis=1)
                first = int((found == sides).mean() < 0.5)  # the code of the north side
                codes = np.array([first, 1 - first])
                rows.append(
                    {
                        "count": count,
                        "seed": seed,
                        "columns": name,
                        "success": success(policy, codes, options.episodes, seed).round(3).tolist(),
                        "agreement": round(float((codes[sides] == found).mean()), 4),
                        "data": data_fingerprint(data)[:16],
                    }
                )
                print(rows[-1], flush=True)
    about = {"seeds": list(options.seeds), "budget": {"iterations": options.iterations, "episodes": options.episodes}}
    write_result(options.out, {"rows": rows}, **about)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options, description=__doc__))
