"""SOG for any (x, y): Algorithms 1 and 4, and the EM algorithm of Appendix C, of which they are a limit.

    repeat: take a minibatch of points (x, y)
            hard: search each point's code, the one whose output is nearest to y      (Algorithm 1, line 7; Equation 14)
            soft: compute the responsibility of every code for each point              (Equation 12)
            one gradient step on the squared error under these codes                   (line 10; Equation 11c)

Codes and responsibilities are constants to the gradient. The search uses the network in evaluation mode (running
statistics in batch normalisation, no dropout), so that a code means the same in every batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from manyways.errors import InputError, require_above_zero, require_at_least, require_choice
from manyways.latents import Categorical, Gaussian, Prior
from manyways.networks.devices import choose_device
from manyways.search.coordinates import coordinate_search
from manyways.search.settings import Search

_POINTS_AT_ONCE = 2**12  # searched together; each needs memory for a loss of every candidate
_LOSSES_AT_ONCE = 2**22  # (point, sample) pairs of a likelihood
_SMALLEST_SIGMA = 1e-6
_SMALLEST_STEP = 0.02  # of the local search, in standard deviations of the prior


@dataclass(frozen=True)
class SOG:
    """Settings of SOG for any (x, y): y = f(z, x) + σ·noise with a latent code z that is searched, not encoded.

        model = SOG(network, Categorical(3)).fit(x, y)
        codes = model.encode(x, y)
        other_code = model.decode(model.prior.code(1)[None], x[:1])

    Without x (pure generation) give None: the network is then called as `network(z)`, and candidates that points share
    are decoded once.

    Args:
        network: f, called as `network(z, x)` with codes (n, dimension) and x (n, ...); it returns (n, ...) like y.
            It is trained in place, and moved to the device.
        prior: of the codes: a Categorical's are all candidate_codes; a Gaussian's are searched.
        assignment: "hard" gives each point its best code; "soft" is expectation-maximisation over a Categorical's.
        sigma: σ of Equation 2, in the units of y, for responsibilities and likelihood; None measures the
            maximum-likelihood value in each epoch.
        search: how a Gaussian's codes are searched: samples of the prior (Algorithm 1) if a block is the whole code,
            else coordinate-wise (Algorithm 4).
        local: number of neighbours of its last code that a point tries from the second epoch on, instead of the whole
            search; 0 for a whole search in each epoch, as in the paper. Only for a Gaussian. With `initial_codes` in
            `fit` the first epoch does the same, near those.
        epochs: passes over all points.
        batch_size: points in a gradient step.
        learning_rate: of Adam at the start; falls to 0 linearly.
        evaluations: how many (code, x) pairs the search computes at once; bounds the memory.
        seed: of batches, and of candidates in `fit`, `encode` and `log_likelihood`. The network's initial weights are
            the caller's.
        device: "auto" takes a GPU if there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    network: nn.Module
    prior: Prior
    assignment: Literal["hard", "soft"] = field(default="hard", kw_only=True)
    sigma: float | None = field(default=None, kw_only=True)
    search: Search = field(default_factory=Search, kw_only=True)
    local: int = field(default=0, kw_only=True)
    epochs: int = field(default=100, kw_only=True)
    batch_size: int = field(default=128, kw_only=True)
    learning_rate: float = field(default=1e-3, kw_only=True)
    evaluations: int = field(default=2**12, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    device: str = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        require_choice(self, "assignment", "hard", "soft")
        if self.assignment == "soft" and isinstance(self.prior, Gaussian):
            raise InputError("soft assignment weighs every code, and a Gaussian has no end of them; give 'hard'")
        require_above_zero(self, "sigma", "learning_rate")
        require_at_least(self, 1, "epochs", "batch_size", "evaluations")
        require_at_least(self, 0, "local", "seed")
        choose_device(self.device)

    def model(self) -> "SOGModel":
        """Return the model with the current network."""
        return SOGModel(self)

    def fit(
        self,
        x: ArrayLike | Tensor | None,
        y: ArrayLike | Tensor,
        callback: "Callable[[SOGModel], object] | None" = None,
        *,
        initial_codes: ArrayLike | Tensor | None = None,
    ) -> "SOGModel":
        """Learn from points.

        Args:
            x: (points, ...), or None to generate y alone.
            y: (points, ...).
            callback: called with the model after each epoch; it may return False to end training.
            initial_codes: (points, dimension), near which the first epoch searches, such as those of `ComponentCodes`;
                with a random network the first codes are a lottery. Only with `local`.

        Returns:
            The model, with this network.

        Raises:
            InputError: there are no points, x and y differ in their number, a value is not finite, the network's output
                has another shape than y, or initial codes are not one for each point or come without `local`.
        """
        model = self.model()
        inputs, targets = model._points(x, y)
        model._require_shape(inputs, targets)
        generator = torch.Generator().manual_seed(self.seed)
        optimizer = torch.optim.Adam(self.network.parameters(), self.learning_rate)
        batches = math.ceil(len(targets) / self.batch_size)
        if self.assignment == "soft" and self.sigma is None:
            model.sigma = max(float(targets.std(dim=0, correction=0).square().mean().sqrt()), _SMALLEST_SIGMA)
        if initial_codes is not None and not (self.local and isinstance(self.prior, Gaussian)):
            raise InputError(
                "initial codes are the start of a local search for a Gaussian's codes; give SOG local=8, or none"
            )
        point_codes = model._codes(initial_codes, len(targets))
        for epoch in range(self.epochs):
            error, shares = 0.0, torch.zeros_like(model.weights)
            order = torch.randperm(len(targets), generator=generator).to(targets.device)
            for number, rows in enumerate(order.tensor_split(batches)):
                part = None if inputs is None else inputs[rows]
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * (1 - (epoch * batches + number) / (self.epochs * batches))
                optimizer.zero_grad()
                if self.assignment == "hard":
                    last = point_codes[rows] if self.local and (epoch or initial_codes is not None) else None
                    point_codes[rows], _ = model._search(part, targets[rows], generator, last)
                    error += model._backward(part, targets[rows], point_codes[rows])
                else:
                    responsibilities = model._responsibilities(part, targets[rows])
                    shares += responsibilities.sum(dim=0)
                    for code, weights in zip(model.all_codes, responsibilities.T, strict=True):
                        codes = code.expand(len(rows), -1)
                        error += model._backward(part, targets[rows], codes, weights)
                optimizer.step()
            model.loss = error / len(targets)
            model.epoch = epoch + 1
            if self.assignment == "soft":
                model.weights = shares / shares.sum()  # Equation 13
            if self.sigma is None:
                model.sigma = max(math.sqrt(model.loss / targets[0].numel()), _SMALLEST_SIGMA)
            self.network.eval()
            if callback is not None and callback(model) is False:
                break
        return model


class SOGModel:
    """A generative model with searched codes, the result of `SOG.fit`.

    Args:
        settings: with the network and the prior.

    Attributes:
        settings, network, prior: of the model.
        weights: (codes,), π of Equation 13; all equal under hard assignment. Empty for a Gaussian.
        sigma: from the settings, or measured in the last epoch; None before the first.
        epoch: the number of epochs so far.
        loss: mean of ‖f(z, x) - y‖² over the last epoch's points, under their codes or weighted by responsibilities.
        all_codes: (codes, dimension), of a Categorical.
    """

    def __init__(self, settings: SOG) -> None:
        self.settings = settings
        self.prior = settings.prior
        self.search = settings.search
        self.sigma = settings.sigma
        self.epoch = 0
        self.loss = float("nan")
        self._device = choose_device(settings.device)
        self.network = settings.network.to(self._device)
        self.all_codes = torch.empty(0, self.prior.dimension, device=self._device)
        if isinstance(self.prior, Categorical):
            self.all_codes = torch.from_numpy(self.prior.enumerate()).to(self._device)
        self.weights = torch.full((len(self.all_codes),), 1 / max(1, len(self.all_codes)), device=self._device)

    @torch.no_grad()
    def encode(
        self,
        x: ArrayLike | Tensor | None,
        y: ArrayLike | Tensor,
        *,
        refine: int = 0,
        near: ArrayLike | Tensor | None = None,
    ) -> Tensor:
        """Search the best code of each point.

        Args:
            x: (points, ...), or None.
            y: (points, ...).
            refine: how many searches near the best code, with 16 neighbours each, follow; for a Gaussian.
            near: (points, dimension), codes to refine in place of the search; for a Gaussian.

        Returns:
            Codes (points, dimension), on the CPU; one-hot for a Categorical.

        Raises:
            InputError: x and y do not fit each other or the network, or `near` is not a code of a Gaussian for each.
        """
        inputs, targets = self._points(x, y)
        generator = torch.Generator().manual_seed(self.settings.seed)
        continuous = isinstance(self.prior, Gaussian)
        if near is not None and not continuous:
            raise InputError(
                "a Categorical's codes are all candidate_codes, there is no search near some; leave out `near`"
            )
        starts = self._codes(near, len(targets))
        results = []
        for rows in _chunks(len(targets), _POINTS_AT_ONCE):
            part = None if inputs is None else inputs[rows]
            codes = starts[rows]
            if near is None:
                codes, _ = self._search(part, targets[rows], generator)
            for _ in range(refine if continuous else 0):
                codes, _ = self._search_near(part, targets[rows], codes, 16, generator)
            results.append(codes)
        return torch.cat(results).cpu()

    @torch.no_grad()
    def decode(self, codes: ArrayLike | Tensor, x: ArrayLike | Tensor | None = None) -> Tensor:
        """Return f(z, x), the mean of y, on the CPU.

        Args:
            codes: (points, dimension).
            x: (points, ...), or None for a network of the code alone.

        Raises:
            InputError: codes of another dimension than the prior's, or not as many as x.
        """
        z = torch.as_tensor(codes, dtype=torch.float32).to(self._device)
        if z.ndim != 2 or z.shape[1] != self.prior.dimension:
            raise InputError(f"codes have the shape {tuple(z.shape)}; give (points, {self.prior.dimension})")
        inputs = None if x is None else _tensor(x).to(self._device)
        if inputs is not None and len(inputs) != len(z):
            raise InputError(f"there are {len(z)} codes for {len(inputs)} x; give a code for each")
        return self._outputs(inputs, z).cpu()

    def reconstruct(self, x: ArrayLike | Tensor | None, y: ArrayLike | Tensor, *, refine: int = 0) -> Tensor:
        """Return `decode` of `encode`, the output nearest to y, on the CPU."""
        return self.decode(self.encode(x, y, refine=refine), x)

    @torch.no_grad()
    def responsibilities(self, x: ArrayLike | Tensor | None, y: ArrayLike | Tensor) -> Tensor:
        """Return p(z | x, y) for every code of a Categorical (Equation 12), (points, codes), on the CPU.

        Raises:
            InputError: the prior is a Gaussian, there is no σ yet, or x and y do not fit each other.
        """
        if isinstance(self.prior, Gaussian):
            raise InputError("a Gaussian's codes cannot be listed; use `encode` for the best code of each point")
        return self._responsibilities(*self._points(x, y)).cpu()

    @torch.no_grad()
    def log_likelihood(self, x: ArrayLike | Tensor | None, y: ArrayLike | Tensor, *, samples: int = 10_000) -> Tensor:
        """Return log p(y | x), marginal over the codes (Equation 4), in nats, for each point.

        Exact for a Categorical. For a Gaussian it is the logarithm of a mean over samples of the prior. It is too
        low on average, by much if few samples fall into the posterior, as with a small σ or codes of more than about
        three dimensions. Compare two values of `samples`; if they differ, it is a lower bound only.

        Args:
            x: (points, ...), or None.
            y: (points, ...).
            samples: of the prior, for a Gaussian.

        Returns:
            (points,), float64, on the CPU.

        Raises:
            InputError: there is no σ yet, there are no samples, or x and y do not fit each other.
        """
        if samples < 1:
            raise InputError(f"samples is {samples}; give 1 or more")
        inputs, targets = self._points(x, y)
        if isinstance(self.prior, Categorical):
            return torch.logsumexp(self._log_joint(inputs, targets, self.all_codes, self.weights.log()), dim=1).cpu()
        generator = torch.Generator().manual_seed(self.settings.seed)
        total = targets.new_full((len(targets),), -torch.inf, dtype=torch.float64)
        for start in range(0, samples, self.settings.evaluations):
            count = min(self.settings.evaluations, samples - start)
            codes = torch.randn(count, self.prior.dimension, generator=generator).to(self._device)
            for rows in _chunks(len(targets), max(1, _LOSSES_AT_ONCE // count)):
                part = None if inputs is None else inputs[rows]
                some = torch.logsumexp(self._log_joint(part, targets[rows], codes, codes.new_zeros(count)), dim=1)
                total[rows] = torch.logaddexp(total[rows], some)
        return (total - math.log(samples)).cpu()

    def _codes(self, values: Any, count: int) -> Tensor:
        """Return a caller's codes on the device, or zeros for None, (points, dimension)."""
        shape = (count, self.prior.dimension)
        if values is None:
            return torch.zeros(shape, device=self._device)
        codes = torch.as_tensor(values, dtype=torch.float32).to(self._device)
        if codes.shape != shape or not bool(torch.isfinite(codes).all()):
            raise InputError(f"the initial codes have the shape {tuple(codes.shape)}; give {shape}, all finite numbers")
        return codes.clone()

    def _search(
        self, x: Tensor | None, y: Tensor, generator: torch.Generator, last: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the best codes (points, dimension) and their squared errors (points,)."""
        self.network.eval()
        codes = y.new_zeros(len(y), self.prior.dimension)
        if isinstance(self.prior, Categorical):
            least, index = self._errors(x, y, codes, slice(0, self.prior.dimension), self.all_codes).min(dim=1)
            return self.all_codes[index], least
        if last is not None:
            return self._search_near(x, y, last, self.settings.local, generator)
        return coordinate_search(partial(self._errors, x, y), codes, self.search, generator)

    @torch.no_grad()
    def _search_near(
        self, x: Tensor | None, y: Tensor, codes: Tensor, neighbours: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Search near each point's code, which stays if no neighbour is better.

        A neighbour is sqrt(1 - s²) z + s ε with steps s from small ones to 1. If z has the prior's distribution, the
        neighbour has it too (Crank-Nicolson proposal), so codes do not drift away from the prior.
        """
        self.network.eval()
        count, dimension = codes.shape
        steps = _SMALLEST_STEP ** torch.rand(count, neighbours, 1, generator=generator)
        noise = torch.randn(count, neighbours, dimension, generator=generator)
        near = (1 - steps.square()).sqrt().to(codes) * codes[:, None] + (steps * noise).to(codes)
        candidate_codes = torch.cat([codes[:, None], near], dim=1)  # (points, 1 + neighbours, dimension)
        errors = torch.cat(
            [
                self._pair_errors(None if x is None else x[rows], y[rows], candidate_codes[rows])
                for rows in _chunks(count, max(1, self.settings.evaluations // candidate_codes.shape[1]))
            ]
        )
        least, index = errors.min(dim=1)
        return candidate_codes[torch.arange(count), index.cpu()], least

    @torch.no_grad()
    def _errors(self, x: Tensor | None, y: Tensor, codes: Tensor, block: slice, candidates: Tensor) -> Tensor:
        """Return ‖f(z, x) - y‖², (points, candidates), with each candidate in place of a block of each point's code."""
        others = codes.clone()
        others[:, block] = 0
        if x is None and bool((others == others[:1]).all()):  # the same for all points: decode it once
            candidate_codes = others[:1].repeat(len(candidates), 1)
            candidate_codes[:, block] = candidates
            outputs = self._outputs(None, candidate_codes).flatten(1)
            # Not by a matrix product, which is too coarse for small distances of large values.
            return torch.cdist(y.flatten(1), outputs, compute_mode="donot_use_mm_for_euclid_dist").square_()
        errors = []
        for rows in _chunks(len(y), max(1, self.settings.evaluations // len(candidates))):
            own = others[rows, None].repeat(1, len(candidates), 1)
            own[:, :, block] = candidates
            errors.append(self._pair_errors(None if x is None else x[rows], y[rows], own))
        return torch.cat(errors)

    def _pair_errors(self, x: Tensor | None, y: Tensor, codes: Tensor) -> Tensor:
        """Return the squared errors (points, codes) of points under their own codes (points, codes, dimension)."""
        repeated = None if x is None else x.repeat_interleave(codes.shape[1], dim=0)
        outputs = self._outputs(repeated, codes.flatten(0, 1)).view(*codes.shape[:2], -1)
        return outputs.sub_(y.flatten(1)[:, None]).square_().sum(dim=-1)

    def _outputs(self, x: Tensor | None, codes: Tensor) -> Tensor:
        self.network.eval()
        parts = _chunks(len(codes), self.settings.evaluations)
        return torch.cat([self._call(None if x is None else x[rows], codes[rows]) for rows in parts])

    def _call(self, x: Tensor | None, codes: Tensor) -> Tensor:
        outputs: Tensor = self.network(codes) if x is None else self.network(codes, x)
        return outputs

    def _backward(self, x: Tensor | None, y: Tensor, codes: Tensor, weights: Tensor | None = None) -> float:
        """Add the gradient of the mean weighted squared error, and return the sum over the points."""
        self.network.train()
        errors = (self._call(x, codes) - y).flatten(1).square().sum(dim=1)
        total = errors.sum() if weights is None else (weights * errors).sum()
        (total / len(y)).backward()  # type: ignore[no-untyped-call]
        return total.item()

    def _responsibilities(self, x: Tensor | None, y: Tensor) -> Tensor:
        return self._log_joint(x, y, self.all_codes, self.weights.log()).softmax(dim=1).float()

    def _log_joint(self, x: Tensor | None, y: Tensor, codes: Tensor, log_weights: Tensor) -> Tensor:
        """Return log p(y | z, x) plus the codes' log weights, (points, codes), in float64."""
        if self.sigma is None:
            raise InputError("sigma is not known before `fit`; fit first, or give sigma to SOG")
        squared = self._errors(x, y, y.new_zeros(len(y), self.prior.dimension), slice(0, self.prior.dimension), codes)
        size = y[0].numel()
        constant = -size / 2 * math.log(2 * math.pi * self.sigma**2)
        return constant - squared.double() / (2 * self.sigma**2) + log_weights.double()

    def _points(self, x: Any, y: Any) -> tuple[Tensor | None, Tensor]:
        targets = _tensor(y).to(self._device, torch.float32)
        inputs = None if x is None else _tensor(x).to(self._device)
        if targets.ndim == 0 or len(targets) == 0:
            raise InputError("y has no points; give an array of the shape (points, ...)")
        if inputs is not None and (inputs.ndim == 0 or len(inputs) != len(targets)):
            raise InputError(
                f"x has the shape {tuple(inputs.shape)} and y has {len(targets)} points; give as many of x"
            )
        for name, values in (("x", inputs), ("y", targets)):
            if values is not None and not bool(torch.isfinite(values).all()):
                raise InputError(f"{name} has numbers that are not finite; leave out those points or mend them")
        return inputs, targets

    @torch.no_grad()
    def _require_shape(self, x: Tensor | None, y: Tensor) -> None:
        shape = self._outputs(None if x is None else x[:1], y.new_zeros(1, self.prior.dimension)).shape
        if shape != y[:1].shape:
            raise InputError(
                f"the network returns {tuple(shape[1:])} for a point of y, whose shape is {tuple(y.shape[1:])}; "
                "let both be the same"
            )


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _tensor(values: Any) -> Tensor:
    """Return values as a tensor, real numbers in single precision."""
    tensor = torch.as_tensor(values)
    return tensor.float() if tensor.is_floating_point() else tensor
