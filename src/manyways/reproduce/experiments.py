"""The paper's experiments as data: what is trained for Tables 1 to 3 and Figure 7, one `Experiment` a training.

A list can be printed, counted and filtered; `measure` carries one out, `execution` all of them.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from manyways.algorithms import get_algorithm
from manyways.errors import InputError
from manyways.reproduce.paper import ALGORITHMS, TABLE_1, WEIGHTS
from manyways.search.settings import Search

EXPERT = "expert"  # in place of an algorithm: the task's expert itself, which is only rolled out
SEEDS = (0, 1, 2, 3)  # four, as in the paper
STEPS = 1_000_000  # environment steps of a training
PAPER_STEPS = 10_000_000  # of the paper's
PAPER_LABEL = "sog-bc-paper"

# SOG-BC as the paper has it: a random start and the policy's error alone; for ranges also its search, in which every
# candidate is a sample of the prior, one dimension of the code after the other. The candidates race all the same, since
# FetchReach would take hours a run otherwise.
_PAPER: dict[str, Any] = {"init": "random"}
_PAPER_RANGES = _PAPER | {"search": {"near": "prior", "block": 1}}


@dataclass(frozen=True)
class Experiment:
    """One training with its evaluation.

    Attributes:
        task: its name.
        algorithm: its name, or "expert".
        label: the folder of the result, and the row of the table.
        seed: of the training and the rollouts.
        settings: those that are not the algorithm's own; nested ones as a dictionary.
    """

    task: str
    algorithm: str
    label: str
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """Where its run and its result are, in the folders of those."""
        return Path(self.task) / self.label / f"seed-{self.seed}"

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return f"{self.task}, {self.label}, seed {self.seed}"

    def algorithm_settings(self) -> Any:
        """Return the settings to train with; the task says which codes there are.

        Raises:
            InputError: a setting is out of its range, or not one of the algorithm's.
        """
        chosen = get_algorithm(self.algorithm)
        given: dict[str, Any] = (
            {"seed": self.seed} | ({"prior": None} if chosen.has_codes else {}) | dict(self.settings)
        )
        if isinstance(given.get("search"), Mapping):
            given["search"] = Search(**given["search"])
        try:
            return chosen(**given)
        except TypeError as error:
            raise InputError(f"{self.algorithm} cannot have the settings {dict(self.settings)} ({error})") from error

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)

    def train_command(self, folder: Path) -> str:
        """Return the command that trains it alone.

        Args:
            folder: of the run.
        """
        words = ["manyways", "train", self.algorithm, "--task", self.task, "--seed", str(self.seed)]
        nested = self.settings.get("search", {})
        for name, value in {**{k: v for k, v in self.settings.items() if k != "search"}, **nested}.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join([*words, "--out", str(folder)])


def _group(
    tasks: Iterable[str], label: str, settings: Mapping[str, Any] | None = None, name: str = ""
) -> list[Experiment]:
    """Return the experiments of a row on some tasks, all seeds; the algorithm is `name`, or the label."""
    return [Experiment(task, name or label, label, seed, settings or {}) for task in tasks for seed in SEEDS]


def _row(tasks: Sequence[str], paper: Mapping[str, Any]) -> list[Experiment]:
    """Return the experiments of a table: the expert, SOG-BC in both ways, and the three that run environments."""
    found = _group(tasks, EXPERT) + _group(tasks, "sog-bc") + _group(tasks, PAPER_LABEL, paper, "sog-bc")
    for algorithm in ALGORITHMS[1:]:
        found += _group(tasks, algorithm, {"total_steps": STEPS})
    return found


def table1() -> list[Experiment]:
    """Return the trainings of Table 1, and SOG-GAIL's with the paper's budget on two tasks."""
    longer = ("circles", "halfcheetah-fwd-back")
    return _row(tuple(TABLE_1), _PAPER) + _group(longer, "sog-gail-10m", {"total_steps": PAPER_STEPS}, "sog-gail")


def table2() -> list[Experiment]:
    """Return the trainings of Table 2."""
    return _row(("fetch-reach",), _PAPER_RANGES)


def table3() -> list[Experiment]:
    """Return the trainings of Table 3."""
    return _row(("halfcheetah-vel",), _PAPER_RANGES)


def figure7() -> list[Experiment]:
    """Return the trainings of Figure 7: SOG-GAIL under each λ_S, SOG-BC as its limit; λ_S = 1 is Table 1's."""
    tasks = ("circles", "halfcheetah-fwd-back", "ant-dir-6", "walker2d-vel-6")
    found = _group(tasks, "sog-bc")
    for weight in WEIGHTS:
        label = "sog-gail" if weight == 1 else f"sog-gail-lambda-{weight:g}"
        found += _group(
            tasks, label, {"total_steps": STEPS} | ({} if weight == 1 else {"lambda_s": weight}), "sog-gail"
        )
    return found


LISTS = {"table1": table1, "table2": table2, "table3": table3, "figure7": figure7}


def select(
    experiments: Sequence[Experiment],
    tasks: Sequence[str] = (),
    labels: Sequence[str] = (),
    seeds: Sequence[int] = (),
) -> list[Experiment]:
    """Return some experiments, those of one seed before those of the next, so that every cell has a number early.

    Args:
        experiments: to choose from.
        tasks: their tasks; all unless given.
        labels: their rows; all unless given.
        seeds: their seeds; those of the list unless given. Others make experiments that the list does not have.

    Raises:
        InputError: a task or a row is not in the list.
    """
    for what, given, known in (
        ("task", tasks, [each.task for each in experiments]),
        ("row", labels, [each.label for each in experiments]),
    ):
        for name in given:
            if name not in known:
                raise InputError(
                    f"there is no {what} {name!r} in this list; give some of {', '.join(dict.fromkeys(known))}"
                )
    if any(seed < 0 for seed in seeds):
        raise InputError(f"the seeds are {', '.join(map(str, seeds))}; give 0 or more")
    chosen = [
        each for each in experiments if each.task in (tasks or [each.task]) and each.label in (labels or [each.label])
    ]
    rows = [each for each in chosen if each.seed == SEEDS[0]]
    return [replace(row, seed=seed) for seed in seeds or SEEDS for row in rows]
