"""Appendix D: how far SOG's objective is from the likelihood, and the bound h(μ, Λ) on it (Figure 13).

For every code z, log p(y|x) = log p(y|z,x) - log p(z|x,y)/p(z) (Equation 19). At SOG's z* the last term, the gap, is

    g(μ, Σ) = 1/2 μᵀ(I - Σ)⁻¹μ - 1/2 log det Σ  ≤  h(μ, Λ) = ‖μ‖² ‖(I - Λ)⁻¹‖_F - 1/2 log det Λ      (Equation 23)

for a posterior N(μ, Σ) with Σ ≺ I. A linear-Gaussian model, y = A z + B x + c + σ ε, has all of it in closed form.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from torch import Tensor, nn

from manyways.algorithms.sog import SOG, SOGModel
from manyways.errors import InputError
from manyways.files import write_json
from manyways.latents import Gaussian
from manyways.runs.provenance import provenance
from manyways.search.settings import Search
from manyways.visual.colours import code_colours
from manyways.visual.figures import save

Floats = NDArray[np.floating[Any]]

MEAN_NORM = 3.0  # ‖μ‖ of Figure 13
_TRAINED_WITH = (4, 32, 1024)  # candidates
_CANDIDATES = (1, 3, 10, 30, 100, 300, 1000, 3000)


def gap(mean: ArrayLike, covariance: ArrayLike) -> float:
    """Return g(μ, Σ), the largest log ratio of the posterior N(μ, Σ) to the prior, in nats (Equation 23f).

    Args:
        mean: (dimension,).
        covariance: (dimension, dimension).

    Raises:
        InputError: the posterior is not narrower than the prior in every direction, so there is no largest.
    """
    mu, sigma = np.asarray(mean, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    eigenvalues = np.linalg.eigvalsh(sigma)
    if not (eigenvalues[0] > 0 and eigenvalues[-1] < 1):
        raise InputError(f"the covariance has eigenvalues {eigenvalues.tolist()}; give ones between 0 and 1")
    return float(mu @ np.linalg.solve(np.eye(len(mu)) - sigma, mu) - np.log(eigenvalues).sum()) / 2


def bound(mean_norm: ArrayLike, variances: ArrayLike, factor: float = 1.0) -> Floats:
    """Return h(μ, Λ), in nats (Equation 23h).

    Args:
        mean_norm: ‖μ‖, (...).
        variances: (..., dimension), the posterior covariance's eigenvalues, between 0 and 1.
        factor: of the first term: 1 in the paper; the 1/2 of Equation 23f may stay, since already
            μᵀ(I - Σ)⁻¹μ ≤ ‖μ‖² ‖(I - Σ)⁻¹‖_F.
    """
    spread = np.asarray(variances, dtype=np.float64)
    norm = np.sqrt(((1 - spread) ** -2).sum(axis=-1))
    result: Floats = factor * np.asarray(mean_norm, dtype=np.float64) ** 2 * norm - np.log(spread).sum(axis=-1) / 2
    return result


class LinearGaussian(nn.Module):
    """y = A z + B x + c + σ ε, with z from the prior: its likelihood and posterior are Gaussian.

    Args:
        dimension: of a code.
        x_size: dimensions of x.
        y_size: dimensions of y.
        sigma: σ.
        generator: of the weights.
    """

    def __init__(self, dimension: int, x_size: int, y_size: int, sigma: float, generator: torch.Generator) -> None:
        super().__init__()
        self.sigma = sigma
        self.a = nn.Parameter(torch.randn(y_size, dimension, generator=generator))
        self.b = nn.Parameter(torch.randn(y_size, x_size, generator=generator))
        self.c = nn.Parameter(torch.randn(y_size, generator=generator))

    def forward(self, codes: Tensor, x: Tensor) -> Tensor:
        """Return the mean of y, (points, y size)."""
        return codes @ self.a.T + x @ self.b.T + self.c

    def sample(self, points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw x (points, x size) and y (points, y size)."""
        x = torch.randn(points, self.b.shape[1], generator=generator)
        codes = torch.randn(points, self.a.shape[1], generator=generator)
        noise = torch.randn(points, len(self.c), generator=generator)
        return x, (self(codes, x) + self.sigma * noise).detach()

    def _numpy(self) -> tuple[Floats, Floats, Floats]:
        return self.a.detach().double().numpy(), self.b.detach().double().numpy(), self.c.detach().double().numpy()

    def log_likelihood(self, x: Tensor, y: Tensor) -> Floats:
        """Return log p(y | x) of each point, in nats."""
        a, b, c = self._numpy()
        residual = y.double().numpy() - x.double().numpy() @ b.T - c
        covariance = a @ a.T + self.sigma**2 * np.eye(len(c))
        return np.atleast_1d(multivariate_normal(np.zeros(len(c)), covariance).logpdf(residual))

    def objective(self, codes: Floats, x: Tensor, y: Tensor) -> Floats:
        """Return log p(y | z, x) of each point, in nats."""
        a, b, c = self._numpy()
        residual = y.double().numpy() - codes @ a.T - x.double().numpy() @ b.T - c
        constant = len(c) / 2 * math.log(2 * math.pi * self.sigma**2)
        result: Floats = -(residual**2).sum(axis=1) / (2 * self.sigma**2) - constant
        return result

    def posterior(self, x: Tensor, y: Tensor) -> tuple[Floats, Floats]:
        """Return the posteriors' means (points, dimension) and their common covariance (dimension, dimension)."""
        a, b, c = self._numpy()
        covariance: Floats = np.linalg.inv(np.eye(a.shape[1]) + a.T @ a / self.sigma**2)
        residual = y.double().numpy() - x.double().numpy() @ b.T - c
        return residual @ a @ covariance / self.sigma**2, covariance

    def log_ratio(self, codes: Floats, x: Tensor, y: Tensor) -> Floats:
        """Return log p(z | x, y) / p(z) of each point, the gap of Equation 19, in nats."""
        means, covariance = self.posterior(x, y)
        zero = np.zeros(len(covariance))
        posterior = multivariate_normal(zero, covariance).logpdf(codes - means)
        return np.atleast_1d(posterior - multivariate_normal(zero, np.eye(len(covariance))).logpdf(codes))


def check_identity(points: int, seed: int) -> dict[str, Any]:
    """Check Equations 19 to 23 on a linear-Gaussian model: closed forms, SOG's search, and samples.

    Args:
        points: drawn from the model.
        seed: of the model, the points and the codes.

    Returns:
        The largest errors, and the gap at the best of a number of candidates.
    """
    generator = torch.Generator().manual_seed(seed)
    model = LinearGaussian(2, 3, 5, 0.5, generator)
    x, y = model.sample(points, generator)
    likelihood = model.log_likelihood(x, y)
    codes = torch.randn(points, 2, generator=generator).double().numpy()
    identity = likelihood - (model.objective(codes, x, y) - model.log_ratio(codes, x, y))

    means, covariance = model.posterior(x, y)
    best: Floats = np.linalg.solve(np.eye(2) - covariance, means.T).T  # Equation 22b
    gaps = np.array([gap(mean, covariance) for mean in means])
    norms = np.linalg.norm(means, axis=1)
    bounds = bound(norms, np.linalg.eigvalsh(covariance))
    tight = bound(norms, np.linalg.eigvalsh(covariance), factor=0.5)

    settings = SOG(
        model, Gaussian(2), sigma=model.sigma, search=Search(candidates=1000, block=2), device="cpu", seed=seed
    )
    sog = settings.model()
    search_codes = sog.encode(x, y, refine=20).double().numpy()
    sampled = sog.log_likelihood(x, y, samples=20_000).numpy()
    by_candidates = []
    for candidates in _CANDIDATES:
        sog.search = Search(candidates=candidates, block=2)
        best_codes = sog.encode(x, y).double().numpy()
        by_candidates.append(float(model.log_ratio(best_codes, x, y).mean()))
    return {
        "points": points,
        "identity_largest_error": float(np.abs(identity).max()),
        "best_code_by_search_largest_error": float(np.abs(search_codes - best).max()),
        "gap_closed_form_largest_error": float(np.abs(model.log_ratio(best, x, y) - gaps).max()),
        "mean_gap": float(gaps.mean()),
        "mean_bound": float(bounds.mean()),
        "mean_bound_with_half": float(tight.mean()),
        "bound_holds": bool((gaps <= bounds).all()),
        "bound_with_half_holds": bool((gaps <= tight).all()),
        "sampled_log_likelihood_mean_error": float(np.abs(sampled - likelihood).mean()),
        "candidates": list(_CANDIDATES),
        "mean_gap_at_best_of_candidates": by_candidates,
    }


def check_bound(draws: int, seed: int) -> dict[str, Any]:
    """Compare g with h, and with h with the factor 1/2, on random posteriors of 1 to 8 dimensions."""
    rng = np.random.default_rng(seed)
    ratios: list[tuple[float, float]] = []
    for _ in range(draws):
        dimension = int(rng.integers(1, 9))
        basis = np.linalg.qr(rng.normal(size=(dimension, dimension)))[0]
        variances = rng.uniform(0.001, 0.999, size=dimension)
        mean = rng.normal(size=dimension) * rng.uniform(0, 3)
        log_determinant = np.log(variances).sum() / 2
        quadratic = gap(mean, basis * variances @ basis.T) + log_determinant
        norm = float(np.linalg.norm(mean))
        first, half = (float(bound(norm, variances, factor)) + log_determinant for factor in (1.0, 0.5))
        ratios.append((quadratic / first, quadratic / half))
    largest = np.max(ratios, axis=0)
    return {
        "draws": draws,
        "largest_first_term_of_g_over_h": float(largest[0]),
        "largest_first_term_of_g_over_h_with_half": float(largest[1]),
    }


def least_bound(factor: float) -> tuple[float, float]:
    """Return the variance σ² at which h for Λ = σ² I in two dimensions is least, and this least value, for ‖μ‖ = 3."""
    result = minimize_scalar(lambda v: float(bound(MEAN_NORM, [v, v], factor)), bounds=(1e-6, 0.99), method="bounded")
    return float(result.x), float(result.fun)


def train(candidates: int, epochs: int, points: int, seed: int) -> dict[str, list[float]]:
    """Train a linear-Gaussian model by SOG with the true σ, and follow the three terms of Equation 19.

    Returns:
        Means over test points, before training and after each epoch, in nats.
    """
    generator = torch.Generator().manual_seed(seed)
    truth = LinearGaussian(2, 3, 5, 0.5, generator)
    x, y = truth.sample(2 * points, generator)
    model = LinearGaussian(2, 3, 5, 0.5, generator)
    with torch.no_grad():
        model.a.mul_(0.1)  # so that codes have little effect at first, and the posterior is nearly the prior
    terms: dict[str, list[float]] = {"log_likelihood": [], "objective": [], "gap": []}

    def follow(sog: SOGModel) -> None:
        test_x, test_y = x[points:], y[points:]
        codes = sog.encode(test_x, test_y).double().numpy()
        terms["log_likelihood"].append(float(model.log_likelihood(test_x, test_y).mean()))
        terms["objective"].append(float(model.objective(codes, test_x, test_y).mean()))
        terms["gap"].append(float(model.log_ratio(codes, test_x, test_y).mean()))

    sog = SOG(
        model,
        Gaussian(2),
        sigma=0.5,
        search=Search(candidates=candidates, block=2),
        epochs=epochs,
        batch_size=32,
        learning_rate=2e-2,
        seed=seed,
        device="cpu",
    )
    follow(sog.model())
    sog.fit(x[:points], y[:points], follow)
    terms["true_log_likelihood"] = [float(truth.log_likelihood(x[points:], y[points:]).mean())]
    return terms


def reproduce_posterior_gap(
    out: Path, *, points: int, epochs: int, seed: int, callback: Callable[[], object]
) -> dict[str, Any]:
    """Run Appendix D, and write figure-13.png, gap.png and results.json into `out`.

    Args:
        out: the folder.
        points: of the linear-Gaussian models.
        epochs: of each training.
        seed: of everything random.
        callback: called after each of 4 parts.

    Returns:
        The content of results.json.

    Raises:
        InputError: a setting is out of its range.
    """
    for name, value, lowest in (("points", points, 2), ("epochs", epochs, 1), ("seed", seed, 0)):
        if value < lowest:
            raise InputError(f"{name} is {value}; give {lowest} or more")
    identity = check_identity(points, seed)
    identity |= {"on_random_posteriors": check_bound(2000, seed)}
    callback()
    trainings = {}
    for candidates in _TRAINED_WITH:
        trainings[str(candidates)] = train(candidates, epochs, points, seed)
        callback()
    least = {name: least_bound(factor) for name, factor in (("h", 1.0), ("h_with_half", 0.5))}
    save(_contours(), out / "figure-13.png")
    save(_gap_figure(identity, trainings), out / "gap.png")
    results = {
        "settings": {"points": points, "epochs": epochs, "seed": seed},
        "equation_19": identity,
        "least_bound": {name: {"variance": v, "nats": h} for name, (v, h) in least.items()},
        "trainings_by_candidates": trainings,
    }
    write_json(out / "results.json", results | {"provenance": provenance(seeds=[seed])})
    return results


def _contours() -> Figure:
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    axis = np.linspace(0.005, 0.985, 250)
    variances = np.stack(np.meshgrid(axis, axis), axis=-1)
    levels = [*range(8, 24, 2), 26, 32, 40, 60, 100]
    contents = ((1.0, r"$h(\mu, \Lambda)$ as in the paper"), (0.5, r"with the 1/2 that Equation 23g drops"))
    for panel, (factor, title) in zip(panels, contents, strict=True):
        values = bound(MEAN_NORM, variances, factor)
        filled = panel.contourf(axis, axis, values, levels=levels, cmap="viridis", extend="both")
        lines = panel.contour(axis, axis, values, levels=levels, colors="white", linewidths=0.6)
        panel.clabel(lines, fontsize=7, fmt="%g")
        variance, least = least_bound(factor)
        panel.plot(variance, variance, "o", color="#D55E00", markersize=5)
        panel.annotate(f"least: {least:.1f}", (variance, variance), (6, 6), textcoords="offset points", color="white")
        panel.set(title=f"{title}, ‖μ‖ = {MEAN_NORM:g}", xlabel=r"$\sigma_1^2$")
        panel.set_aspect("equal")
    panels[0].set_ylabel(r"$\sigma_2^2$")
    figure.colorbar(filled, ax=list(panels), label="bound on the gap (nats)")
    return figure


def _gap_figure(identity: dict[str, Any], trainings: dict[str, dict[str, list[float]]]) -> Figure:
    figure = Figure(figsize=(14, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    colours = code_colours(4)
    left.plot(
        identity["candidates"], identity["mean_gap_at_best_of_candidates"], "o-", color=colours[0], label="by search"
    )
    left.axhline(identity["mean_gap"], color="#333333", linestyle="--", label="at z*, closed form")
    left.set(xscale="log", xlabel="samples of the prior", ylabel="gap (nats)")
    left.set_title("Gap at the best of so many codes")
    left.legend(frameon=False)
    for colour, (candidates, terms) in zip(colours, trainings.items(), strict=False):
        epochs = np.arange(len(terms["gap"]))
        middle.plot(epochs, terms["log_likelihood"], color=colour, label=f"{candidates} candidates")
        right.plot(epochs, terms["gap"], color=colour, label=f"{candidates} candidates")
    truth = next(iter(trainings.values()))["true_log_likelihood"][0]
    middle.axhline(truth, color="#333333", linestyle="--", label="the model that drew the data")
    middle.set(title="log p(y | x) while SOG trains", xlabel="epoch", ylabel="nats, on new points", yscale="symlog")
    right.set(title="Gap while SOG trains", xlabel="epoch", ylabel="nats, on new points")
    middle.legend(frameon=False)
    right.legend(frameon=False)
    for panel in (left, middle, right):
        panel.grid(alpha=0.3, linewidth=0.5)
    return figure
