"""The interactive page of a run: every demonstration as a line, modes in words, what to look at, and edits of both."""

import base64
import json
import shlex
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from sklearn.decomposition import PCA

import manyways
from manyways.demonstrations import Demonstrations, Edits
from manyways.demonstrations.differences import clearest_columns, distinguishing
from manyways.demonstrations.suspects import find_suspects
from manyways.demonstrations.vectors import column_names, identities_of, spread
from manyways.errors import InputError
from manyways.files import write_bytes
from manyways.runs import inputs
from manyways.runs.codes import Codes, find_codes
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run
from manyways.visual import figures

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


def explore(
    run: str | Path | Run,
    *,
    data: str | Path | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write explore.html into the run's folder, an interactive page that needs no network, and return its path.

    Args:
        run: finished, of an algorithm with codes.
        data: demonstrations; those of the run unless given.
        progress: receives what is said on the way.

    Raises:
        InputError: the run is not finished or has no codes, a file is damaged, or the extra `explore` is missing.
        WriteError: the system refused to write.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    path = run.path / "explore.html"
    write_bytes(path, page(run, data=data, progress=progress).encode())
    return path


def page(
    run: Run,
    *,
    data: str | Path | None = None,
    served: bool = False,
    live: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Return the page as HTML, see `explore`.

    `served` gives it a button that saves into the run's folder, and `live` the simulator of `Live`.
    """
    plotly = _plotly()
    policy = run.coded_policy()
    _, demonstrations, _ = inputs.load_data(run, data)
    with progress.section("searching the trajectories' codes"):
        codes = find_codes(policy, demonstrations, None)
    with progress.section("looking at the trajectories"):
        content = contents(demonstrations, codes)
    content |= {
        "title": run.title,
        "edits": {} if data is not None else _decided(run, content, progress).to_json(),
        "command": shlex.split(run.config["provenance"]["command"]),
        "of_the_mean": policy.uninformed_loss,
        "served": served,
        "live": live,
    }
    environment = jinja2.Environment(loader=jinja2.PackageLoader("manyways.visual"), autoescape=True)
    parts = {name: Markup(_template(f"explore.{name}")) for name in ("css", "js")}
    return environment.get_template("explore.html.jinja").render(
        title=run.title, version=manyways.__version__, plotly=Markup(plotly), data=Markup(_json(content)), **parts
    )


def _decided(run: Run, content: dict[str, Any], progress: Progress) -> Edits:
    """Return what the page begins with: what it saved in the folder before, or what the run was trained with."""
    path, own = run.path / "edits.json", replace(run.edits, names={})  # the policy has the names
    if not path.exists():
        return own
    try:
        saved = Edits.read(path)
    except InputError as error:
        progress.warn(f"{error}; the page begins without it")
        return own
    codes = dict(zip(content["ids"], content.get("codes", []), strict=False))
    if any(codes.get(name, code) != code for name, code in saved.anchors.items()):
        progress.warn(f"{path} numbers the modes otherwise, since some were merged; the page begins without it")
        return own
    return saved


def _json(value: Any) -> str:
    """Return JSON that can stand in a page: nothing in it ends or begins an element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> str:
    return (resources.files("manyways.visual") / "templates" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return Plotly's JavaScript, which lies in its wheel."""
    try:
        return (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError):
        raise InputError('the page needs Plotly, which is not installed; pip install "manyways[explore]"') from None


def contents(demonstrations: Demonstrations, codes: Codes) -> dict[str, Any]:
    """Return what the page shows of demonstrations and their codes, for JSON."""
    losses = codes.encoding.losses
    suspects = find_suspects(demonstrations, losses)
    found: dict[str, Any] = {
        "ids": list(identities_of(demonstrations)),
        "losses": _rounded(losses),
        "lengths": demonstrations.lengths.tolist(),
        "attributes": {name: _values(values) for name, values in (demonstrations.attributes or {}).items()},
        "suspects": [[s.trajectory, s.kind, s.score, s.reason] for s in suspects[:_SUSPECTS]],
        "suspects_in_all": len(suspects),
    }
    first: list[int] = [suspect.trajectory for suspect in suspects[:_SUSPECTS]]
    best: list[int] = []
    if codes.codes is not None and codes.losses is not None and codes.counts is not None:
        size = len(codes.counts)
        sorted_ = np.sort(codes.losses, axis=1)
        modes = []
        for code, words in enumerate(distinguishing(demonstrations, codes.codes, size)):
            own = np.flatnonzero(codes.codes == code)
            own = own[np.argsort(losses[own], kind="stable")]
            lists = {"typical": own[:_LISTED].tolist(), "worst": own[::-1][: min(_LISTED, len(own) // 2)].tolist()}
            first += lists["typical"] + lists["worst"]
            modes.append({"words": words, "name": codes.names.get(code, ""), **lists})
        best = clearest_columns(demonstrations, codes.codes, size)
        found |= {
            "codes": codes.codes.tolist(),
            "margins": _rounded(sorted_[:, 1] - sorted_[:, 0]) if size > 1 else None,
            "modes": modes,
            "colours": figures.code_colours(size),
        }
    else:
        found |= {"coordinates": [_rounded(column) for column in codes.encoding.codes.T]}
    return found | {"palette": figures.code_colours(7)} | _lines(demonstrations, first, best)


def _rounded(values: Floats) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def _values(values: NDArray[Any]) -> list[Any]:
    """Return an attribute's values as numbers, or as words."""
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
