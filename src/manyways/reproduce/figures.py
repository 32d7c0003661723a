"""Figures 1 to 7 from saved runs, policies and results, in the paper's layout, with verdicts on the paper's claims."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from manyways.demonstrations import Demonstrations, load_modes
from manyways.errors import InputError
from manyways.evaluation import with_switched_codes
from manyways.evaluation.continuous import after_the_start
from manyways.evaluation.rollouts import FIRST_SEED, roll_out_codes
from manyways.files import write_json
from manyways.latents import Categorical, Gaussian
from manyways.policies.policy import Policy
from manyways.reproduce import claims
from manyways.reproduce.claims import FIGURE_1, FIGURE_2, Claim, Results
from manyways.reproduce.experiments import LISTS
from manyways.reproduce.paper import ALGORITHMS, NAMES, TABLE_1
from manyways.reproduce.records import Records
from manyways.runs.inputs import collected, load_data
from manyways.runs.progress import SILENT
from manyways.runs.run import Run
from manyways.tasks import get_task
from manyways.tasks.rollouts import roll_out_expert
from manyways.visual import panels
from manyways.visual.figures import save, switched_paths

Floats = NDArray[np.floating[Any]]

NUMBERS = (1, 2, 3, 4, 5, 6, 7)
_TITLES = {"sog-bc": "SOG-BC", "sog-gail": "SOG-GAIL", "infogail": "InfoGAIL", "vae-gail": "VAE-GAIL"}
_ARMS = 20  # paths in a panel of Figure 3
_LINES, _POINTS = 4, 15  # of each fixed dimension of Figure 4, and along a line
_REACH, _VELOCITY, _SWITCHED = "fetch-reach", "halfcheetah-vel", "ant-dir-6"


@dataclass(frozen=True)
class Drawn:
    """A figure, and what was found.

    Attributes:
        number: of the figure.
        figure: None where nothing can be drawn yet.
        claims: of the paper about it.
        missing: the commands that make what is missing.
    """

    number: int
    figure: Figure | None
    claims: list[Claim]
    missing: list[str]

    def write(self, folder: Path) -> list[Path]:
        """Write figure-N.png, where there is a figure, and figure-N.json, and return where they are.

        Raises:
            WriteError: the system refused to write.
        """
        from manyways.runs.provenance import provenance

        picture, numbers = (folder / f"figure-{self.number}.{kind}" for kind in ("png", "json"))
        if self.figure is not None:
            save(self.figure, picture)
        found: dict[str, Any] = {"figure": self.number, "picture": picture.name if self.figure is not None else None}
        found |= {"claims": [each.to_json() for each in self.claims], "missing": self.missing}
        write_json(
            numbers, found | {"provenance": provenance(command=f"manyways reproduce figures --only {self.number}")}
        )
        return [numbers] if self.figure is None else [picture, numbers]


class Source:
    """Where figures come from: result files, and the runs of the first seed.

    Args:
        results: folder of the result files.
        runs: folder of the runs.
    """

    def __init__(self, results: Path, runs: Path) -> None:
        self._records = Records(results)
        self.results = Results(self._records)
        self.decided = claims.of_tables(self.results)
        self._runs = runs
        self._missing: dict[str, tuple[list[str], list[str]]] = {}  # of each list, tasks and rows
        self._trainings: list[str] = []

    def policy(self, task: str, label: str) -> Policy | None:
        """Return the policy of a run, or the one beside the results; None, and the command noted, without either."""
        run = self.run(task, label)
        if run is not None and run.has_policy:
            return run.policy()
        kept = self._records.policy(task, label)
        if kept.is_dir():
            return Policy.load(kept)
        self.need(task, label)
        return None

    def run(self, task: str, label: str) -> Run | None:
        """Return a run, None where it is not there."""
        folder = self._runs / task / label / "seed-0"
        return Run.open(folder) if (folder / "config.json").exists() else None

    def embedded(self, task: str, label: str, policy: Policy, count: int) -> tuple[Floats, Floats]:
        """Return codes of a policy's demonstrations, evenly spaced, and their modes, (count, ...) each."""
        run = self.run(task, label)
        if run is not None:
            _, demonstrations, labels = load_data(run, None)
        else:
            path = collected(get_task(task), SILENT)
            demonstrations, labels = Demonstrations.load(path), load_modes(path)
        assert labels is not None
        rows = np.unique(np.linspace(0, len(demonstrations) - 1, count).astype(np.int64))
        return policy.encode(demonstrations.select(rows), seed=0).codes, labels[rows].astype(np.float64)

    def need(self, task: str, label: str) -> None:
        """Note what makes the run and the result of a row on a task."""
        for name, make in LISTS.items():
            found = [each for each in make() if (each.task, each.label) == (task, label)]
            if not found:
                continue
            if self.results.of(task, label):  # the result is there, so only the run is made again
                command = found[0].train_command(self._runs / found[0].place)
                self._trainings += [command] * (command not in self._trainings)
            else:
                for known, one in zip(self._missing.setdefault(name, ([], [])), (task, label), strict=True):
                    known += [one] * (one not in known)
            return

    @property
    def missing(self) -> list[str]:
        """The commands that make what is missing."""
        lists = [
            f"manyways reproduce {name} --tasks {' '.join(tasks)} --algorithms {' '.join(labels)} --seeds 0"
            for name, (tasks, labels) in self._missing.items()
        ]
        return [*lists, *self._trainings]


def draw(number: int, results: Path, runs: Path) -> Drawn:
    """Draw one of the paper's figures.

    Args:
        number: 1 to 7.
        results: folder of the result files.
        runs: folder of the runs.

    Raises:
        InputError: there is no such figure, or a run is damaged.
    """
    if number not in NUMBERS:
        raise InputError(f"there is no figure {number} here; give some of {', '.join(map(str, NUMBERS))}")
    source = Source(results, runs)
    figure, more = _DRAW[number](source)
    return Drawn(number, figure, source.decided.get(number, []) + more, source.missing)


def _paths(source: Source, task: str, each: int) -> list[panels.Paths | None]:
    """Return the rollouts of the four policies on a task, `each` of them under each code."""
    found: list[panels.Paths | None] = []
    declared = get_task(task)
    for label in ALGORITHMS:
        policy = source.policy(task, label)
        if policy is None or not isinstance(policy.prior, Categorical):
            found.append(None)
            continue
        prior = policy.prior
        codes = np.repeat(np.arange(prior.size), each)
        rollouts = roll_out_codes(policy, declared, prior.enumerate()[codes], None, 0, keep_observations=True)
        points = [declared.picture.points(rollouts.observations_of(episode)) for episode in range(len(codes))]
        found.append((points, codes, prior.size))
    return found


def _grid(source: Source, tasks: Sequence[str], each: Callable[[str], int], height: float) -> Figure | None:
    rows = [(NAMES[task], get_task(task).picture.labels, _paths(source, task, each(task))) for task in tasks]
    if all(panel is None for *_, row in rows for panel in row):
        return None
    return panels.path_grid(rows, list(_TITLES.values()), height)


def _figure_1(source: Source) -> tuple[Figure | None, list[Claim]]:
    return _grid(source, FIGURE_1, lambda task: 1 if task == "circles" else 3, 2.6), []


def _figure_2(source: Source) -> tuple[Figure | None, list[Claim]]:
    return _grid(source, FIGURE_2, lambda task: 3, 2.2), []


def _figure_3(source: Source) -> tuple[Figure | None, list[Claim]]:
    task = get_task(_REACH)
    drawn: list[tuple[str, Floats, Floats | None]] = []
    goals = task.modes.sample(_ARMS, np.random.default_rng(0))
    for label in ("sog-bc", "infogail", "vae-gail"):
        policy = source.policy(_REACH, label)
        if policy is None:
            continue
        assert isinstance(policy.prior, Gaussian)
        if label != "infogail":
            codes, targets = source.embedded(_REACH, label, policy, _ARMS)
            paths = roll_out_codes(policy, task, codes, targets, 0).achieved
            assert paths is not None
            drawn.append((f"{_TITLES[label]}, embedded", paths, targets))
        if label != "vae-gail":
            free = policy.prior.sample(_ARMS, np.random.default_rng(0))
            paths = roll_out_codes(policy, task, free, None, 0).achieved
            assert paths is not None
            drawn.append((f"{_TITLES[label]}, codes of the prior", paths, None))
    if not drawn:
        return None, []
    expert = roll_out_expert(task, goals, FIRST_SEED).achieved
    assert expert is not None
    return panels.arms([("expert", expert, goals.astype(np.float64)), *drawn]), []


def _figure_4(source: Source) -> tuple[Figure | None, list[Claim]]:
    text = "A semantically meaningful interpolation in the latent space."
    measure = "rank correlation of the distances of codes and of end points, over sweeps"
    policy, task = source.policy(_REACH, "sog-bc"), get_task(_REACH)
    if policy is None:
        return None, [claims.claim(4, text, measure, None)]
    assert isinstance(policy.prior, Gaussian)
    size = policy.prior.dimension
    fixed, along = (Gaussian(1).grid(count)[:, 0] for count in (_LINES, _POINTS))
    others = np.stack(np.meshgrid(*[fixed] * (size - 1)), axis=-1).reshape(-1, size - 1)  # (lines, size - 1)
    codes = np.empty((size, len(others), _POINTS, size), np.float32)
    for dimension in range(size):
        codes[dimension, ..., dimension] = along
        codes[dimension][..., np.arange(size) != dimension] = others[:, None]
    ends = roll_out_codes(policy, task, codes.reshape(-1, size), None, 0).achieved
    assert ends is not None
    reached = ends[:, -1].reshape(size, len(others), _POINTS, -1)
    first, second = np.triu_indices(_POINTS, 1)
    far, moved = (
        np.linalg.norm(values[:, :, first] - values[:, :, second], axis=-1).reshape(-1, len(first))
        for values in (Gaussian(1).cdf(codes), reached)
    )
    groups = np.repeat(np.arange(len(far)), len(first))
    found = claims.correlation(far.ravel(), moved.ravel(), groups)
    names = [f"dimension {dimension} of the code varies" for dimension in range(size)]
    return panels.sweeps(list(reached), names), [claims.claim(4, text, measure, found)]


def _figure_5(source: Source) -> tuple[Figure | None, list[Claim]]:
    drawn = []
    task = get_task(_VELOCITY)
    policy = source.policy(_VELOCITY, "vae-gail")
    if policy is not None:
        codes, targets = source.embedded(_VELOCITY, "vae-gail", policy, 100)
        achieved = after_the_start(roll_out_codes(policy, task, codes, targets, 0), task)
        means, spread = (np.array([f(values) for values in achieved]) for f in (np.mean, np.std))
        drawn.append(("VAE-GAIL", "velocity of the demonstration (m/s)", targets[:, 0], means, spread))
    for label in ("infogail", "sog-bc"):
        results = source.results.of(_VELOCITY, label)
        if not results:
            source.need(_VELOCITY, label)
            continue
        codes, means, spread = (np.array(results[0][name]) for name in ("codes", "achieved_mean", "achieved_std"))
        x = Gaussian(1).cdf(codes[:, 0])
        drawn.append((_TITLES[label], "CDF of the code", x, means[:, 0], spread[:, 0]))
    return (panels.bands(drawn, "velocity (m/s)") if drawn else None), []


def _figure_6(source: Source) -> tuple[Figure | None, list[Claim]]:
    task, groups = get_task(_SWITCHED), []
    for label in ("sog-bc", "sog-gail"):
        policy, results = source.policy(_SWITCHED, label), source.results.of(_SWITCHED, label)
        if policy is not None and results:
            switching = with_switched_codes(policy, task, results[0]["assignment"], 3, 0)
            groups.append((_TITLES[label], switching.paths(task)))
        elif policy is not None:
            source.need(_SWITCHED, label)
    codes = len(task.discrete_modes)
    return (switched_paths(groups, codes, task.picture.labels) if groups else None), []


def _figure_7(source: Source) -> tuple[Figure | None, list[Claim]]:
    drawn = []
    for task in TABLE_1:
        lines = {
            "SOG-GAIL": claims.sweep(source.results, task, claims.ratio),
            "SOG-GAIL, a fifth of the actions random": claims.sweep(source.results, task, claims.disturbed),
        }
        levels = {}
        for name, value in (("SOG-BC", claims.ratio), ("SOG-BC, a fifth random", claims.disturbed)):
            if seeds := source.results.values(task, "sog-bc", value):
                levels[name] = float(np.mean(list(seeds.values())))
        if all(len(line) > 1 for line in lines.values()):
            drawn.append((NAMES[task], lines, levels))
    for each in LISTS["figure7"]():
        if not source.results.of(each.task, each.label):
            source.need(each.task, each.label)
    return (panels.weights(drawn) if drawn else None), []


_DRAW: dict[int, Callable[[Source], tuple[Figure | None, list[Claim]]]] = {
    1: _figure_1,
    2: _figure_2,
    3: _figure_3,
    4: _figure_4,
    5: _figure_5,
    6: _figure_6,
    7: _figure_7,
}
