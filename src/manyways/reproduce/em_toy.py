"""Appendix C: three modes of linear data, learned by hard and by soft EM (Figures 9 to 12).

x ~ N(0, I),  y = x + w_z + ε,  ε ~ N(0, 0.01² I),  z one of three;  f(z, x) = θ [one_hot(z), x]
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from manyways.algorithms.sog import SOG, SOGModel
from manyways.errors import InputError
from manyways.evaluation import purity
from manyways.files import write_json
from manyways.latents import Categorical
from manyways.runs.provenance import provenance
from manyways.visual.colours import code_colours
from manyways.visual.figures import save

MODES = 3
NOISE = 0.01  # σ of the data
FAR, CLOSE = 3.0, 1.0  # distance of the modes' offsets from the origin, in standard deviations of x
_PURITY_EPOCHS = 10  # that Figure 9 shows
_BATCH = 64
_SIGMAS = (NOISE, 1.0)  # of Equations 16 and 17: the data's, and that which soft EM learns with
_FULL_BATCH_STEPS = 200
_POSTERIOR_STEPS = (1, 10, 25, 50, _FULL_BATCH_STEPS)  # that Figure 11 shows


class Points(NamedTuple):
    """Points of the toy data: x and y (points, 2), and their modes (points,)."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    modes: NDArray[np.int64]


def three_modes(separation: float, points: int, seed: int) -> Points:
    """Draw the toy data; the modes' offsets are `separation` from the origin, at thirds of the circle.

    The paper does not say how it draws its offsets. With evenly spread ones the difficulty of the data depends on the
    distance of two modes, sqrt(3) separation, alone.
    """
    rng = np.random.default_rng(seed)
    angles = rng.uniform(0, 2 * np.pi) + np.arange(MODES) * 2 * np.pi / MODES
    offsets = separation * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    modes = rng.integers(MODES, size=points)
    x = rng.normal(size=(points, 2))
    y = x + offsets[modes] + NOISE * rng.normal(size=(points, 2))
    return Points(x.astype(np.float32), y.astype(np.float32), modes)


class Linear(nn.Module):
    """f(z, x) = θ [one_hot(z), x], with random θ (5, 2)."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        weight = 0.5 * torch.randn(2, MODES + 2, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(weight)

    def forward(self, codes: Tensor, x: Tensor) -> Tensor:
        """Return the mean of y, (points, 2)."""
        return nn.functional.linear(torch.cat([codes, x], dim=1), self.weight)


@dataclass
class History:
    """The curves and the result of one training.

    Attributes:
        loss: mean of ‖f(z, x) - y‖², weighted by the responsibilities under soft EM.
        one_hot_loss: the same with all weight on the best code (Figure 12b).
        purity: of the best codes and the modes.
        posteriors: after a few epochs, (points, codes); for soft EM.
        codes: (points,), at the end.
        reconstruction: (points, 2), f under these codes.
        log_likelihood: mean of log p(y | x) at the end, at the data's σ, in nats.
        equation_16: for each σ its terms at the end, see `equation_16`.
    """

    loss: list[float] = field(default_factory=list)
    one_hot_loss: list[float] = field(default_factory=list)
    purity: list[float] = field(default_factory=list)
    posteriors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    codes: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    reconstruction: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 2), dtype=np.float32))
    log_likelihood: float = float("nan")
    equation_16: dict[str, dict[str, float]] = field(default_factory=dict)


def learn(
    data: Points,
    assignment: Literal["hard", "soft"],
    sigma: float,
    *,
    epochs: int,
    seed: int,
    batch_size: int = _BATCH,
    keep: Collection[int] = (),
) -> History:
    """Learn the data with hard or soft EM and Adam; store the posteriors after the epochs in `keep`."""
    history = History()
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    def after_epoch(model: SOGModel) -> None:
        codes = model.encode(x, y)
        history.loss.append(model.loss)
        errors = model.decode(codes, x) - y
        history.one_hot_loss.append(errors.square().sum(dim=1).mean().item())
        history.purity.append(purity(codes.argmax(dim=1).numpy(), data.modes))
        if model.epoch in keep:
            history.posteriors[model.epoch] = model.responsibilities(x, y).numpy()

    model = SOG(
        Linear(seed),
        Categorical(MODES),
        assignment=assignment,
        sigma=sigma,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=5e-2,
        seed=seed,
        device="cpu",
    ).fit(x, y, after_epoch)
    codes = model.encode(x, y)
    history.codes = codes.argmax(dim=1).numpy()
    history.reconstruction = model.decode(codes, x).numpy()
    history.equation_16 = {f"{sigma:g}": equation_16(model, x, y, sigma) for sigma in _SIGMAS}
    history.log_likelihood = history.equation_16[f"{NOISE:g}"]["log_likelihood"]
    return history


def equation_16(model: SOGModel, x: Tensor, y: Tensor, sigma: float) -> dict[str, float]:
    """Return the terms of Equation 16 at the best code z*: log p(y|x) = log p(y|z*, x) - log p(z*|x, y) / p(z*).

    Args:
        model: with listed codes.
        x: (points, 2).
        y: (points, 2).
        sigma: of the likelihood.

    Returns:
        Means over the points in nats: `log_likelihood`; `minus_loss`, log p(y|z*, x); `log_posterior`, of z*, about
        -ε of Equation 17; `log_prior`, that of z*. And `largest_error`, by which a point misses the equation at most.
    """
    trained, model.sigma = model.sigma, sigma
    marginal = model.log_likelihood(x, y).double()
    posteriors = model.responsibilities(x, y).double()
    codes = model.encode(x, y)
    model.sigma = trained
    best = codes.argmax(dim=1, keepdim=True)
    errors = (model.decode(codes, x) - y).double().square().sum(dim=1)
    own = -errors / (2 * sigma**2) - y.shape[1] / 2 * math.log(2 * math.pi * sigma**2)
    # Of few codes z* is not the likeliest where EM's prior is uneven; the equation holds for any.
    posterior = posteriors.gather(1, best)[:, 0].clamp_min(1e-300).log()
    prior = model.weights.double().cpu().log()[best[:, 0]]
    terms = {"log_likelihood": marginal, "minus_loss": own, "log_posterior": posterior, "log_prior": prior}
    found = {name: float(values.mean()) for name, values in terms.items()}
    return found | {"largest_error": float((marginal - (own - posterior + prior)).abs().max())}


def equation_17(sog: list[History], em: list[History]) -> dict[str, dict[str, list[float]]]:
    """Return the terms of Equation 17, of each pair of runs: what SOG's likelihood exceeds EM's by, and why.

    Args:
        sog: runs of hard EM.
        em: of soft EM, on the same data.

    Returns:
        For each σ, in nats: `difference` of log p(y|x); `losses`, -(SOG loss) + (EM loss); `posteriors`,
        log(1 - ε_E) - log(1 - ε_S); and `priors`, which the paper sets to zero: EM's π is not quite 1/K.
    """
    found = {}
    for sigma in (f"{each:g}" for each in _SIGMAS):
        pairs = [(one.equation_16[sigma], other.equation_16[sigma]) for one, other in zip(sog, em, strict=True)]
        found[sigma] = {
            name: [sign * (one[key] - other[key]) for one, other in pairs]
            for name, key, sign in (
                ("difference", "log_likelihood", 1),
                ("losses", "minus_loss", 1),
                ("posteriors", "log_posterior", -1),
                ("priors", "log_prior", 1),
            )
        }
    return found


def reproduce_em_toy(
    out: Path, *, seeds: int, epochs: int, points: int, seed: int, callback: Callable[[], object]
) -> dict[str, Any]:
    """Run Appendix C, and write figure-9.png to figure-12.png and results.json into `out`.

    Args:
        out: the folder.
        seeds: how many data sets and initial weights; Figures 10 to 12 have the curves of the first.
        epochs: of each training.
        points: of each data set.
        seed: the first of the seeds.
        callback: called after each of 4 trainings a seed.

    Returns:
        The content of results.json.

    Raises:
        InputError: a setting is out of its range.
    """
    for name, value, least in (("seeds", seeds, 1), ("epochs", epochs, 2), ("points", points, 2 * MODES)):
        if value < least:
            raise InputError(f"{name} is {value}; give {least} or more")
    if seed < 0:
        raise InputError(f"seed is {seed}; give 0 or more")
    histories: dict[str, list[History]] = {"sog": [], "em-1": [], "em-0.01": [], "sog-close": []}
    for number in range(seed, seed + seeds):
        for name, (separation, assignment, sigma) in _RUNS.items():
            data = three_modes(separation, points, number)
            histories[name].append(learn(data, assignment, sigma, epochs=epochs, seed=number))
            callback()
    first = {name: runs[0] for name, runs in histories.items()}
    save(_purity_figure(histories), out / "figure-9.png")
    save(_modes_figure(three_modes(FAR, points, seed), first), out / "figure-10.png")
    # With minibatches the posteriors are final after an epoch; steps with all points show how they develop.
    data = three_modes(FAR, points, seed)
    slow = learn(data, "soft", 1.0, epochs=_FULL_BATCH_STEPS, seed=seed, batch_size=points, keep=_POSTERIOR_STEPS)
    save(_posterior_figure(data, slow), out / "figure-11.png")
    save(_loss_figure(first), out / "figure-12.png")
    results = {
        "settings": {"seeds": list(range(seed, seed + seeds)), "epochs": epochs, "points": points, "noise": NOISE},
        "separation": {"far": FAR, "close": CLOSE},
        "runs": {name: [_summary(run) for run in runs] for name, runs in histories.items()},
        "equation_17": equation_17(histories["sog"], histories["em-1"]),
    }
    write_json(out / "results.json", results | {"provenance": provenance(seeds=range(seed, seed + seeds))})
    return results


_RUNS: dict[str, tuple[float, Literal["hard", "soft"], float]] = {
    "sog": (FAR, "hard", 1.0),
    "em-1": (FAR, "soft", 1.0),
    "em-0.01": (FAR, "soft", 0.01),
    "sog-close": (CLOSE, "hard", 1.0),
}


def _summary(run: History) -> dict[str, Any]:
    return {
        "final_loss": run.loss[-1],
        "final_one_hot_loss": run.one_hot_loss[-1],
        "purity_by_epoch": run.purity[:_PURITY_EPOCHS],
        "final_purity": run.purity[-1],
        "log_likelihood_nats": run.log_likelihood,
        "loss_by_epoch": run.loss,
        "equation_16": run.equation_16,
    }


def _purity_figure(histories: dict[str, list[History]]) -> Figure:
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    panel = figure.subplots()
    blue, orange = code_colours(2)
    for name, colour, label in (("sog", blue, "modes far apart"), ("sog-close", orange, "modes closer together")):
        curves = np.array([run.purity[:_PURITY_EPOCHS] for run in histories[name]])
        epochs = np.arange(1, curves.shape[1] + 1)
        panel.plot(epochs, curves.T, color=colour, linewidth=0.6, alpha=0.4)
        separation = FAR if name == "sog" else CLOSE
        distance = f"{np.sqrt(3) * separation:.1f}"
        panel.plot(epochs, curves.mean(axis=0), "o-", color=colour, label=f"{label} (distance {distance})")
    panel.set(
        title=f"SOG: codes and modes in the first epochs, {len(histories['sog'])} seeds",
        xlabel="epoch",
        ylabel="purity of the codes",
        ylim=(0.3, 1.03),
    )
    panel.legend(frameon=False, loc="lower right")
    panel.grid(alpha=0.3, linewidth=0.5)
    return figure


def _modes_figure(data: Points, first: dict[str, History]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    colours = np.array(code_colours(MODES))
    sog, em = first["sog"], first["em-1"]
    contents = (
        ("data, by true mode", data.y, data.modes),
        ("SOG, by code", sog.reconstruction, sog.codes),
        ("soft EM with σ = 1, by code", em.reconstruction, em.codes),
    )
    for panel, (title, points, codes) in zip(panels, contents, strict=True):
        panel.scatter(*points.T, c=colours[codes], s=5, alpha=0.6, linewidths=0)
        panel.set(title=title, xlabel="first dimension of y")
        panel.set_aspect("equal")
    panels[0].set_ylabel("second dimension of y")
    return figure


def _posterior_figure(data: Points, run: History) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(run.posteriors), sharey=True)
    order = np.argsort(data.modes, kind="stable")
    for panel, (step, posterior) in zip(panels, run.posteriors.items(), strict=True):
        image = panel.imshow(posterior[order], aspect="auto", interpolation="nearest", vmin=0, vmax=1, cmap="viridis")
        sure = posterior.max(axis=1).mean()
        panel.set(title=f"step {step}: {sure:.2f}", xlabel="code", xticks=range(MODES))
    panels[0].set_ylabel("points, sorted by true mode")
    figure.colorbar(image, ax=list(panels), label="p(z | x, y)")
    figure.suptitle("Soft EM with σ = 1, all points in each step: posteriors, and the mean of their largest")
    return figure


def _loss_figure(first: dict[str, History]) -> Figure:
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True)
    blue, orange = code_colours(2)
    columns = (
        ("(a) EM with σ = 1", first["em-1"].loss, first["sog"].loss),
        ("(b) EM with σ = 1, loss with one-hot codes", first["em-1"].one_hot_loss, first["sog"].one_hot_loss),
        ("(c) EM with σ = 0.01", first["em-0.01"].loss, first["sog"].loss),
    )
    for column, (title, curve, sog) in enumerate(columns):
        for row, scale in enumerate(("linear", "log")):
            panel = panels[row, column]
            epochs = np.arange(1, len(curve) + 1)
            panel.plot(epochs, curve, color=orange, linewidth=1.8, label=f"EM, at the end {curve[-1]:.3g}")
            panel.plot(epochs, sog, color=blue, linewidth=1.4, linestyle="--", label=f"SOG, at the end {sog[-1]:.3g}")
            panel.set_yscale(scale)
            panel.grid(alpha=0.3, linewidth=0.5)
        panels[0, column].set_title(title)
        panels[0, column].legend(frameon=False)
        panels[1, column].set_xlabel("epoch")
    for panel in panels[:, 0]:
        panel.set_ylabel("squared error of y")
    return figure
