"""Trajectories that change their mode at known steps: are the changes found, and none where there are none?

The expert of a task is told another mode at random steps, none, one or two times an episode; or never. In the families
(`benchmarks/families/`) half of the simulated people change their mind before the obstacle. Constants were chosen on
the tasks' demonstrations of seeds 0 and 1; later ones, and the families, are reported. The rivals need
`pip install hmmlearn ruptures`: a Gaussian hidden Markov model of the same steps, and change points (PELT) whose
stretches are then clustered. Finished cells are not computed again.

    python benchmarks/segments.py --tasks circles halfcheetah-fwd-back --seeds 2 3
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import manyways
from common import RESULTS, write_result
from families import Arm, Planar
from manyways.files import read_json
from manyways.runs.provenance import data_fingerprint
from manyways.tasks import get_task
from manyways.tasks.rollouts import roll_out
from manyways.tasks.spaces import with_noise, within

EPISODES = 40
TOLERANCE = 2  # steps, a tenth of a second in the MuJoCo tasks, a fifth in the families
FAMILIES = {"arm": Arm, "planar": Planar}
PEOPLE = 90  # demonstrations of a family
BEFORE = (8, 16)  # steps, in which an arm nears its obstacle
METHODS = ("segments", "one code", "gaussian hmm", "change points")
_COMPONENTS = 8  # of a step, for the rivals
_PENALTIES = (3, 10, 30)  # of a change point, times log(steps); the best for the labels counts, in the rival's favour

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """What to measure.

    Args:
        tasks: with a list of modes; or arm or planar, families.
        seeds: of the demonstrations and the training.
        methods: names in `METHODS`.
        steps: of an episode, at most.
        iterations: gradient steps.
        out: the file of results.
    """

    tasks: tuple[str, ...] = ("circles", "halfcheetah-fwd-back", "ant-fwd-back")
    seeds: tuple[int, ...] = (2,)
    methods: tuple[str, ...] = METHODS
    steps: int = 200
    iterations: int = 3000
    out: Path = field(default=RESULTS / "segments.json")


def main(options: Options) -> None:
    """Measure what is missing, and write it."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = read_json(options.out)["rows"] if options.out.exists() else []
    for task in options.tasks:
        for seed in options.seeds:
            for changing in (True, False):
                if task in FAMILIES:
                    family = FAMILIES[task](2 * seed + 1)
                    count = family.modes
                    demonstrations, each = family.changing(PEOPLE, seed, BEFORE if changing else None)
                    modes = np.concatenate(each)
                else:
                    count = len(get_task(task).discrete_modes.names)
                    demonstrations, modes = demonstrate(task, changing, seed, options.steps)
                for method in options.methods:
                    cell = {"task": task, "seed": seed, "changing": changing, "method": method}
                    if any(row.items() >= cell.items() for row in rows):
                        continue
                    began = time.process_time()
                    path = find(method, demonstrations, modes, count, seed, options)
                    cell |= {"seconds": round(time.process_time() - began, 1)} | scores(path, modes, demonstrations)
                    rows.append(cell | {"data": data_fingerprint(demonstrations)[:16]})
                    print(rows[-1], flush=True)
                    budget = {"iterations": options.iterations, "episodes": EPISODES, "steps": options.steps}
                    write_result(options.out, {"rows": rows}, seeds=list(options.seeds), budget=budget)


def demonstrate(name: str, changing: bool, seed: int, steps: int) -> tuple[manyways.Demonstrations, Integers]:
    """Return demonstrations of the task's expert, and the mode of each of their steps, (steps,)."""
    task, rng = get_task(name), np.random.default_rng(seed)
    count = len(task.discrete_modes.names)
    modes = np.repeat(rng.integers(count, size=EPISODES)[:, None], steps, axis=1)
    for episode in range(EPISODES if changing else 0):
        for _ in range(rng.integers(0, 3)):
            first = rng.integers(steps // 10, steps - steps // 10)
            others = np.delete(np.arange(count), modes[episode, first])
            modes[episode, first:] = rng.choice(others)
    environment = task.make_vec(EPISODES, modes[:, 0])
    actions: list[NDArray[Any]] = []

    def act(observations: Any, info: Any) -> Any:
        now = modes[:, min(len(actions), steps - 1)]
        actions.append(within(environment.single_action_space, task.expert(observations, now, info)))
        return with_noise(environment.single_action_space, actions[-1], task.noise, rng)

    rollouts = roll_out(environment, act, seed)
    environment.close()
    assert rollouts.observations is not None
    lengths, done = np.minimum(rollouts.lengths, steps), np.stack(actions, axis=1)
    pairs = [(rollouts.observations[i, :length], done[i, :length]) for i, length in enumerate(lengths)]
    return manyways.Demonstrations.from_arrays(pairs), np.concatenate([modes[i, :n] for i, n in enumerate(lengths)])


def find(
    method: str, demonstrations: manyways.Demonstrations, modes: Integers, count: int, seed: int, options: Options
) -> Integers:
    """Return the code of each step, (steps,)."""
    if method in ("segments", "one code"):
        settings = manyways.SOGBC(
            prior=manyways.Categorical(count), segments=method == "segments", iterations=options.iterations, seed=seed
        )
        policy = settings.fit(demonstrations)
        if method == "one code":
            return np.repeat(policy.losses(demonstrations).argmin(axis=1), demonstrations.lengths)
        found = [stretch for each in policy.segments(demonstrations) for stretch in each]
        return np.concatenate([np.full(last - first, code) for first, last, code in found])
    steps = np.concatenate([demonstrations.vectors(), demonstrations.action_vectors()], axis=1)
    steps = (steps - steps.mean(axis=0)) / np.maximum(steps.std(axis=0), 1e-9)
    points = PCA(min(_COMPONENTS, steps.shape[1]), random_state=seed).fit_transform(steps)
    if method == "gaussian hmm":
        from hmmlearn.hmm import GaussianHMM

        model = GaussianHMM(count, "full", n_iter=50, random_state=seed).fit(points, demonstrations.lengths)
        return np.asarray(model.predict(points, demonstrations.lengths))
    if method != "change points":
        raise SystemExit(f"there is no method {method!r}; give some of {', '.join(METHODS)}")
    paths = [_by_change_points(points, demonstrations, count, penalty, seed) for penalty in _PENALTIES]
    return max(paths, key=lambda path: scores(path, modes, demonstrations)["agreement"])


def _by_change_points(
    points: NDArray[Any], demonstrations: manyways.Demonstrations, count: int, penalty: float, seed: int
) -> Integers:
    """Return codes (steps,) of the stretches between change points, by k-means of their means."""
    import ruptures

    edges: list[int] = []
    for first, length in zip(demonstrations.starts, demonstrations.lengths, strict=True):
        found = ruptures.KernelCPD("linear", min_size=5).fit(points[first : first + length])
        edges += [int(first) + edge for edge in found.predict(pen=penalty * np.log(length))]
    firsts = np.array([0, *edges[:-1]])
    lengths = np.diff([0, *edges])
    means = np.add.reduceat(points, firsts) / lengths[:, None]
    labels = KMeans(count, n_init=10, random_state=seed).fit(means, sample_weight=lengths).labels_
    return np.repeat(labels, lengths)


def scores(path: Integers, modes: Integers, demonstrations: manyways.Demonstrations) -> dict[str, Any]:
    """Return the agreement of steps, F1 of the changes within the tolerance, and false alarms, as a share.

    False alarms are trajectories without a change that are cut.
    """
    size = max(path.max(), modes.max()) + 1
    together = np.zeros((size, size))
    np.add.at(together, (path, modes), 1)
    agreement = together[linear_sum_assignment(-together)].sum() / len(path)
    found, real = _changes(path, demonstrations), _changes(modes, demonstrations)
    matched = 0
    for mine, theirs in zip(found, real, strict=True):
        free = list(theirs)
        for change in mine:
            near = [other for other in free if abs(other - change) <= TOLERANCE]
            if near:
                free.remove(min(near, key=lambda other: abs(other - change)))
                matched += 1
    counts = sum(map(len, found)), sum(map(len, real))
    unchanged = [bool(mine) for mine, theirs in zip(found, real, strict=True) if not theirs]
    return {
        "agreement": round(float(agreement), 4),
        "changes_found": counts[0],
        "changes": counts[1],
        "f1": round(2 * matched / sum(counts), 4) if counts[1] else None,
        "false_alarms": round(float(np.mean(unchanged)), 4) if unchanged else None,
    }


def _changes(path: Integers, demonstrations: manyways.Demonstrations) -> list[list[int]]:
    return [(np.flatnonzero(np.diff(part)) + 1).tolist() for part in np.split(path, demonstrations.starts[1:])]


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
