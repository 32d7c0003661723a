"""Settings of the algorithms that learn from demonstrations alone; no PyTorch is needed.

The command line is built from these classes and their docstrings.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from manyways.errors import (
    InputError,
    require_above_zero,
    require_at_least,
    require_choice,
    require_share,
)
from manyways.latents import Categorical, Prior
from manyways.search.settings import Search

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv
    from torch import nn

    from manyways.algorithms.training import Training
    from manyways.demonstrations import Demonstrations
    from manyways.policies.policy import Policy


@dataclass(frozen=True, kw_only=True)
class Algorithm(ABC):
    """Settings of every algorithm. For an algorithm of your own, derive from this and from `Training`.

    Args:
        hidden: width of the network.
        encoder: from an observation to features: flat, conv, a registered name or module:ATTRIBUTE; in Python also a
            torch.nn.Module. The default is conv for observations with an image, else flat.
        seed: of everything random; the same seed on the same machine gives the same policy.
        device: such as cpu or cuda; auto takes a GPU if there is one.

    Raises:
        InputError: a setting is out of its range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    has_codes: ClassVar[bool] = False
    runs_environments: ClassVar[bool] = False

    hidden: int | None = 128
    encoder: "str | nn.Module | None" = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        require_at_least(self, 1, "hidden")
        require_at_least(self, 0, "seed")
        prior = getattr(self, "prior", None)
        if not isinstance(prior, Prior | None):
            raise InputError(f"prior is {prior!r}; give manyways.Categorical(K) or manyways.Gaussian(D)")

    @abstractmethod
    def start(
        self, demonstrations: "Demonstrations", environment: "VectorEnv[Any, Any, Any] | None" = None
    ) -> "Training":
        """Return training at its first iteration; the caller steps, saves and restores it.

        Args:
            demonstrations: the training data.
            environment: for algorithms that run environments, a vector environment with `environments` of them, which
                resets ended episodes at the next step. Its rewards are not used.

        Raises:
            InputError: the demonstrations do not fit the settings or the environment.
        """

    def fit(
        self,
        demonstrations: "Demonstrations",
        environment: "VectorEnv[Any, Any, Any] | None" = None,
        callback: "Callable[[Training], object] | None" = None,
        progress: bool | None = None,
        init: "Policy | None" = None,
    ) -> "Policy":
        """Learn from the demonstrations, and return the policy.

        Args:
            demonstrations: the training data.
            environment: as for `start`.
            callback: called with the training after each iteration; it may return False to end training.
            progress: whether to show a progress bar; by default on a terminal only.
            init: a trained policy to start from, of the same architecture; codes keep their modes and their names.

        Raises:
            InputError: as `start`, or the policy has another architecture.
        """
        from manyways.algorithms.training import run_to_end

        return run_to_end(self, demonstrations, environment, callback, progress, init)

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        for name, value in values.items():
            if hasattr(value, "to_json"):
                values[name] = value.to_json()
            elif isinstance(value, Search):
                values[name] = vars(value)
        if values["encoder"] is not None and not isinstance(values["encoder"], str):
            values["encoder"] = type(values["encoder"]).__qualname__
        if isinstance(values.get("prior"), dict) and values["prior"]["kind"] == "categorical":
            values.pop("search", None)  # every code is tried
        return values


@dataclass(frozen=True, kw_only=True)
class Cloning(Algorithm):
    """Settings of the algorithms that learn from demonstrations alone.

    Those without a default follow from the demonstrations: see `algorithms.defaults`.

    Args:
        iterations: gradient steps; 3,000 unless given, or 60 passes over the data for a large network, at most 12,000.
        learning_rate: the greatest; it falls to 0. By the optimizer unless given.
        history: observations that the policy sees, the current one included. Unless given, 2 where errors persist from
            step to step, as those of people do, else 1.
        horizon: actions that it plans together. Unless given, 16 where errors persist, else 1.
        execute: how many of them it does before it plans again; half of them, rounded up, unless given.
        ensemble: m, where the policy plans anew at each step and does the mean of the plans that overlap there, a plan
            of age a with the weight exp(-m a) (Zhao et al. 2023); off does one plan after the other.
        validation: share of the trajectories that are held out to measure the loss on; with fewer than 20 trajectories
            none are.
        keep: which weights a policy has: best, those with the least held-out loss; or last. Unless given, last for the
            residual network, whose actions go on improving when its held-out loss does not, else best.
        patience: with best weights, share of the iterations without a lower held-out loss after which training stops.
        network: paper has the layers of Figure 8a; residual has deeper ones with dropout. Unless given, residual and
            256 wide where errors persist over 15,000 steps or more, else paper.
        optimizer: muon steps as far in every direction of a matrix, which small differences of large values need; adamw
            has weight decay and averages the weights, which few and noisy demonstrations need. Unless given, adamw
            where errors persist, else muon.
    """

    agent: ClassVar[dict[str, Any]] = {"history": 1, "horizon": 1, "optimizer": "muon"}
    person: ClassVar[dict[str, Any]] = {"history": 2, "horizon": 16, "optimizer": "adamw"}
    large: ClassVar[dict[str, Any]] = {
        "network": "residual",
        "hidden": 256,
        "linear": True,
        "details": 16,
    }  # for much of people's data
    small: ClassVar[dict[str, Any]] = {"network": "paper", "iterations": 3000, "keep": "best", "details": 1}
    batches: ClassVar[dict[str, dict[str, Any]]] = {
        "muon": {"learning_rate": 5e-3},
        "adamw": {"learning_rate": 1e-3},
    }

    iterations: int | None = None
    learning_rate: float | None = None
    history: int | None = None
    horizon: int | None = None
    execute: int | None = None
    ensemble: float | Literal["off"] = "off"
    validation: float = 0.1
    keep: Literal["best", "last"] | None = None
    patience: float = 0.3
    network: Literal["paper", "residual"] | None = None
    optimizer: Literal["muon", "adamw"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "iterations", "history", "horizon")
        require_above_zero(self, "learning_rate", "patience")
        require_share(self, "validation", below_one=True)
        choices = {"network": ("paper", "residual"), "optimizer": ("muon", "adamw"), "keep": ("best", "last")}
        for name in choices:
            if getattr(self, name) is not None:
                require_choice(self, name, *choices[name])
        ensemble: Any = self.ensemble
        if ensemble != "off":
            if not isinstance(ensemble, int | float) or not math.isfinite(ensemble):
                raise InputError(f"ensemble is {ensemble!r}; give a number, such as 0.1, or off")
            if self.execute is not None:
                raise InputError(f"execute is {self.execute}, but an ensemble plans anew at each step; leave one out")
        if self.execute is not None and not 1 <= self.execute <= (self.horizon or self.execute):
            raise InputError(f"execute is {self.execute}; give 1 to the {self.horizon} actions of the horizon")

    def to_json(self) -> dict[str, Any]:
        """Return the settings for a file."""
        values = super().to_json()
        return {name: value for name, value in values.items() if (name, value) != ("ensemble", "off")}

    def window(self) -> dict[str, int]:
        """Return what a network sees, plans and does, once history and horizon are known."""
        assert self.history is not None
        assert self.horizon is not None
        executed = self.execute or (self.horizon + 1) // 2
        if self.ensemble != "off":
            executed = self.horizon  # the whole plan is needed
            if self.horizon == 1:
                raise InputError(f"ensemble is {self.ensemble}, but plans have one action; give a horizon, such as 16")
        return {"window": self.history, "chunk": self.horizon, "executed": executed}


_BATCHES = {
    "muon": {"learning_rate": 5e-3, "trajectories_per_batch": 64, "steps_per_trajectory": 64},
    "adamw": {"learning_rate": 1e-3, "trajectories_per_batch": 16, "steps_per_trajectory": 16},
}


@dataclass(frozen=True, kw_only=True)
class SOGBC(Cloning):
    """Settings of SOG-BC (Algorithm 2).

    Args:
        prior: the codes to choose from. `manyways.train` counts the modes by default.
        search: how continuous codes are searched; discrete ones are all tried.
        trajectories_per_batch: trajectories in a gradient step, drawn in proportion to their length; 64 for muon and 16
            for adamw, unless given; 256 for a residual network with a single code.
        steps_per_trajectory: steps of each, drawn at random, for the search of its code and for the gradient; as many,
            but 1 for a residual network with a single code.
        hidden: width of the network; the default is 128, as in the paper, and 256 for more than 128 features.
        init: clusters takes initial codes from groups of similar trajectories, and adds their likelihood to the search;
            random is the paper's start and search, by the policy's error alone.
        warm_up: share of the iterations with the initial codes.
        details: codes below the mode, one for each plan, which nobody chooses: searched together with the mode, and
            chosen by a gate, p(detail | observations, code). Unless given, 16 where much of people's data gets a large
            network and codes are a list, else 1.
        linear: whether the network learns what a linear answer to the observations leaves; unless given, where much of
            people's data gets a large network.
        segments: whether the code may change within a trajectory, as where people change their mind. The horizon is
            then 1 unless given.
    """

    name: ClassVar[str] = "sog-bc"
    summary: ClassVar[str] = "Behaviour cloning under the code that explains each trajectory best (Algorithm 2)."
    has_codes: ClassVar[bool] = True
    batches: ClassVar[dict[str, dict[str, Any]]] = _BATCHES

    prior: Prior = None  # type: ignore[assignment]  # `start` needs one
    search: Search = field(default_factory=Search)
    trajectories_per_batch: int | None = None
    steps_per_trajectory: int | None = None
    hidden: int | None = None
    init: Literal["clusters", "random"] = "clusters"
    warm_up: float = 0.1
    details: int | None = None
    linear: bool | None = None
    segments: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "trajectories_per_batch", "steps_per_trajectory", "details")
        if (self.details or 1) > 1 and self.prior is not None and not isinstance(self.prior, Categorical):
            raise InputError(f"details is {self.details}, but the codes are continuous; leave it at 1, or give --modes")
        require_share(self, "warm_up", below_one=True)
        require_choice(self, "init", "clusters", "random")

    def start(self, demonstrations: "Demonstrations", environment: Any = None) -> "Training":
        """Return training at its first iteration."""
        require_prior(self)
        if self.segments:
            from manyways.algorithms.segments import SegmentsTraining

            return SegmentsTraining(replace(self, horizon=self.horizon or 1, details=self.details or 1), demonstrations)
        from manyways.algorithms.sog_bc import SOGBCTraining

        return SOGBCTraining(self, demonstrations)


@dataclass(frozen=True, kw_only=True)
class BC(Cloning):
    """Settings of behaviour cloning: SOG-BC's, with a single code.

    Args:
        trajectories_per_batch: trajectories in a gradient step, drawn in proportion to their length; 64 for muon and 16
            for adamw, unless given; 256 for a residual network.
        steps_per_trajectory: steps of each, drawn at random; as many, but 1 for a residual network.
        hidden: width of the network; that of SOG-BC unless given.
    """

    name: ClassVar[str] = "bc"
    summary: ClassVar[str] = "Behaviour cloning without codes; it averages different modes."
    batches: ClassVar[dict[str, dict[str, Any]]] = _BATCHES

    trajectories_per_batch: int | None = None
    steps_per_trajectory: int | None = None
    hidden: int | None = None

    def start(self, demonstrations: "Demonstrations", environment: Any = None) -> "Training":
        """Return training at its first iteration."""
        return SOGBC(prior=Categorical(1), init="random", details=1, **vars(self)).start(demonstrations)


def _without_codes(rate: float, steps: int) -> dict[str, dict[str, Any]]:
    """Return the learning rate and the batch of an algorithm without a code, tuned for Muon; and those for AdamW."""
    return {
        "muon": {"learning_rate": rate, "steps_per_batch": steps},
        "adamw": {"learning_rate": 1e-3, "steps_per_batch": 256},
    }


@dataclass(frozen=True, kw_only=True)
class WithoutCodes(Cloning):
    """Settings of algorithms that clone several modes without a code.

    Args:
        steps_per_batch: demonstrated steps in a gradient step, drawn at random from all; by the optimizer unless given.
        hidden: width of the network; that of SOG-BC unless given.
    """

    learns_choices: ClassVar[bool] = False

    steps_per_batch: int | None = None
    hidden: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "steps_per_batch")

    def start(self, demonstrations: "Demonstrations", environment: Any = None) -> "Training":
        """Return training at its first iteration."""
        from manyways.demonstrations.spaces import require_continuous

        if not self.learns_choices:
            require_continuous(demonstrations.action_space, self.name)
        from manyways.algorithms.without_codes import WithoutCodesTraining

        return WithoutCodesTraining(self, demonstrations)

    @abstractmethod
    def network_settings(self) -> dict[str, Any]:
        """Return the network's arguments, except those that all have."""


@dataclass(frozen=True, kw_only=True)
class MDN(WithoutCodes):
    """Settings of MDN.

    Args:
        components: of the mixture.
    """

    name: ClassVar[str] = "mdn"
    summary: ClassVar[str] = "A mixture of Gaussians at every step (Bishop 1994)."
    learns_choices: ClassVar[bool] = True

    batches: ClassVar[dict[str, dict[str, Any]]] = _without_codes(1e-2, 4096)

    components: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "components")

    def network_settings(self) -> dict[str, Any]:
        """Return the network's arguments, except those that all have."""
        return {"components": self.components}


@dataclass(frozen=True, kw_only=True)
class BeT(WithoutCodes):
    """Settings of BeT.

    Args:
        steps_per_batch: windows in a gradient step; the loss has every step of a window. By the optimizer unless given.
        bins: of the actions.
        layers: of the transformer, whose width is `hidden`.
        heads: of its attention.
        focal: γ of the bins' focal loss, 2 in the paper; 0 is cross-entropy.
        offset_weight: of the offset's squared error, averaged over the dimensions of the normalised action.
    """

    name: ClassVar[str] = "bet"
    summary: ClassVar[str] = "Behaviour transformer: a bin of actions and an offset (Shafiullah et al. 2022)."

    agent: ClassVar[dict[str, Any]] = Cloning.agent | {"history": 10}
    large: ClassVar[dict[str, Any]] = Cloning.large | {"hidden": 128}  # two such layers have the weights of the others
    batches: ClassVar[dict[str, dict[str, Any]]] = _without_codes(2e-3, 48)

    bins: int = 64
    layers: int = 2
    heads: int = 4
    focal: float = 0.0
    offset_weight: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "bins", "layers", "heads")
        require_at_least(self, 0, "focal", "offset_weight")
        hidden = self.hidden or 128  # or twice as much
        if hidden % self.heads:
            raise InputError(f"hidden is {hidden}; give a multiple of the {self.heads} heads")

    def network_settings(self) -> dict[str, Any]:
        """Return the network's arguments, except those that all have."""
        return {name: getattr(self, name) for name in ("bins", "layers", "heads")}


@dataclass(frozen=True, kw_only=True)
class VQBeT(BeT):
    """Settings of VQ-BeT: those of BeT.

    Args:
        bins: of each of both codes of a plan.
    """

    name: ClassVar[str] = "vq-bet"
    summary: ClassVar[str] = "Behaviour transformer with two learned codes of a plan (Lee et al. 2024)."

    bins: int = 16


@dataclass(frozen=True, kw_only=True)
class Diffusion(WithoutCodes):
    """Settings of diffusion policy.

    Args:
        denoising_steps: from noise to actions, by DDIM.
    """

    name: ClassVar[str] = "diffusion"
    summary: ClassVar[str] = "Diffusion policy: actions drawn from noise, a chunk at a time (Chi et al. 2023)."

    agent: ClassVar[dict[str, Any]] = Cloning.agent | {"history": 2, "horizon": 8}
    batches: ClassVar[dict[str, dict[str, Any]]] = _without_codes(1e-2, 2048)

    denoising_steps: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "denoising_steps")
        if self.denoising_steps > 100:
            raise InputError(f"denoising_steps is {self.denoising_steps}; give at most the 100 levels of noise")

    def network_settings(self) -> dict[str, Any]:
        """Return the network's arguments, except those that all have."""
        return {"denoising_steps": self.denoising_steps}


def require_prior(settings: Any) -> None:
    """Raise `InputError` if the settings have no prior."""
    if settings.prior is None:
        raise InputError(
            f"{settings.name} does not know how many codes there are; give prior=Categorical(K), or Gaussian(D) for "
            "modes that are a range"
        )
