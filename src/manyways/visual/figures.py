"""Pictures of what was found: trajectories by code, the loss, and how codes came to share the trajectories."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from manyways.clustering.tree import LEVEL
from manyways.errors import InputError
from manyways.files import write_bytes
from manyways.tasks import DiscreteModes, Task
from manyways.tasks.rollouts import Rollouts

Floats = NDArray[np.floating[Any]]

# Okabe and Ito's colours, which people with colour-blindness can tell apart.
_MOST_GAPS = 20
_FEW_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

_BANDS = 40  # trajectories in a picture of segments


def code_colours(codes: int) -> list[str]:
    """Return a colour for each code, the same in every picture."""
    if codes <= len(_FEW_COLOURS):
        return list(_FEW_COLOURS[:codes])
    return [to_hex(matplotlib.colormaps["turbo"](x)) for x in np.linspace(0.02, 0.98, codes)]


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


def segment_bands(segments: Sequence[Sequence[tuple[int, int, int]]], codes: int) -> Figure:
    """Draw each trajectory as a band over its steps, in the colours of its codes, those with changes first.

    Args:
        segments: of each trajectory: first step, the step after the last, code.
        codes: how many codes there are.
    """
    shown = sorted(segments, key=len, reverse=True)[:_BANDS]
    colours = code_colours(codes)
    figure = Figure(figsize=(9.0, 0.8 + 0.14 * len(shown)), layout="constrained")
    panel = figure.subplots()
    for row, stretches in enumerate(shown):
        for first, last, code in stretches:
            panel.barh(row, last - first, left=first, height=0.8, color=colours[code])
    panel.set(xlabel="step", ylabel=f"{len(shown)} of {len(segments)} trajectories", yticks=[])
    panel.invert_yaxis()
    panel.margins(0)
    return figure


def mode_count(votes: dict[int, float], gaps: list[tuple[str, float]], best: int) -> Figure:
    """Draw the evidence for the number of modes.

    Args:
        votes: for each number that a part of the trajectories gave, by what share of the parts.
        gaps: the name of each gap between modes, the surest first, and the chance of one as sure if there were none.
        best: the number that was chosen.
    """
    gaps = gaps[:_MOST_GAPS]
    figure = Figure(figsize=(9.0, max(2.6, 0.9 + 0.25 * len(gaps))), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    sureness = [-np.log10(max(chance, 1e-300)) for _, chance in gaps]
    colours = [_FEW_COLOURS[0] if chance < LEVEL else "#bbbbbb" for _, chance in gaps]
    left.barh(range(len(gaps)), sureness, color=colours)
    left.set_yticks(range(len(gaps)), [name for name, _ in gaps])
    left.invert_yaxis()
    left.axvline(-np.log10(LEVEL), color="#888888", linestyle=":", linewidth=1)
    left.set_xscale("symlog", linthresh=1)
    left.set(title="gaps that tell modes apart", xlabel="-log10 of their chance in one mode")
    names = [str(number) for number in votes]
    colours = [_FEW_COLOURS[0] if number == best else "#bbbbbb" for number in votes]
    right.bar(names, [100 * share for share in votes.values()], color=colours)
    right.set(title="what parts of the data say", xlabel="modes", ylabel="parts (%)", ylim=(0, 100))
    return figure


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


def adversarial_curves(metrics: Sequence[dict[str, Any]]) -> Figure:
    """Draw over the environment steps what the policy returns, and whether discriminator and code still say anything.

    Args:
        metrics: of a run of an adversarial algorithm; lines without environment steps are left out.
    """
    updates = [line for line in metrics if "environment_steps" in line]
    figure = Figure(figsize=(10.4, 3.6), layout="constrained")
    returns, accuracy, information = figure.subplots(1, 3)
    lines = [line for line in updates if "return_mean" in line]
    names = sorted({name for line in lines for name in line if name.startswith("return/code-")})
    for name, colour in zip(names, code_colours(max(1, len(names))), strict=False):
        own = [line for line in lines if name in line]
        returns.plot(*_over_steps(own, name), color=colour, linewidth=0.8, alpha=0.7)
    returns.plot(*_over_steps(lines, "return_mean"), color="#333333", linewidth=1.6)
    returns.set(ylabel="return: mean, and each code")
    accuracy.plot(*_over_steps(updates, "discriminator_accuracy"), color="#333333", linewidth=1.2)
    accuracy.set(ylabel="accuracy of the discriminator", ylim=(0.4, 1.02))
    lines = [line for line in updates if "code_information" in line]
    information.plot(*_over_steps(lines, "code_information"), color="#333333", linewidth=1.2)
    information.set(ylabel="the action's information on the code (nats)")
    information.set_ylim(bottom=min(0.0, *information.get_ylim()))
    for panel in (returns, accuracy, information):
        panel.set(xlabel="environment steps")
        panel.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
        _grid(panel)
    return figure


def _over_steps(lines: Sequence[dict[str, Any]], name: str) -> tuple[list[float], list[float]]:
    return [line["environment_steps"] for line in lines], [line[name] for line in lines]


def loss_curve(metrics: Sequence[dict[str, Any]], of_the_mean: float | None = None) -> Figure:
    """Draw the loss of cloning over the iterations, the latter logarithmic, beside that of held-out demonstrations.

    Args:
        metrics: lines of metrics.jsonl.
        of_the_mean: the loss of a policy that always predicts the mean action; None where that says nothing.
    """
    metrics = [line for line in metrics if "environment_steps" not in line] or metrics
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    panel = figure.subplots()
    losses = [line["loss"] for line in metrics]
    panel.plot(_iterations(metrics), losses, color="#333333", linewidth=1.2, label="training")
    checked = [line for line in metrics if "validation_loss" in line]
    if checked:
        values = [line["validation_loss"] for line in checked]
        panel.plot(_iterations(checked), values, color="#c44e52", linewidth=1.2, label="held out")
        panel.legend(frameon=False)
    # A log-likelihood may be negative.
    panel.set(xscale="log", yscale="log" if min(losses) > 0 else "linear", xlabel="iteration", ylabel="loss")
    if of_the_mean is not None:
        panel.axhline(of_the_mean, color="#888888", linestyle="--", linewidth=1)
        panel.annotate(
            "the mean action", (0.99, of_the_mean), xycoords=("axes fraction", "data"), ha="right", va="bottom"
        )
    _grid(panel)
    return figure


def code_usage(metrics: Sequence[dict[str, Any]], label: str = "share of trajectories won by each code") -> Figure:
    """Draw which share of the trajectories each code wins over the iterations: the self-organisation of Figure 9.

    Args:
        metrics: lines of metrics.jsonl.
        label: what the shares are.
    """
    names = sorted((name for name in metrics[0] if name.startswith("code_usage/")), key=lambda name: int(name[11:]))
    usage = np.array([[line[name] for name in names] for line in metrics])  # (lines, codes)
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    panel = figure.subplots()
    panel.stackplot(_iterations(metrics), usage.T, colors=code_colours(usage.shape[1]), alpha=0.85, linewidth=0)
    panel.set(xscale="log", xlabel="iteration", ylabel=label, ylim=(0, 1))
    panel.margins(x=0)
    return figure


def _iterations(metrics: Sequence[dict[str, Any]]) -> list[int]:
    return [line["iteration"] for line in metrics]


def _grid(panel: Axes) -> None:
    panel.grid(alpha=0.3, linewidth=0.5)
    panel.spines[["top", "right"]].set_visible(False)
