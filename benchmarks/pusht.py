"""PushT (Chi et al. 2023): people push a T onto its target; every algorithm that clones, with the same plans.

Needs `pip install gym-pusht 'pymunk<7'` and the demonstrations, 206 episodes of people, as a file of this library. The
score of an episode is its greatest reward, the share of the target that is covered, 1 from 95% on; a score of 1 is a
success. Settings were chosen on the episodes from seed 100000 on (`--first 100000`; `pusht-development.json` has the
rivals'); those from 200000 on are reported. Finished cells are not computed again.

    python benchmarks/pusht.py --data pusht.npz --algorithms "sog-bc, default" "mdn, default" --seeds 0 1 2

With `--policies`, the same trained policies can be scored again where they act otherwise (`--execute`, `--sampled`).
"sog-bc, pictures" sees pictures of 96 x 96 and the agent's place, not the state. The pictures take 0.7 GB, and training
holds them twice.
"""

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium import spaces

import manyways
from common import RESULTS, write_result
from manyways.demonstrations.observations import stack
from manyways.files import read_json
from manyways.runs.provenance import data_fingerprint
from pusht_pictures import drawn, make

CELL = ("algorithm", "seed", "first_episode", "iterations", "hidden", "execute", "sampled")
CHOSEN_ON, REPORTED_ON = 100_000, 200_000
PLANS: dict[str, Any] = {"history": 2, "horizon": 16, "execute": 8, "network": "residual", "optimizer": "adamw"}
PLANS |= {"hidden": 512, "iterations": 8000, "learning_rate": 1e-3, "validation": 0.0}
CODED: dict[str, Any] = PLANS | {"linear": True, "trajectories_per_batch": 64, "steps_per_trajectory": 4}
ONE, CODES = manyways.Categorical(1), manyways.Categorical(4)
ALGORITHMS: dict[str, Any] = {
    "sog-bc, default": lambda more: manyways.SOGBC(prior=ONE, **more),
    "sog-bc, default without details": lambda more: manyways.SOGBC(prior=ONE, details=1, **more),
    "sog-bc, default, 16 x 16": lambda more: manyways.SOGBC(
        prior=ONE, trajectories_per_batch=16, steps_per_trajectory=16, **more
    ),
    "sog-bc, default, history 1": lambda more: manyways.SOGBC(prior=ONE, history=1, **more),
    "sog-bc, 512 wide, 100 passes": lambda more: manyways.SOGBC(
        prior=ONE, **({"network": "residual", "hidden": 512, "iterations": 10_020, "linear": False} | more)
    ),
    "sog-bc": lambda more: manyways.SOGBC(prior=ONE, init="random", **(CODED | {"details": 16} | more)),
    "sog-bc, 4 codes": lambda more: manyways.SOGBC(prior=CODES, **(CODED | {"details": 16} | more)),
    "bc, default": lambda more: manyways.BC(**more),
    "mdn, default": lambda more: manyways.MDN(**more),
    "bet, default": lambda more: manyways.BeT(**more),
    "diffusion, default": lambda more: manyways.Diffusion(**more),
    "sog-bc, pictures": lambda more: manyways.SOGBC(
        prior=ONE, horizon=16, encoder="pusht_pictures:Shifted", **({"trajectories_per_batch": 128} | more)
    ),
    "vq-bet, default": lambda more: manyways.VQBeT(**more),
    "bc": lambda more: manyways.BC(**(CODED | more)),
    "mdn": lambda more: manyways.MDN(**(PLANS | {"steps_per_batch": 256} | more)),
    "bet": lambda more: manyways.BeT(**(PLANS | {"steps_per_batch": 128, "hidden": 128} | more)),
    "diffusion": lambda more: manyways.Diffusion(**(PLANS | {"steps_per_batch": 256} | more)),
}


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        data: the demonstrations.
        algorithms: names in `ALGORITHMS`.
        seeds: of the training.
        episodes: to score.
        first: seed of the first episode.
        iterations: gradient steps; those of the table unless given.
        hidden: width of the networks; that of the table unless given.
        threads: of PyTorch.
        policies: a folder that keeps the trained policies; one that is there is not trained again.
        execute: actions of a plan that are done, each scored; as trained unless given.
        sampled: whether actions are drawn; else the likeliest are done.
        out: the file of results.
    """

    data: Path
    algorithms: tuple[str, ...] = ("sog-bc", "bc")
    seeds: tuple[int, ...] = (0, 1, 2)
    episodes: int = 100
    first: int = REPORTED_ON
    iterations: int | None = None
    hidden: int | None = None
    threads: int = 1
    policies: Path | None = None
    execute: tuple[int, ...] = ()
    sampled: bool = False
    out: Path = field(default=RESULTS / "pusht.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it."""
    torch.set_num_threads(options.threads)
    states = manyways.Demonstrations.load(options.data)
    shown = drawn(states) if any("pictures" in name for name in options.algorithms) else states
    rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.exists() else []
    more = {name: getattr(options, name) for name in ("iterations", "hidden") if getattr(options, name) is not None}
    for seed in options.seeds:
        for name in options.algorithms:
            cell = {"algorithm": name, "seed": seed, "first_episode": options.first, **more}
            if options.sampled:
                cell["sampled"] = True
            wanted = [cell | {"execute": number} for number in options.execute] or [cell]
            missing = [one for one in wanted if not any(_same(row, one) for row in rows)]
            if not missing:
                continue
            demonstrations = shown if "pictures" in name else states
            settings = ALGORITHMS[name](more | {"seed": seed})
            policy, times = trained(settings, demonstrations, options.policies and options.policies / f"{name}, {seed}")
            for one in missing:
                acting = executing(policy, one["execute"]) if "execute" in one else policy
                rows.append(one | score(acting, options.episodes, options.first, options.sampled) | times)
                print(rows[-1], flush=True)
                rows[-1]["settings"] = settings.to_json()
                write_result(
                    options.out,
                    {"rows": rows},
                    seeds=list(options.seeds),
                    budget={"episodes": options.episodes, "threads": options.threads},
                    data=data_fingerprint(states),
                )


def _same(row: dict[str, Any], cell: dict[str, Any]) -> bool:
    """Return whether a row is of this cell."""
    return all(row.get(name) == cell.get(name) for name in CELL)


def trained(
    settings: Any, demonstrations: manyways.Demonstrations, folder: Path | None
) -> tuple[manyways.Policy, dict[str, int]]:
    """Return a policy, and the seconds of its training; those of a kept policy are not known."""
    if folder is not None and folder.exists():
        return manyways.load_policy(folder, encoder=settings.encoder), {}
    began, processor = time.monotonic(), time.process_time()
    policy = settings.fit(demonstrations)
    times = {"seconds": time.monotonic() - began, "processor_seconds": time.process_time() - processor}
    if folder is not None:
        policy.save(folder)
    return policy, {name: round(value) for name, value in times.items()}


def executing(policy: manyways.Policy, actions: int) -> manyways.Policy:
    """Return the policy as it is when it does so many actions of a plan."""
    policy.network.executed = actions
    with tempfile.TemporaryDirectory() as folder:
        policy.save(Path(folder) / "policy")
        return manyways.load_policy(Path(folder) / "policy")


def score(policy: manyways.Policy, episodes: int, first: int, sampled: bool = False) -> dict[str, Any]:
    """Return the mean greatest reward of episodes from this seed on, and the share of successes."""
    pictures = isinstance(policy.observation_space, spaces.Dict)
    environments = [make(pictures) for _ in range(episodes)]
    seen = [_observation(one.reset(seed=first + number)[0]) for number, one in enumerate(environments)]
    greatest, over = np.zeros(episodes), np.zeros(episodes, bool)
    state, steps = None, 0
    while not over.all():
        together = stack(seen)
        actions, state = policy.predict(together, state, np.full(episodes, steps == 0), deterministic=not sampled)
        steps += 1
        for number in np.flatnonzero(~over):
            raw, reward, terminated, truncated, _ = environments[number].step(np.clip(actions[number], 0, 512))
            seen[number] = _observation(raw)
            greatest[number] = max(greatest[number], float(reward))
            over[number] = terminated or truncated
    return {"score": round(float(greatest.mean()), 4), "success": round(float((greatest >= 1 - 1e-6).mean()), 4)}


def _observation(raw: Any) -> Any:
    """Return the agent's place, the block's, and sine and cosine of the block's angle, (6,); or what is shown."""
    if isinstance(raw, dict):
        return raw
    return np.array([*raw[:4], np.sin(raw[4]), np.cos(raw[4])], np.float32)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
