"""A few labels: how well the modes are found where some trajectories have a label, and modes are unequally frequent.

That is the setting of Ess-InfoGAIL (Fu et al. 2023). The rarest mode has a share of 1 and the most frequent one of 10,
with equal steps in between. Of some trajectories the mode is known: at first one of each mode, in random order, then
others at random. Fewer labels are always among more of them. Agreement is measured on the trajectories that have no
label in any row.

Of a task's demonstrations the policy is also rolled out. Labels fix what a code means, so code k is rewarded as mode k.
Without labels nobody knows that: there, codes are matched to modes afterwards, which favours that row.

A set is a task with a list of modes, or a kind of `benchmarks/mode_sets.py`. The algorithm "groups" is grouping alone;
it may have another value of a constant, which development seeds choose. Finished rows are not computed again.

    python benchmarks/few_labels.py --sets circles "few, turns" --seeds 100 101 102
    python benchmarks/few_labels.py --sets circles --algorithms sog-gail --seeds 100 --shares 0 0.05
    python benchmarks/few_labels.py --algorithms groups --sets "one column" --seeds 0 1 --constants "" _AGAINST=1
"""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

import manyways
import mode_sets
from common import RESULTS, write_result
from manyways.clustering import competition as room
from manyways.clustering import known as known_room
from manyways.clustering.competition import find_groups
from manyways.evaluation import normalized_mutual_information, purity
from manyways.evaluation.evaluate import matched_returns
from manyways.evaluation.rollouts import expert_returns
from manyways.files import read_json
from manyways.runs.provenance import data_fingerprint, provenance
from manyways.tasks import get_task, task_names
from manyways.tasks.rollouts import roll_out
from manyways.tasks.spaces import with_noise, within

LEAST, MOST = 1, 10  # shares of the rarest and of the most frequent mode
KINDS = ("few, turns", "short stretch, any time", "one column", "any heading")  # grouping alone errs on some seeds
TASKS = ("circles", "halfcheetah-fwd-back")
ALGORITHMS = ("sog-bc", "sog-gail", "groups")
CONSTANTS = {"_AGAINST": room, "_TELLING": known_room}

Integers = NDArray[np.int64]
Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        sets: tasks, and names of `mode_sets.SETS`.
        seeds: of the sets and of training; 0 to 9 are for development, 100 to 109 for what is reported.
        shares: of the trajectories that have a label.
        algorithms: sog-bc, on tasks sog-gail, and groups.
        constants: of the algorithm "groups", each NAME=NUMBER, or empty for all as they are.
        trajectories: of each set.
        iterations: of SOG-BC on kinds, gradient steps; on tasks as many as it takes by itself, unless given.
        total_steps: of SOG-GAIL, environment steps.
        episodes: rollouts of all codes together.
        count: whether modes are counted, too, on kinds.
        out: the file of results.
    """

    sets: tuple[str, ...] = (*TASKS, *KINDS)
    seeds: tuple[int, ...] = (100, 101, 102)
    shares: tuple[float, ...] = (0.0, 0.01, 0.02, 0.05)
    algorithms: tuple[str, ...] = ("sog-bc",)
    constants: tuple[str, ...] = ("",)
    trajectories: int = 200
    iterations: int | None = None
    total_steps: int = 300_000
    episodes: int = 30
    count: bool = True
    out: Path = field(default=RESULTS / "few_labels.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it after each row."""
    torch.set_num_threads(1)
    unknown = [name for name in options.sets if name not in (*mode_sets.SETS, *task_names())]
    unknown += [name for name in options.algorithms if name not in ALGORITHMS]
    unknown += [text for text in options.constants if text and text.partition("=")[0] not in CONSTANTS]
    if unknown:
        raise SystemExit(f"there is no set, algorithm or constant {unknown[0]!r}")
    rows: list[Row] = read_json(options.out)["rows"] if options.out.exists() else []
    for name in options.sets:
        for seed in options.seeds:
            cells = [
                {"set": name, "seed": seed, "algorithm": algorithm, "share": share}
                for algorithm in options.algorithms
                for share in options.shares
                if algorithm in ("sog-bc", "groups") or name in task_names()
            ]
            cells = [
                cell | {"constant": constant} if cell["algorithm"] == "groups" else cell
                for cell in cells
                for constant in (options.constants if cell["algorithm"] == "groups" else ("",))
            ]
            cells = [cell for cell in cells if not any(row.items() >= cell.items() for row in rows)]
            if not cells:
                continue
            demonstrations, modes = draw(name, seed, options.trajectories)
            about: Row = {"modes": int(modes.max()) + 1, "trajectories": len(modes)}
            about |= {"data": data_fingerprint(demonstrations)[:16], "commit": provenance()["commit"]}
            for cell in cells:
                rows.append(cell | about | measured(cell, demonstrations, modes, options))
                print(*rows[-1].items(), sep=" ", flush=True)
                write_result(options.out, {"rows": rows}, seeds=sorted({row["seed"] for row in rows}))


def draw(name: str, seed: int, count: int) -> tuple[manyways.Demonstrations, Integers]:
    """Return demonstrations with unequally frequent modes, and the mode of each trajectory."""
    if name in mode_sets.SETS:

        def unequal(rng: np.random.Generator, kinds: Any, _: int) -> Integers:
            return rng.permutation(unbalanced(int(kinds), count))

        with patch.object(mode_sets, "_labels", unequal):
            return mode_sets.SETS[name].draw(seed)
    task, rng = get_task(name), np.random.default_rng(seed)
    modes = rng.permutation(unbalanced(len(task.discrete_modes), count))
    environment = task.make_vec(count, modes)
    space = environment.single_action_space
    actions: list[NDArray[Any]] = []

    def act(observations: Any, info: Any) -> Any:
        actions.append(within(space, task.expert(observations, modes, info)))
        return with_noise(space, actions[-1], task.noise, rng)

    rollouts = roll_out(environment, act, seed)
    environment.close()
    done = np.stack(actions, axis=1)
    # An expert that fails shows nothing.
    good = np.flatnonzero(~rollouts.terminated | (not task.termination_fails))
    pairs = [(rollouts.observations_of(i)[:-1], done[i, : rollouts.lengths[i]]) for i in good]
    return manyways.Demonstrations.from_arrays(pairs), modes[good]


def unbalanced(modes: int, count: int) -> Integers:
    """Return modes whose shares are from 1 to 10, in order, (count,)."""
    shares = np.linspace(LEAST, MOST, modes)
    return np.searchsorted(np.cumsum(shares) / shares.sum(), (np.arange(count) + 0.5) / count).astype(np.int64)


def to_label(modes: Integers, seed: int) -> Integers:
    """Return the trajectories in the order in which they get a label: one of each mode, then any."""
    order = np.random.default_rng((seed, 1)).permutation(len(modes))
    first = np.sort(np.unique(modes[order], return_index=True)[1])
    return np.concatenate([order[first], np.delete(order, first)])


def measured(cell: Row, demonstrations: manyways.Demonstrations, modes: Integers, options: Options) -> Row:
    """Return what a row says beside what it is of."""
    seed, codes = cell["seed"], int(modes.max()) + 1
    order = to_label(modes, seed)
    known = order[: round(cell["share"] * len(modes))]
    if len(known):
        demonstrations = demonstrations.with_labels({str(place): int(modes[place]) for place in known})
    unseen = np.setdiff1d(np.arange(len(modes)), order[: round(max(options.shares) * len(modes))])
    began = time.process_time()
    if cell["algorithm"] == "groups":
        groups = grouped(demonstrations, codes, seed, cell["constant"])
        found: Row = {"labels": len(known), "cpu_seconds": round(time.process_time() - began, 1)}
        return found | agreement(groups[unseen], modes[unseen])
    policy = trained(cell, demonstrations, codes, options)
    found = {"labels": len(known), "cpu_seconds": round(time.process_time() - began, 1)}
    own = policy.losses(demonstrations).argmin(axis=1)
    found |= agreement(own[unseen], modes[unseen])
    if policy.groups is not None:
        groups = policy.groups.relative_nll(policy.encoded(demonstrations)).argmin(axis=1)
        found["groups"] = agreement(groups[unseen], modes[unseen])
    if cell["set"] in task_names():
        return found | returns(policy, cell["set"], seed, options.episodes)
    if options.count:
        counted = manyways.count_modes(demonstrations, seed=seed)
        found |= {"count": counted.best, "sureness": round(counted.sureness, 3)}
    return found


def grouped(demonstrations: manyways.Demonstrations, groups: int, seed: int, constant: str) -> Integers:
    """Return the group of each trajectory, with another value of a constant unless that is empty."""
    name, _, value = constant.partition("=")
    with patch.object(CONSTANTS[name], name, int(value)) if name else nullcontext():
        return find_groups(demonstrations, groups, seed).relative_nll(demonstrations).argmin(axis=1)


def trained(cell: Row, demonstrations: manyways.Demonstrations, codes: int, options: Options) -> Any:
    """Return the policy of a row."""
    prior, seed = manyways.Categorical(codes), cell["seed"]
    if cell["algorithm"] == "sog-bc":
        usual = None if cell["set"] in task_names() else 400
        return manyways.SOGBC(prior=prior, seed=seed, iterations=options.iterations or usual).fit(demonstrations)
    more = {} if options.iterations is None else {"pretraining": options.iterations}
    settings = manyways.SOGGAIL(prior=prior, seed=seed, total_steps=options.total_steps, **more)
    environment = get_task(cell["set"]).make_vec(settings.environments)
    try:
        return settings.fit(demonstrations, environment)
    finally:
        environment.close()


def agreement(codes: Integers, modes: Integers) -> Row:
    """Return how well codes agree with modes; `same` is the share of trajectories whose code is their mode's number."""
    scores = {
        "normalized_mutual_information": normalized_mutual_information(codes, modes),
        "adjusted_rand_index": adjusted_rand_score(modes, codes),
        "purity": purity(codes, modes),
        "same": np.mean(codes == modes),
    }
    return {name: round(float(value), 4) for name, value in scores.items()}


def returns(policy: Any, name: str, seed: int, episodes: int) -> Row:
    """Return the mean return of code k under mode k, of the expert, and of codes matched to modes."""
    task = get_task(name)
    every = task.modes.spread(episodes)
    expert = expert_returns(task, every, seed)
    assert expert is not None
    matched = matched_returns(policy, task, episodes, seed)
    by_mode = np.array([expert[every == mode].mean() for mode in range(len(task.discrete_modes))])
    best = np.zeros(len(by_mode))
    for code, mode in enumerate(matched.assignment):
        assert mode is not None
        best[mode] = matched.matrix[code, mode]
    found = {"returns": np.diag(matched.matrix), "matched_returns": best, "expert_returns": by_mode}
    return {what: np.round(values, 2).tolist() for what, values in found.items()}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
