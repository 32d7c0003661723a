"""What the page shows of demonstrations and of how their codes were found, as JSON for its scripts."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from manyways.clustering.tree import LEVEL
from manyways.demonstrations import Demonstrations
from manyways.demonstrations.differences import clearest_columns, distinguishing, halves
from manyways.demonstrations.suspects import find_suspects
from manyways.demonstrations.vectors import column_names, identities_of, spread
from manyways.latents import Gaussian
from manyways.policies.policy import Policy
from manyways.runs.codes import Codes
from manyways.visual.colours import code_colours

Floats = NDArray[np.floating[Any]]

_DRAWN = 400  # trajectories that are drawn; a browser moves so many lines without a delay
_NUMBERS = 1_000_000  # of all drawn trajectories, 2 bytes each
_POINTS = (12, 160)  # of a trajectory, at least and at most
_COLUMNS = 60  # that can be chosen
_LISTED = 5  # typical trajectories of a mode, and as many of the others
_SUSPECTS = 100  # that are listed
_COMPONENTS = 3
_ALIKE = 0.8  # correlation of two columns that would show about a line
_ROWS = 50_000  # from which the components are measured
_LEVELS = 65_535  # of a number on the page, over the range of its column
_LINES = 400  # of metrics in a chart; more are closer than its pixels
_GAPS = 20  # in a chart
_BANDS = 40  # trajectories in the chart of segments


def contents(policy: Policy, demonstrations: Demonstrations, codes: Codes | None) -> dict[str, Any]:
    """Return what the page shows of demonstrations and their codes; these are None where the policy has none."""
    losses = None if codes is None else codes.encoding.losses
    suspects = find_suspects(demonstrations, losses)
    found: dict[str, Any] = {
        "ids": list(identities_of(demonstrations)),
        "losses": None if losses is None else _rounded(losses),
        "of_the_mean": None if losses is None else policy.uninformed_loss,
        "lengths": demonstrations.lengths.tolist(),
        "attributes": {name: _values(values) for name, values in (demonstrations.attributes or {}).items()},
        "suspects": [[s.trajectory, s.kind, s.score, s.reason] for s in suspects[:_SUSPECTS]],
        "suspects_in_all": len(suspects),
    }
    first: list[int] = [suspect.trajectory for suspect in suspects[:_SUSPECTS]]
    best: list[int] = []
    if codes is not None and codes.codes is not None and codes.losses is not None and codes.losses.shape[1] > 1:
        size = codes.losses.shape[1]
        sorted_ = np.sort(codes.losses, axis=1)
        modes = _modes(demonstrations, codes, codes.codes, size)
        first += [place for mode in modes for place in mode["typical"] + mode["worst"]]
        best = clearest_columns(demonstrations, codes.codes, size)
        margins = _rounded(sorted_[:, 1] - sorted_[:, 0])
        found |= {"codes": codes.codes.tolist(), "margins": margins, "modes": modes, "colours": code_colours(size)}
    elif codes is not None and isinstance(policy.prior, Gaussian):
        found["coordinates"] = [_rounded(column) for column in policy.prior.cdf(codes.encoding.codes).T]
    return found | {"palette": code_colours(7)} | _lines(demonstrations, first, best)


def _modes(demonstrations: Demonstrations, codes: Codes, of_each: NDArray[np.int64], size: int) -> list[dict[str, Any]]:
    """Return of each code what distinguishes its trajectories, which are typical, and how they would be split."""
    losses = codes.encoding.losses
    all_words, all_halves = distinguishing(demonstrations, of_each, size), halves(demonstrations, of_each, size)
    modes = []
    for code, (words, (half, clause)) in enumerate(zip(all_words, all_halves, strict=True)):
        own = np.flatnonzero(of_each == code)
        own = own[np.argsort(losses[own], kind="stable")]
        lists = {"typical": own[:_LISTED].tolist(), "worst": own[::-1][: min(_LISTED, len(own) // 2)].tolist()}
        modes.append({"words": words, "name": codes.names.get(code, ""), "half": half, "clause": clause, **lists})
    return modes


def charts(
    metrics: Sequence[Mapping[str, Any]], counted: Mapping[str, Any] | None, codes: Codes | None
) -> dict[str, Any]:
    """Return what the charts show of how modes were found.

    Args:
        metrics: lines of metrics.jsonl.
        counted: evidence for the number of modes; None where it was not counted.
        codes: of all trajectories; None for a policy without codes.
    """
    cloning = [line for line in metrics if "environment_steps" not in line] or metrics
    updates = [line for line in metrics if "environment_steps" in line]
    checked = [line for line in cloning if "validation_loss" in line]
    found: dict[str, Any] = {
        "loss": {
            "training": _series(cloning, "iteration", "loss"),
            "held out": _series(checked, "iteration", "validation_loss"),
        }
    }
    usage = sorted((name for name in metrics[0] if name.startswith("code_usage/")), key=lambda name: int(name[11:]))
    if any(line.get("code_usage/0") for line in metrics):  # where codes are searched
        found["usage"] = [_series(metrics, "iteration", name) for name in usage]
        found["usage_colours"] = code_colours(len(usage))
    if any("discriminator_accuracy" in line for line in updates):
        names = sorted({name for line in updates for name in line if name.startswith("return/code-")})
        found["updates"] = {
            name: _series([line for line in updates if name in line], "environment_steps", name)
            for name in ["return_mean", *names, "discriminator_accuracy", "code_information"]
        }
    if codes is not None and codes.segments is not None:
        found["segments"] = sorted(codes.segments, key=len, reverse=True)[:_BANDS]
    if counted is not None:
        names = [f"{number}: {split['by']}" for number, split in enumerate(counted["splits"], 2)]
        gaps = zip([*names, "the next"], counted["chances"].values(), strict=True)
        found["gaps"] = [[name, float(-np.log10(max(chance, 1e-300)))] for name, chance in gaps][:_GAPS]
        found |= {"level": float(-np.log10(LEVEL)), "votes": counted["votes"], "best": counted["best"]}
    return found


def _series(lines: Sequence[Mapping[str, Any]], across: str, up: str) -> list[list[float]]:
    """Return two rows of numbers, what is across and what is up, of lines that are evenly far on the chart's axis."""
    evenly = np.geomspace if across == "iteration" else np.linspace
    places = np.unique(evenly(1, max(1, len(lines)), _LINES).astype(np.int64))[: len(lines)] - 1
    kept = [lines[place] for place in places if np.isfinite(lines[place][up])]
    return [[line[across] for line in kept], _rounded(np.array([line[up] for line in kept]))]


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _values(values: NDArray[Any]) -> list[Any]:
    """Return an attribute's values as numbers, or as words, such as True and False."""
    if values.dtype == np.bool_:
        return [str(value) for value in values.tolist()]  # as the tables have them
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = [np.nan]
    return numbers if np.isfinite(numbers).all() else [str(value) for value in values]


def _lines(demonstrations: Demonstrations, first: list[int], best: list[int]) -> dict[str, Any]:
    """Return the drawn trajectories: at some of their steps, all columns that can be chosen.

    Args:
        demonstrations: to draw.
        first: trajectories that must be among the drawn ones.
        best: columns of observations, the best to draw first.
    """
    count = len(demonstrations)
    others = np.random.default_rng(0).permutation(count)
    drawn = np.sort(list(dict.fromkeys([*first, *others.tolist()]))[: max(_DRAWN, len(set(first)))])
    names, take_observations, take_actions = _columns(demonstrations, best)
    project = _components(demonstrations)
    width = len(names) + min(_COMPONENTS, len(spread(demonstrations)[0]))
    points = int(np.clip(_NUMBERS / (len(drawn) * width), *_POINTS))
    rows, steps, ends = [], [], []
    for place in drawn:
        length = int(demonstrations.lengths[place])
        own = np.unique(np.linspace(0, length - 1, min(points, length)).round().astype(np.int64))
        at = demonstrations.starts[place] + own
        seen = demonstrations.vectors(at)
        acted = demonstrations.action_vectors(at)
        rows.append(np.concatenate([seen[:, take_observations], acted[:, take_actions], project(seen)], axis=1))
        steps += own.tolist()
        ends.append(len(steps))
    table = np.concatenate(rows).astype(np.float64)
    low, high = table.min(axis=0), table.max(axis=0)
    levels = np.round((table - low) / np.where(high > low, high - low, 1.0) * _LEVELS).astype("<u2")
    names += [f"component {number + 1}" for number in range(table.shape[1] - len(names))]
    order = [int(np.flatnonzero(take_observations == column)[0]) for column in best if column in take_observations]
    vectors = len(take_observations)
    axes = _axes(table, order or list(range(vectors)))
    return {
        "columns": names,
        "observed": vectors,
        "acted": len(take_actions),
        "left_out": len(spread(demonstrations)[0]) + len(spread(demonstrations)[1]) - vectors - len(take_actions),
        "axes": axes,
        "drawn": drawn.tolist(),
        "ends": ends,
        "steps": steps,
        "low": low.tolist(),
        "high": high.tolist(),
        "points": base64.b64encode(np.ascontiguousarray(levels.T).tobytes()).decode(),
        "sampled": points < int(demonstrations.lengths.max()),
    }


def _axes(table: NDArray[np.float64], order: list[int]) -> list[int]:
    """Return what is across and up at first: the best column, and the next that is no copy of it; -1 is the step."""
    first, *others = order
    for column in others:
        pair = table[:, [first, column]]
        matrix: NDArray[np.float64] = np.cov(pair.T)
        if matrix[0, 1] ** 2 < _ALIKE**2 * matrix[0, 0] * matrix[1, 1]:
            return [first, column]
    return [first, others[0]] if others else [-1, first]


def _columns(demonstrations: Demonstrations, best: list[int]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """Return the names of the columns that can be chosen, and which those are of observations and of actions."""
    taken: list[NDArray[np.int64]] = []
    names: list[str] = []
    for what, deviations in zip(("observations", "actions"), spread(demonstrations), strict=True):
        varying = np.flatnonzero(np.isfinite(deviations))
        if not len(varying):
            varying = np.arange(len(deviations))
        room = _COLUMNS - (len(taken[0]) if taken else min(_COLUMNS // 2, len(spread(demonstrations)[1])))
        if what == "observations" and best:
            ranks = {column: rank for rank, column in enumerate(best)}
            varying = np.sort(np.array(sorted(varying.tolist(), key=lambda column: ranks[column])[:room], np.int64))
        taken.append(varying[:room])
        own = column_names(demonstrations, what)
        names += [own[column] for column in taken[-1]]
    return names, taken[0], taken[1]


def _components(demonstrations: Demonstrations) -> Any:
    """Return what projects observations (n, columns) on their principal components, in units of their spread."""
    rows = np.arange(0, demonstrations.steps, max(1, demonstrations.steps // _ROWS))
    scale = spread(demonstrations)[0]
    vectors = demonstrations.vectors(rows) / scale
    fitted = PCA(min(_COMPONENTS, *vectors.shape), random_state=0).fit(vectors)
    return lambda seen: fitted.transform(seen / scale)
