"""Small, noisy demonstrations of several modes: which settings of SOG-BC act well on them.

Even variants of the families chose the defaults; odd ones are what is reported. The yardstick is plain cloning under
the true modes. Finished cells are not computed again.

    python benchmarks/small_data.py --variants 1 3 5 --counts 30 90 --settings default yardstick bc mdn
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

import manyways
from common import RESULTS, write_result
from families import Arm, Family, Planar, Push
from manyways.files import read_json
from manyways.runs.provenance import data_fingerprint, provenance
from yardstick import yardstick

FAMILIES = {"arm": Arm, "planar": Planar, "push": Push}
SMALL = {"trajectories_per_batch": 16, "steps_per_trajectory": 16}
ADAMW = SMALL | {"optimizer": "adamw"}
RESIDUAL = ADAMW | {"network": "residual", "hidden": 256}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, details": {"details": 8},
    "default, linear": {"linear": True},
    "default, last weights": {"keep": "last"},
    "small network": {"network": "paper"},
    "muon, nothing held out": {"optimizer": "muon", "validation": 0.0},
    "muon": {"optimizer": "muon"},
    "muon, 16 x 16": SMALL | {"optimizer": "muon"},
    "adamw": ADAMW,
    "adamw, linear": ADAMW | {"linear": True},
    "adamw, nothing held out": ADAMW | {"validation": 0.0},
    "adamw, 256 wide": ADAMW | {"hidden": 256},
    "residual": RESIDUAL,
    "residual, linear": RESIDUAL | {"linear": True},
    "adamw, plans of 8": ADAMW | {"history": 2, "horizon": 8},
    "adamw, plans of 16": ADAMW | {"history": 2, "horizon": 16},
    "residual, plans of 16": RESIDUAL | {"history": 2, "horizon": 16},
    "residual, plans of 16, details": RESIDUAL | {"history": 2, "horizon": 16, "details": 8},
    "residual, plans of 16, linear": RESIDUAL | {"history": 2, "horizon": 16, "linear": True},
    "muon, plans of 16": SMALL | {"optimizer": "muon", "history": 2, "horizon": 16},
}
# Arm's nearly constant action taken out of the loss: the most that any rule for such columns can gain.
STEADY_LEFT_OUT = {"default, steady left out": "default", "muon, steady left out": "muon"}
_STEADY = {"arm": 5}  # the action column that hardly varies: a joint's velocity with a tremor of 0.001
RIVALS = {"bc": manyways.BC, "mdn": manyways.MDN, "bet": manyways.BeT, "vq-bet": manyways.VQBeT}
RIVALS |= {"diffusion": manyways.Diffusion}
_FRESH = 50  # demonstrations to measure the held-out loss on
_EPISODES = 100  # for each mode
_ITERATIONS = 3000  # of the yardstick
_MOST_UNEQUAL = 10  # times as many demonstrations of the last mode as of the first


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        families: which.
        variants: even ones to choose, odd ones to report.
        counts: of demonstrations.
        settings: names in `SETTINGS`, `STEADY_LEFT_OUT` and `RIVALS`, and yardstick.
        seeds: of the training and of the demonstrations.
        iterations: gradient steps; those that follow from the data unless given, of the yardstick 3,000.
        unequal: whether the last mode has ten times as many demonstrations as the first.
        episodes: rollouts of each mode.
        out: the file of results.
    """

    families: tuple[str, ...] = ("arm",)
    variants: tuple[int, ...] = (0, 2)
    counts: tuple[int, ...] = (90,)
    settings: tuple[str, ...] = ("yardstick", "muon", "adamw", "residual")
    seeds: tuple[int, ...] = (0,)
    iterations: int | None = None
    unequal: bool = False
    episodes: int = _EPISODES
    out: Path = field(default=RESULTS / "small-data.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it."""
    rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.exists() else []
    for name in options.families:
        for variant in options.variants:
            for count in options.counts:
                for seed in options.seeds:
                    for settings in options.settings:
                        cell = {"family": name, "variant": variant, "count": count, "seed": seed, "settings": settings}
                        cell["unequal"] = options.unequal
                        if any(all(row.get(key, False) == value for key, value in cell.items()) for row in rows):
                            continue
                        found = measure(FAMILIES[name](variant), count, seed, settings, options)
                        rows.append(cell | found | {"commit": provenance()["commit"]})
                        print(rows[-1], flush=True)
                        shown = {row["settings"] for row in rows}
                        settings_shown = {key: SETTINGS.get(STEADY_LEFT_OUT.get(key, key), {}) for key in shown}
                        write_result(
                            options.out,
                            {"rows": rows, "settings": settings_shown},
                            seeds=list(options.seeds),
                            budget={"iterations": options.iterations, "episodes": options.episodes},
                        )


def measure(family: Family, count: int, seed: int, name: str, options: Options) -> dict[str, Any]:
    """Return one cell: success under each mode's code, agreement with the modes, held-out loss, and seconds."""
    shares = np.linspace(1, _MOST_UNEQUAL, family.modes) if options.unequal else None
    demonstrations, labels = family.demonstrations(count, seed, shares)
    if name in RIVALS:
        return without_codes(family, demonstrations, name, seed, options)
    fresh, fresh_labels = family.demonstrations(_FRESH, 10_000 + seed)
    std = demonstrations.actions.std(axis=0)
    given = demonstrations
    if name in STEADY_LEFT_OUT:
        name, given = STEADY_LEFT_OUT[name], _without_steady(demonstrations, _STEADY[family.name])
    began = time.process_time()
    if name == "yardstick":
        model = yardstick(family, demonstrations, labels, seed, options.iterations or _ITERATIONS)
        codes, agreement = np.arange(family.modes), 1.0
        errors = [
            model.with_code(int(label)).predict(fresh[i][0])[0] - fresh[i][1] for i, label in enumerate(fresh_labels)
        ]
        seconds = time.process_time() - began
        policy: Any = model
    else:
        settings = SETTINGS[name] | {"seed": seed} | ({"iterations": options.iterations} if options.iterations else {})
        policy = manyways.SOGBC(prior=manyways.Categorical(family.modes), **settings).fit(given)
        seconds = time.process_time() - began
        found = policy.losses(given).argmin(axis=1)
        together = np.zeros((family.modes, family.modes))
        np.add.at(together, (labels, found), 1)
        _, codes = linear_sum_assignment(-together)
        agreement = float(together[np.arange(family.modes), codes].sum() / count)
        errors = [
            _predictions(policy, int(codes[label]), fresh[i][0]) - fresh[i][1] for i, label in enumerate(fresh_labels)
        ]
    by_column = np.square(np.concatenate(errors).astype(np.float64) / std).mean(axis=0)
    success = family.success(policy, codes, options.episodes, seed)
    return {
        "success": success.round(3).tolist(),
        "agreement": round(agreement, 4),
        "held_out_loss": round(float(by_column.sum()), 4),
        "held_out_by_column": by_column.round(4).tolist(),
        "seconds": round(seconds, 1),
        "data": data_fingerprint(demonstrations)[:16],
    }


def _without_steady(demonstrations: manyways.Demonstrations, column: int) -> manyways.Demonstrations:
    """Return the demonstrations with an action column at its mean, which learning then ignores."""
    actions = demonstrations.actions.copy()
    actions[:, column] = actions[:, column].mean()
    return replace(demonstrations, actions=actions)


def without_codes(
    family: Family, demonstrations: manyways.Demonstrations, name: str, seed: int, options: Options
) -> dict[str, Any]:
    """Return one cell of an algorithm without a code: how often it does any mode rightly, and the share of each."""
    began = time.process_time()
    given = {} if options.iterations is None else {"iterations": options.iterations}
    policy = RIVALS[name](seed=seed, **given).fit(demonstrations)
    seconds = time.process_time() - began
    done = family.modes_done(policy, family.modes * options.episodes, seed)
    return {
        "success": [round(float((done >= 0).mean()), 3)],
        "shares": [round(float((done == mode).mean()), 3) for mode in range(family.modes)],
        "seconds": round(seconds, 1),
        "data": data_fingerprint(demonstrations)[:16],
    }


def _predictions(policy: manyways.Policy, code: int, observations: NDArray[Any]) -> NDArray[Any]:
    """Return what the policy would do at each step of a trajectory, planning anew at each."""
    actions, state = [], None
    chosen = policy.with_code(code)
    memory = chosen.state_size - policy.code(code).size
    for observation in observations:
        if memory and state is not None:
            state = state.copy()
            state[-1] = 0  # nothing waits
        action, state = chosen.predict(observation, state=state, deterministic=True)
        actions.append(action)
    return np.array(actions)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(tyro.cli(Options, description=__doc__))
