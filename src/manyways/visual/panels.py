"""Panels of the paper's figures: a grid of paths, arms in space, a quantity over the code with its band."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from manyways.visual.colours import code_colours

Floats = NDArray[np.floating[Any]]
Paths = tuple[Sequence[Floats], NDArray[np.int64], int]
"""Paths (steps, 2), the code of each, and how many codes there are."""

_BLUE = "#0072B2"


def path_grid(
    rows: Sequence[tuple[str, tuple[str, str], Sequence[Paths | None]]], columns: Sequence[str], height: float = 2.6
) -> Figure:
    """Draw paths in the colours of their codes: a row for each task, a column for each policy (Figures 1 and 2).

    Args:
        rows: of each its name, the labels of its axes, and its panels; None for a policy that is not there.
        columns: their names.
        height: of a row, in inches.
    """
    figure = Figure(figsize=(2.7 * len(columns), height * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="row", sharey="row")
    for place, (panels, (name, labels, groups)) in enumerate(zip(grid, rows, strict=True)):
        for panel, column, group in zip(panels, columns, groups, strict=True):
            panel.tick_params(labelsize=7)
            if place == 0:
                panel.set_title(column, fontsize=10)
            if group is None:
                panel.text(0.5, 0.5, "not trained yet", ha="center", va="center", transform=panel.transAxes, fontsize=8)
                continue
            colours = code_colours(group[2])
            for path, code in zip(group[0], group[1], strict=True):
                panel.plot(*np.asarray(path).T, color=colours[code], linewidth=0.8, alpha=0.9)
        panels[0].set_ylabel(f"{name}\n{labels[1]}", fontsize=8)
        for panel in panels:
            panel.set_xlabel(labels[0], fontsize=7)
    return figure


def arms(panels: Sequence[tuple[str, Floats, Floats | None]]) -> Figure:
    """Draw paths of an arm in space, and the targets as blue circles (Figure 3).

    Args:
        panels: of each its title, the paths (paths, steps, 3), and the targets (paths, 3) or None.
    """
    figure = Figure(figsize=(3.6 * len(panels), 3.6), layout="constrained")
    for place, (title, paths, targets) in enumerate(panels, 1):
        panel: Any = figure.add_subplot(1, len(panels), place, projection="3d")
        for path, colour in zip(paths, code_colours(max(8, len(paths))), strict=False):
            panel.plot(*path.T, color=colour, linewidth=0.8)
        if targets is not None:
            panel.scatter(*targets.T, s=18, facecolors="none", edgecolors=_BLUE)
        panel.set_title(title, fontsize=9)
        panel.tick_params(labelsize=6)
    return figure


def sweeps(lines: Sequence[Floats], names: Sequence[str]) -> Figure:
    """Draw the end points as one dimension of the code varies and the others are fixed (Figure 4).

    Args:
        lines: of each dimension, (lines, points, 3).
        names: of the panels.
    """
    figure = Figure(figsize=(3.6 * len(lines), 3.6), layout="constrained")
    for place, (ends, name) in enumerate(zip(lines, names, strict=True), 1):
        panel: Any = figure.add_subplot(1, len(lines), place, projection="3d")
        for line, colour in zip(ends, code_colours(max(8, len(ends))), strict=False):
            panel.plot(*line.T, color=colour, linewidth=1.0, marker=".", markersize=2)
        panel.set_title(name, fontsize=9)
        panel.tick_params(labelsize=6)
    return figure


def bands(panels: Sequence[tuple[str, str, Floats, Floats, Floats]], label: str) -> Figure:
    """Draw a quantity over another, with its standard deviation as a band (Figure 5).

    Args:
        panels: of each its title, the name of the horizontal axis, and x, the mean and the deviation, (episodes,) each.
        label: of the vertical axis.
    """
    figure = Figure(figsize=(3.4 * len(panels), 3.2), layout="constrained")
    for panel, (title, axis, x, y, spread) in zip(
        figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels, strict=True
    ):
        order = np.argsort(x)
        bins = np.array_split(order, min(40, len(order)))  # single rollouts would only hide the band
        at, centre = (np.array([values[some].mean() for some in bins]) for values in (x, y))
        width = np.array([np.sqrt((spread[some] ** 2).mean() + y[some].var()) for some in bins])
        panel.fill_between(at, centre - width, centre + width, color=_BLUE, alpha=0.25, linewidth=0)
        panel.plot(at, centre, color=_BLUE, linewidth=1.2)
        panel.set(title=title, xlabel=axis)
        panel.grid(alpha=0.3, linewidth=0.5)
    figure.axes[0].set_ylabel(label)
    return figure


def weights(panels: Sequence[tuple[str, dict[str, dict[float, list[float]]], dict[str, float]]]) -> Figure:
    """Draw the share of the expert's return over λ_S, with and without random actions (Figure 7).

    Args:
        panels: of each its title, by line the seeds' shares under each weight, and by level those of SOG-BC.
    """
    figure = Figure(figsize=(3.8 * len(panels), 3.2), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (title, lines, levels) in zip(grid, panels, strict=True):
        for (name, swept), style in zip(lines.items(), ("-", "--"), strict=False):
            means = [np.mean(values) for values in swept.values()]
            errors = [np.std(values) for values in swept.values()]
            panel.errorbar(
                list(swept), means, errors, linestyle=style, marker="o", markersize=3, color=_BLUE, label=name
            )
        for (name, level), style in zip(levels.items(), ("-", "--"), strict=False):
            panel.axhline(level, linestyle=style, color="#D55E00", linewidth=1, label=name)
        panel.set(xscale="log", xlabel="λ_S", title=title)
        panel.grid(alpha=0.3, linewidth=0.5)
    grid[0].set_ylabel("share of the expert's return")
    grid[0].legend(frameon=False, fontsize=7)
    return figure
