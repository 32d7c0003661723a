"""One picture of several runs: a panel for each thing that was measured, a bar for each run."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from manyways.runs.comparison import Compared
from manyways.visual.colours import code_colours

Bar = tuple[float, float, float] | None


def draw_comparison(lines: Sequence[Compared]) -> Figure | None:
    """Return the picture; None where nothing was measured of any run.

    Whiskers are 95% confidence intervals. Held-out losses are shown as shares of the mean action's, where a run has
    codes, since other losses have other units.
    """

    def exact(value: float | None) -> Bar:
        return None if value is None else (value,) * 3

    panels: list[tuple[str, list[Bar]]] = [
        ("held-out loss,\nshare of the mean action's", [exact(line.of_the_mean) for line in lines]),
        ("agreement with labels\n(mutual information)", [exact(line.normalized_mutual_information) for line in lines]),
        ("success", [line.success for line in lines]),
        ("return", [line.return_ for line in lines]),
    ]
    measured = [(title, bars) for title, bars in panels if any(bar is not None for bar in bars)]
    if not measured:
        return None
    figure = Figure(figsize=(3.0 * len(measured) + 1.5, 1.2 + 0.45 * len(lines)), layout="constrained")
    axes = figure.subplots(1, len(measured), squeeze=False, sharey=True)[0]
    colours, places = code_colours(len(lines)), np.arange(len(lines))
    for axis, (title, bars) in zip(axes, measured, strict=True):
        for place, bar in zip(places, bars, strict=True):
            if bar is None:
                continue
            mean, low, high = bar
            axis.barh(place, mean, color=colours[place], height=0.7)
            if high > low:
                axis.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color="#333333", capsize=3, linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.set_yticks(places, [f"{line.title} ({line.algorithm})" for line in lines])
        axis.set_ylim(len(lines) - 0.5, -0.5)
    return figure
