"""The paper's claims about its figures and tables, each tested on the result files with a 95% confidence interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from manyways.reproduce.experiments import LISTS, Experiment
from manyways.reproduce.paper import TABLE_1, WEIGHTS
from manyways.reproduce.records import Records

Verdict = Literal["holds", "does not hold", "not measured"]
Value = Callable[[dict[str, Any]], float | None]

_CONFIDENCE = 0.95
FIGURE_1 = ("circles", "ant-fwd-back", "ant-dir-6", "humanoid-dir-6")
FIGURE_2 = ("walker2d-vel-6", "hopper-vel-6")
_SWEPT = tuple("sog-gail" if weight == 1 else f"sog-gail-lambda-{weight:g}" for weight in WEIGHTS)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and whether it holds here.

    Attributes:
        where: in the paper, such as "Figure 1".
        text: what the paper says.
        measure: the number that is more than 0 where the claim holds.
        verdict: "holds" where the whole interval is above 0.
        estimate: the number.
        interval: of 95% confidence; None where nothing is measured.
        count: how many pairs, runs or rollouts stand behind it.
    """

    where: str
    text: str
    measure: str
    verdict: Verdict
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval of 95% confidence, of `count` measurements."""

    value: float
    low: float
    high: float
    count: int


def mean(values: Sequence[float]) -> Estimate | None:
    """Return the mean and its interval by Student's t; None of fewer than three values."""
    if len(values) < 3:
        return None
    centre, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1)) * error
    return Estimate(centre, centre - half, centre + half, len(values))


def difference(first: Sequence[float], second: Sequence[float]) -> Estimate | None:
    """Return the difference of two means and its interval by Welch's t; None of fewer than two values each."""
    if min(len(first), len(second)) < 2:
        return None
    centre = float(np.mean(first) - np.mean(second))
    parts = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    freedom = sum(part**2 / (len(v) - 1) for part, v in zip(parts, (first, second), strict=True))
    degrees = sum(parts) ** 2 / freedom if freedom else len(first) + len(second) - 2
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, degrees) * np.sqrt(sum(parts)))
    return Estimate(centre, centre - half, centre + half, len(first) + len(second))


def shares(first: tuple[float, int], second: tuple[float, int]) -> Estimate | None:
    """Return the difference of two shares and its interval by Newcombe's method; each with its number of trials."""
    if not first[1] or not second[1]:
        return None
    (a, low_a, high_a), (b, low_b, high_b) = (_wilson(*each) for each in (first, second))
    low = a - b - float(np.hypot(a - low_a, high_b - b))
    high = a - b + float(np.hypot(high_a - a, b - low_b))
    return Estimate(a - b, low, high, first[1] + second[1])


def _wilson(share: float, trials: int) -> tuple[float, float, float]:
    test = stats.binomtest(round(share * trials), trials).proportion_ci(_CONFIDENCE, method="wilson")
    return share, float(test.low), float(test.high)


def correlation(x: NDArray[Any], y: NDArray[Any], groups: NDArray[Any], seed: int = 0, draws: int = 500) -> Estimate:
    """Return Spearman's correlation and its interval by a bootstrap over groups.

    Args:
        x: (n,).
        y: (n,).
        groups: (n,), which values belong together and are drawn together.
        seed: of the bootstrap.
        draws: of the bootstrap.
    """
    rng, names = np.random.default_rng(seed), np.unique(groups)
    rows = [np.flatnonzero(groups == name) for name in names]
    found = []
    for _ in range(draws):
        drawn = np.concatenate([rows[row] for row in rng.integers(len(rows), size=len(rows))])
        found.append(stats.spearmanr(x[drawn], y[drawn]).statistic)
    low, high = np.quantile(found, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
    return Estimate(float(stats.spearmanr(x, y).statistic), float(low), float(high), len(names))


def claim(where: int | str, text: str, measure: str, found: Estimate | None) -> Claim:
    """Return a claim with its verdict; `where` may be the number of a figure, and `found` None is not measured."""
    where = f"Figure {where}" if isinstance(where, int) else where
    if found is None:
        return Claim(where, text, measure, "not measured")
    verdict: Verdict = "holds" if found.low > 0 else "does not hold"
    return Claim(where, text, measure, verdict, found.value, (found.low, found.high), found.count)


class Results:
    """The results of the paper's lists, by task and row.

    Args:
        records: the result files.
    """

    def __init__(self, records: Records) -> None:
        lists: dict[tuple[str, str], list[Experiment]] = {}
        for make in LISTS.values():
            for each in make():
                group = lists.setdefault((each.task, each.label), [])
                if each not in group:
                    group.append(each)
        found = {place: [records.record(each).result for each in group] for place, group in lists.items()}
        self._found = {place: [result for result in group if result] for place, group in found.items()}

    def of(self, task: str, label: str) -> list[dict[str, Any]]:
        """Return the results of all seeds of a row on a task that are there."""
        return self._found.get((task, label), [])

    def values(self, task: str, label: str, value: Value) -> dict[int, float]:
        """Return a number of each seed's result, where it has one."""
        found = {result["seed"]: value(result) for result in self.of(task, label)}
        return {seed: number for seed, number in found.items() if number is not None}

    def paired(self, tasks: Sequence[str], first: str, second: str, value: Value) -> list[float]:
        """Return the differences of two rows on the same task and seed."""
        pairs = []
        for task in tasks:
            own, other = self.values(task, first, value), self.values(task, second, value)
            pairs += [own[seed] - other[seed] for seed in sorted(set(own) & set(other))]
        return pairs

    def share(self, task: str, label: str, value: Value) -> tuple[float, int]:
        """Return a share over the rollouts of all seeds, and how many rollouts."""
        found = [
            (number, int(result["episodes"]))
            for result in self.of(task, label)
            if (number := value(result)) is not None
        ]
        trials = sum(count for _, count in found)
        return (sum(share * count for share, count in found) / trials if trials else 0.0), trials


def ratio(result: dict[str, Any]) -> float | None:
    """Return a result's return over its expert's."""
    return result["return_mean"] / result["expert_return_mean"] if result.get("expert_return_mean") else None


def disturbed(result: dict[str, Any]) -> float | None:
    """Return a result's return with a fifth of the actions random, over its undisturbed expert's."""
    own = result.get("random_actions")
    return own["return_mean"] / result["expert_return_mean"] if own and result.get("expert_return_mean") else None


def _key(*names: str) -> Value:
    def value(result: Mapping[str, Any]) -> float | None:
        found: Any = result
        for name in names:
            found = (found or {}).get(name)
        return found

    return value


def _band(result: dict[str, Any]) -> float | None:
    spread = result.get("achieved_std")
    return None if spread is None else float(np.mean(spread))


def of_tables(results: Results) -> dict[int, list[Claim]]:
    """Return the claims about Figures 1, 2, 3, 5, 6 and 7, which result files decide."""
    return {
        1: [
            *_modes(
                results, 1, FIGURE_1, "Both SOG-BC and SOG-GAIL precisely separate and imitate the modes; {} fails."
            ),
            claim(
                1,
                "SOG-BC performs slightly more accurately than SOG-GAIL.",
                "share of the expert's return: SOG-BC less SOG-GAIL, by task and seed",
                mean(results.paired(FIGURE_1, "sog-bc", "sog-gail", ratio)),
            ),
        ],
        2: _modes(results, 2, FIGURE_2, "SOG-BC and SOG-GAIL produce the desired velocities; {} is inferior."),
        3: [
            claim(
                3,
                "Compared to the baselines, SOG-BC better reaches different targets.",
                "share of the goals hit: SOG-BC less VAE-GAIL",
                shares(*(results.share("fetch-reach", label, _key("hit_rate")) for label in ("sog-bc", "vae-gail"))),
            ),
            claim(
                3,
                "Compared to the baselines, SOG-BC better reaches different targets.",
                "entropy of the reached points in nats: SOG-BC less InfoGAIL",
                _apart(results, "fetch-reach", "sog-bc", "infogail", _key("entropy_nats")),
            ),
        ],
        5: _velocities(results),
        6: [
            claim(
                6,
                "SOG-GAIL manages to switch between all six directions; SOG-BC often topples over.",
                "share of the switched rollouts that last to the end: SOG-GAIL less SOG-BC",
                shares(
                    *(
                        results.share("ant-dir-6", label, _key("switched_codes", "survived"))
                        for label in ("sog-gail", "sog-bc")
                    )
                ),
            ),
            claim(
                6,
                "SOG-GAIL performs the desired task flawlessly.",
                "return of switched rollouts: SOG-GAIL less SOG-BC",
                _apart(results, "ant-dir-6", "sog-gail", "sog-bc", _key("switched_codes", "return_mean")),
            ),
        ],
        7: _robustness(results),
    }


def of_numbers(results: Results) -> list[Claim]:
    """Return the claims about Tables 1 to 3."""
    text = "SOG-BC performs significantly better than the baselines."
    found = [
        claim(
            "Table 1",
            text,
            f"share of the expert's return: SOG-BC less {name}, by task and seed",
            mean(results.paired(tuple(TABLE_1), "sog-bc", rival, ratio)),
        )
        for rival, name in (("infogail", "InfoGAIL"), ("vae-gail", "VAE-GAIL"))
    ]
    paper = [("sog-bc-paper", "as in the paper"), ("sog-bc", "as it comes")]
    for label, name in paper:
        found.append(
            claim(
                "Table 1",
                "The only exception is HalfCheetah-Dir, where SOG-GAIL performs better.",
                f"share of the expert's return: SOG-GAIL less SOG-BC {name}",
                _apart(results, "halfcheetah-fwd-back", "sog-gail", label, ratio),
            )
        )
    found += [
        claim(
            "Table 2",
            "SOG-BC hits more goals than SOG-GAIL.",
            "share of the goals hit: SOG-BC less SOG-GAIL",
            shares(*(results.share("fetch-reach", label, _key("hit_rate")) for label in ("sog-bc", "sog-gail"))),
        ),
        claim(
            "Table 3",
            "SOG-BC's code says more of the velocity than SOG-GAIL's.",
            "mutual information in nats: SOG-BC less SOG-GAIL",
            _apart(results, "halfcheetah-vel", "sog-bc", "sog-gail", _key("mutual_information_nats")),
        ),
    ]
    return found


def of_appendix(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Claim]:
    """Return the claims of Appendix C about SOG beside EM.

    Args:
        runs: of `em-toy`, by name: the same seeds of each.
    """
    found = []
    for text, measure, epoch in (
        ("SOG has a faster convergence speed.", "loss after epoch 3", 2),
        ("SOG has a lower loss at convergence.", "loss at the end", -1),
    ):
        curves = [[run["loss_by_epoch"] for run in runs[name]] for name in ("em-1", "sog")]
        pairs = [em[epoch] - sog[epoch] for em, sog in zip(*curves, strict=True)]
        found.append(claim("Appendix C", text, f"{measure}: EM's with σ = 1 less SOG's", mean(pairs)))
    return found


def _apart(results: Results, task: str, first: str, second: str, value: Value) -> Estimate | None:
    own, other = (list(results.values(task, label, value).values()) for label in (first, second))
    return difference(own, other)


def _modes(results: Results, figure: int, tasks: Sequence[str], text: str) -> list[Claim]:
    """Return that SOG-BC and SOG-GAIL are better than each rival, on the tasks of a figure."""
    found = []
    for rival, name in (("infogail", "InfoGAIL"), ("vae-gail", "VAE-GAIL")):
        for own, title in (("sog-bc", "SOG-BC"), ("sog-gail", "SOG-GAIL")):
            measure = f"share of the expert's return: {title} less {name}, by task and seed"
            found.append(claim(figure, text.format(name), measure, mean(results.paired(tasks, own, rival, ratio))))
    return found


def _velocities(results: Results) -> list[Claim]:
    """Return that SOG-BC's code says more of the velocity, with a narrower band."""
    task, better = "halfcheetah-vel", "SOG-BC better associates the latent variable to goal velocities."
    own = list(results.values(task, "sog-bc", _key("mutual_information_nats")).values())
    found = []
    for rival, name, key in (
        ("infogail", "InfoGAIL", "mutual_information_nats"),
        ("vae-gail", "VAE-GAIL", "embedded_mutual_information_nats"),
    ):
        other = list(results.values(task, rival, _key(key)).values())
        measure = f"mutual information in nats: SOG-BC less {name}"
        found.append(claim(5, better, measure, difference(own, other)))
        measure = f"standard deviation of the velocity within a rollout: {name}'s less SOG-BC's"
        narrower = _apart(results, task, rival, "sog-bc", _band)
        found.append(claim(5, "SOG-BC produces a narrower error band.", measure, narrower))
    return found


def sweep(results: Results, task: str, value: Value) -> dict[float, list[float]]:
    """Return a number of each seed's result under each λ_S that is measured."""
    found = {w: list(results.values(task, label, value).values()) for w, label in zip(WEIGHTS, _SWEPT, strict=True)}
    return {weight: values for weight, values in found.items() if values}


def slope(swept: Mapping[float, Sequence[float]]) -> Estimate | None:
    """Return how much a number grows with λ_S tenfold, by a regression on its logarithm; None of too few."""
    x = np.log10([weight for weight, values in swept.items() for _ in values])
    y = np.array([value for values in swept.values() for value in values])
    if len(swept) < 3 or len(y) < 4:
        return None
    line = stats.linregress(x, y)
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(y) - 2)) * float(line.stderr)
    return Estimate(float(line.slope), float(line.slope) - half, float(line.slope) + half, len(y))


def _robustness(results: Results) -> list[Claim]:
    """Return the claims about random actions and λ_S, task by task."""
    found = []
    for task in sorted({task for task in TABLE_1 if len(sweep(results, task, disturbed)) > 1}):
        worse = slope(sweep(results, task, disturbed))
        turned = None if worse is None else Estimate(-worse.value, -worse.high, -worse.low, worse.count)
        text = "Under random actions, several of the experiments perform worse at higher values of λ_S."
        found.append(claim(7, text, f"{task}: fall of the disturbed share of the expert, λ_S tenfold", turned))
        better = slope(sweep(results, task, ratio))
        text = "Increasing λ_S improves scores in Table 1 (except for HalfCheetah-Dir)."
        found.append(claim(7, text, f"{task}: growth of the share of the expert, λ_S tenfold", better))
    for task in TABLE_1:
        apart = _apart(results, task, "sog-gail", "sog-bc", disturbed)
        if apart is not None:
            text = "Combination of SOG with GAIL is more robust to perturbations."
            measure = f"{task}: disturbed share of the expert, SOG-GAIL less SOG-BC"
            found.append(claim(7, text, measure, apart))
    return found or [claim(7, "SOG-GAIL is more robust to perturbations.", "share of the expert", None)]
