"""Pictures of trajectories by code, and of what continuous codes achieve."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.files import write_bytes
from manyways.tasks import DiscreteModes, Task
from manyways.tasks.rollouts import Rollouts
from manyways.visual.colours import code_colours

Floats = NDArray[np.floating[Any]]


def paths_by_code(
    groups: Sequence[tuple[str, Sequence[Floats], NDArray[np.int64]]],
    codes: int,
    labels: tuple[str, str],
    names: Sequence[str] | None = None,
    bar: tuple[str, float, float] | None = None,
) -> Figure:
    """Draw paths in the plane in the colours of their codes, as Figure 1's first row: one panel a group.

    Args:
        groups: for each panel its title, its paths (steps, 2) and their codes (paths,).
        codes: how many codes there are.
        labels: of the two axes, with units.
        names: of the codes, for the legend; none at all for no legend.
        bar: where codes are a range, what the colours mean: the quantity, and its lowest and highest value.
    """
    colours = code_colours(codes)
    figure = Figure(figsize=(5.2 * len(groups), 5.0), layout="compressed")
    panels = figure.subplots(1, len(groups), squeeze=False, sharex=True, sharey=True)[0]
    for panel, (title, paths, path_codes) in zip(panels, groups, strict=True):
        alpha = float(np.clip(30 / max(1, len(paths)), 0.25, 0.9))
        for path, code in zip(paths, path_codes, strict=True):
            panel.plot(*np.asarray(path).T, color=colours[code], linewidth=0.8, alpha=alpha)
        panel.set(title=title, xlabel=labels[0], ylabel=labels[1])
        if all(label.endswith("(m)") for label in labels):
            panel.set_aspect("equal")
    if bar is not None:
        scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(*bar[1:]), ListedColormap(colours))
        figure.colorbar(scale, ax=list(panels), label=bar[0], fraction=0.04)
        return figure
    used = sorted({int(code) for *_, path_codes in groups for code in path_codes})
    _legend(figure, used, colours, names, len(groups))
    return figure


def _legend(
    figure: Figure, used: Sequence[int], colours: Sequence[str], names: Sequence[str] | None, panels: int
) -> None:
    """Name the codes that were used below all panels, if there are not too many."""
    if len(used) <= 12 and names != ():
        named = {code: f"code {code}" if names is None else names[code] for code in used}
        handles = [matplotlib.lines.Line2D([], [], color=colours[code], label=named[code]) for code in used]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3 * panels, len(used)), frameon=False)


def codes_and_modes(
    probabilities: Floats, achieved: Floats, spread: Floats, names: Sequence[str], modes: tuple[Floats, Floats]
) -> Figure:
    """Draw what continuous codes achieve, each value over each dimension of the code.

    For a code of one dimension that is Figure 5, with the spread of the value.

    Args:
        probabilities: (episodes, code size), the prior's CDF of the codes.
        achieved: (episodes, values), the mean of each episode.
        spread: (episodes, values), the standard deviation within each.
        names: of each value, with units, for its row of panels.
        modes: the lowest and the highest of the demonstrated ones, (values,).
    """
    size, values = probabilities.shape[1], achieved.shape[1]
    figure = Figure(figsize=(2.6 + 2.6 * size, 1.4 + 2.6 * values), layout="constrained")
    panels = figure.subplots(values, size, squeeze=False, sharex=True, sharey="row")
    for (value, number), panel in np.ndenumerate(panels):
        order = np.argsort(probabilities[:, number])
        x, y = probabilities[order, number], achieved[order, value]
        if size == 1:
            band = spread[order, value]
            panel.fill_between(x, y - band, y + band, color="#0072B2", alpha=0.2, linewidth=0)
        panel.plot(x, y, ".", color="#0072B2", markersize=4)
        for edge in modes:
            panel.axhline(edge[value], color="#333333", linewidth=0.8, linestyle="--")
        if value == values - 1:
            panel.set_xlabel("code" if size == 1 else f"dimension {number} of the code")
        if number == 0:
            panel.set_ylabel(names[value])
        _grid(panel)
    figure.suptitle("over the prior's CDF of the code; dashed: the range of the demonstrated modes", fontsize=9)
    return figure


def expert_modes(task: Task, rollouts: Rollouts, modes: NDArray[Any]) -> Figure:
    """Draw what an expert did under each mode: paths in the plane, or velocity against time, as Figures 1 and 2.

    Args:
        task: whose picture of a trajectory is drawn.
        rollouts: of the expert.
        modes: (episodes, ...), the mode of each.
    """
    drawn = [task.picture.points(rollouts.observations_of(episode)) for episode in range(len(modes))]
    if isinstance(task.modes, DiscreteModes):
        return paths_by_code([(task.name, drawn, modes)], len(task.modes), task.picture.labels, task.modes.names)
    # Colours go from the lowest to the highest of the mode's first number.
    order = np.argsort(np.argsort(modes[:, 0]))
    bar = ((task.modes.labels or (task.modes.name,))[0], float(modes[:, 0].min()), float(modes[:, 0].max()))
    return paths_by_code([(task.name, drawn, order)], len(modes), task.picture.labels, bar=bar)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG.

    Raises:
        InputError: the file's name does not end in .png.
        WriteError: the system refused to write.
    """
    if path.suffix != ".png":
        raise InputError(f"{path} does not end in .png; pictures are written in that format")
    write_bytes(path, png(figure))


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, bbox_inches="tight")
    return buffer.getvalue()


def switched_paths(
    groups: Sequence[tuple[str, Sequence[tuple[Floats, NDArray[np.int64]]]]],
    codes: int,
    labels: tuple[str, str],
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw paths in the plane in the colour of the code that was active at each step, as Figure 6: one panel a policy.

    Args:
        groups: for each panel its title and its paths: points (steps + 1, 2) and the code active at each step (steps,),
            as `Switching.paths` returns them. Dots mark where a code was switched.
        codes: how many codes there are.
        labels: of the two axes, with units.
        names: of the codes, for the legend.
    """
    colours = code_colours(codes)
    figure = Figure(figsize=(5.2 * len(groups), 5.0), layout="compressed")
    panels = figure.subplots(1, len(groups), squeeze=False, sharex=True, sharey=True)[0]
    for panel, (title, paths) in zip(panels, groups, strict=True):
        alpha = float(np.clip(10 / max(1, len(paths)), 0.25, 0.9))
        for points, active in paths:
            switches = np.flatnonzero(np.diff(active)) + 1
            for first, last in zip([0, *switches], [*switches, len(active)], strict=True):
                panel.plot(*points[first : last + 1].T, color=colours[active[first]], linewidth=0.8, alpha=alpha)
            panel.plot(*points[switches].T, ".", color="#333333", markersize=4, zorder=3)
        panel.set(title=title, xlabel=labels[0], ylabel=labels[1])
        if all(label.endswith("(m)") for label in labels):
            panel.set_aspect("equal")
    used = sorted({int(code) for _, paths in groups for _, active in paths for code in active})
    _legend(figure, used, colours, names, len(groups))
    return figure


def _grid(panel: Axes) -> None:
    panel.grid(alpha=0.3, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)
