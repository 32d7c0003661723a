"""How well the kinds of a family of motions are found, and counted: SOG beside clustering whole trajectories."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

import manyways
from common import ROOT, write_result
from manyways.clustering.competition import find_groups
from manyways.demonstrations.synthetic import Motions, relations
from manyways.evaluation import normalized_mutual_information, purity
from manyways.files import read_json

_HARD = {"noise": 0.03, "starts": 0.15, "speeds": 0.15, "cut": 0.25, "shared": 0.4}
SETS: dict[str, Motions | tuple[int, int]] = {
    "plain, 5 x 10": Motions(kinds=5, per_kind=10, noise=0.02),
    "noise, 12 x 10": Motions(kinds=12, per_kind=10, noise=0.1),
    "lengths, 26 x 7": Motions(kinds=26, per_kind=7, noise=0.02, speeds=0.15, cut=0.25),
    "starts, 12 x 10": Motions(kinds=12, per_kind=10, noise=0.02, starts=1.0),
    "imbalance, 12 x 20": Motions(kinds=12, per_kind=20, noise=0.02, imbalance=10),
    "shared, 20 x 10": Motions(kinds=20, per_kind=10, noise=0.02, shared=0.6),
    "all, 8 x 40": Motions(kinds=8, per_kind=40, imbalance=4, **_HARD),
    "all, 26 x 10": Motions(kinds=26, per_kind=10, imbalance=2, **_HARD),
    "all, 50 x 10": Motions(kinds=50, per_kind=10, **_HARD),
    "relation in 18, 3 x 50": (18, 50),
    "relation in 100, 3 x 50": (100, 50),
    "relation in 350, 3 x 50": (350, 50),
}
Method = Callable[[manyways.Demonstrations, int, int], NDArray[np.int64]]


def draw(name: str, seed: int) -> tuple[manyways.Demonstrations, NDArray[np.int64]]:
    chosen = SETS[name]
    return chosen.draw(seed) if isinstance(chosen, Motions) else relations(3, chosen[1], seed, size=chosen[0])


def aligned(demonstrations: manyways.Demonstrations, points: int = 32) -> NDArray[np.float64]:
    """Return every trajectory at evenly spaced points of its time, each column normalised."""
    rows = []
    for observations, actions in demonstrations:
        when = np.linspace(0, len(actions) - 1, points)
        columns = np.concatenate([observations, actions], axis=1).T
        rows.append(np.stack([np.interp(when, np.arange(len(actions)), column) for column in columns], axis=1))
    values = np.array(rows)
    return ((values - values.mean(axis=(0, 1))) / (values.std(axis=(0, 1)) + 1e-9)).reshape(len(values), -1)


def embedded(demonstrations: manyways.Demonstrations, seed: int, features: int = 512) -> NDArray[np.float64]:
    """Return every trajectory's kernel mean embedding of its normalised pairs, the bandwidth their median distance."""
    rng = np.random.default_rng(seed)
    pairs = np.concatenate([demonstrations.observations, demonstrations.actions], axis=1).astype(np.float64)
    pairs = (pairs - pairs.mean(axis=0)) / pairs.std(axis=0)
    bandwidth = np.median(pdist(pairs[rng.choice(len(pairs), min(1000, len(pairs)), replace=False)]))
    angles = pairs @ (rng.standard_normal((pairs.shape[1], features)) / bandwidth)
    values = np.cos(angles + rng.uniform(0, 2 * np.pi, features))
    return np.add.reduceat(values, demonstrations.starts) / demonstrations.lengths[:, None]


def mixture(points: NDArray[np.float64], kinds: int, seed: int) -> NDArray[np.int64]:
    points = PCA(min(10, len(points) - 1), random_state=seed).fit_transform(points)
    model = GaussianMixture(kinds, covariance_type="diag", reg_covar=1e-3 * points.var(), n_init=3, random_state=seed)
    return model.fit_predict(points)


CLUSTERINGS: dict[str, Method] = {
    "k-means, aligned": lambda data, kinds, seed: KMeans(kinds, n_init=10, random_state=seed).fit_predict(
        aligned(data)
    ),
    "Gaussian mixture, aligned": lambda data, kinds, seed: mixture(aligned(data), kinds, seed),
    "k-means, kernel mean embedding": lambda data, kinds, seed: KMeans(kinds, n_init=10, random_state=seed).fit_predict(
        embedded(data, seed)
    ),
    "groups": lambda data, kinds, seed: find_groups(data, kinds, seed).relative_nll(data).argmin(axis=1),
}


def sog(first: str, iterations: int) -> Method:
    """Return SOG-BC from this start as a method of finding kinds."""

    def find(demonstrations: manyways.Demonstrations, kinds: int, seed: int) -> NDArray[np.int64]:
        settings = manyways.SOGBC(
            prior=manyways.Categorical(kinds),
            init=first,  # type: ignore[arg-type]
            seed=seed,
            iterations=iterations,
        )
        return settings.fit(demonstrations).losses(demonstrations).argmin(axis=1)

    return find


def measure(name: str, method: Method, seed: int) -> dict[str, float]:
    demonstrations, kinds = draw(name, seed)
    began = time.process_time()
    codes = method(demonstrations, int(kinds.max()) + 1, seed)
    return {
        "purity": round(purity(codes, kinds), 4),
        "normalized_mutual_information": round(normalized_mutual_information(codes, kinds), 4),
        "cpu_seconds": round(time.process_time() - began, 2),
    }


def count(name: str, seed: int) -> dict[str, Any]:
    demonstrations, kinds = draw(name, seed)
    return {"true": int(kinds.max()) + 1} | manyways.count_modes(demonstrations, seed=seed).to_json()


def figure(results: dict[str, dict[str, dict[str, Any]]]) -> Figure:
    """Draw each set's normalised mutual information: a dot a seed, a line at the median."""
    methods = [name for name in results if name != "count" and any(results[name].values())]
    drawing = Figure(figsize=(12, 5.5), layout="constrained")
    panel = drawing.subplots()
    for place, method in enumerate(methods):
        colour = f"C{place}"
        for row, name in enumerate(SETS):
            scores = [line["normalized_mutual_information"] for line in results[method].get(name, {}).values()]
            x = row + (place - (len(methods) - 1) / 2) * 0.8 / len(methods)
            panel.plot([x] * len(scores), scores, "o", color=colour, markersize=3, alpha=0.6)
            if scores:
                panel.plot([x - 0.05, x + 0.05], [np.median(scores)] * 2, color=colour, linewidth=2)
        panel.plot([], [], "o", color=colour, label=method)
    labels = [name.replace("relation in ", "relation\nin ").replace(", ", "\n") for name in SETS]
    panel.set_xticks(range(len(SETS)), labels, fontsize=8)
    panel.set(ylabel="normalised mutual information with the kinds", ylim=(-0.03, 1.03))
    panel.grid(axis="y", alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    drawing.legend(loc="outside upper center", ncols=len(methods), frameon=False, fontsize=8)
    return drawing


def main(
    sets: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    seeds: int = 10,
    iterations: int = 0,
    starts: tuple[str, ...] = ("clusters",),
    counting: tuple[int, ...] = (),
    out: Path = ROOT / "results" / "motions",
    picture: Path = ROOT / "docs" / "motions.png",
) -> None:
    """Measure what the result files do not have yet.

    Args:
        sets: names; all unless given.
        seeds: how many, from 0 on, each of the set and of the method.
        iterations: of SOG-BC; 0 leaves it out.
        starts: of SOG-BC, its `init`.
        counting: seeds of sets whose kinds are counted, too.
        out: folder of the result files.
        picture: where all results are drawn.
    """
    methods: dict[str, Callable[[str, int], dict[str, Any]]] = {
        name: lambda chosen, seed, method=method: measure(chosen, method, seed) for name, method in CLUSTERINGS.items()
    }
    if iterations:
        for start in starts:
            found = sog(start, iterations)
            methods[f"SOG-BC, {start}, {iterations} iterations"] = lambda chosen, seed, found=found: measure(
                chosen, found, seed
            )
    methods["count"] = count
    for name in sets or SETS:
        file = out / f"{name.replace(', ', '-').replace(' ', '')}.json"
        result: dict[str, dict[str, Any]] = read_json(file) if file.exists() else {}
        for method, run in methods.items():
            lines = result.setdefault(method, {})
            for seed in counting if method == "count" else range(seeds):
                if str(seed) not in lines:
                    lines[str(seed)] = run(name, seed)
                    measured = {int(each) for kept in methods for each in result.get(kept, {})}
                    write_result(file, result, seeds=sorted(measured))
        scores = {
            method: np.mean([line["normalized_mutual_information"] for line in lines.values()])
            for method, lines in result.items()
            if method not in ("count", "provenance") and lines
        }
        counted = [f"{line['best']} of {line['true']}" for line in result["count"].values()]
        print(name, *(f"{method} {score:.3f}" for method, score in scores.items()), *counted, sep=" | ", flush=True)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for name in SETS:
        file = out / f"{name.replace(', ', '-').replace(' ', '')}.json"
        for method, lines in (read_json(file) if file.exists() else {}).items():
            results.setdefault(method, {})[name] = lines
    results.pop("provenance", None)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure(results).savefig(picture, dpi=110)


if __name__ == "__main__":
    tyro.cli(main)
