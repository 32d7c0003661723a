"""Runs a policy where PyTorch is not installed: the same folder, the same `predict`, computed by NumPy.

    from manyways.runtime import load_policy

    policy = load_policy("arm-policy")
    action, state = policy.predict(observation, state=policy.code("over"), deterministic=True)

It reads policies with codes (SOG-BC, BC and the adversarial algorithms) with flat observations, dictionaries and images
under the encoders "flat" and "conv". Export others to ONNX.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.demonstrations import spaces
from manyways.demonstrations.observations import apply
from manyways.demonstrations.rotations import Rotations
from manyways.errors import InputError
from manyways.latents import Gaussian, Prior, prior_from_json
from manyways.networks.in_numpy import ENCODERS, ArrayNetwork
from manyways.policies import modes
from manyways.policies.acting import Actor, Floats
from manyways.policies.ensemble import Ensemble, ensemble_of
from manyways.policies.novelty import Novelty
from manyways.policies.start_gate import StartGate
from manyways.policies.storage import DESCRIPTION_FILE, read_arrays_of, require_sizes

__all__ = ["ArrayPolicy", "load_policy"]


class ArrayPolicy(Actor):
    """A policy in NumPy, see `manyways.Policy`: `predict`, `code`, `with_code`, `modes`, `novelty` and `guard`.

    Args:
        network: in NumPy.
        prior, counts, seed, start_gate, novelty, rotations, ensemble: as for `manyways.Policy`.
    """

    def __init__(
        self,
        network: ArrayNetwork,
        prior: Prior,
        counts: tuple[int, ...] = (),
        seed: int = 0,
        start_gate: StartGate | None = None,
        novelty: Novelty | None = None,
        rotations: Rotations | None = None,
        ensemble: float | None = None,
    ) -> None:
        self._network = network
        super().__init__(
            network,
            prior,
            counts,
            seed,
            start_gate,
            novelty,
            network.precise,
            network.moments,
            network.fast,
            rotations,
            None if ensemble is None else Ensemble(ensemble, network.executed, network.switches),
        )

    def _answer(self, windows: Any, codes: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        if self._network.window == 1:
            windows = apply(lambda array: array[:, 0], windows)
        return self._network.act(windows, codes, rng)

    def _features(self, observations: Any) -> Floats:
        return self._network.features(observations)


def load_policy(folder: str | Path, seed: int = 0) -> ArrayPolicy:
    """Read a policy from its folder, such as a run's, without PyTorch. Nothing in the files can run code.

    Args:
        folder: with policy.json and policy.safetensors.
        seed: of everything that `predict` draws.

    Raises:
        InputError: there is no policy, a file of it is damaged, or NumPy cannot compute its network.
    """
    folder = Path(folder)
    description, arrays = read_arrays_of(folder)
    kind, encoder = description.get("kind"), description.get("encoder")
    if kind != "coded" or encoder not in (None, *ENCODERS):
        what = f"the encoder {encoder}" if kind == "coded" else f"a network of the kind {kind}"
        raise InputError(f"{folder} has a policy with {what}, which needs PyTorch; use manyways.load_policy, or ONNX")
    try:
        policy = _build(description, arrays, seed)
        policy._answer(_zeros(policy), np.zeros((1, policy._layout.code_size), np.float32), None)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / DESCRIPTION_FILE} is damaged ({error!r}); restore it or train again") from error
    return policy


def _build(description: dict[str, Any], arrays: dict[str, NDArray[Any]], seed: int) -> ArrayPolicy:
    def part(name: str) -> dict[str, NDArray[Any]]:
        return {key.removeprefix(f"{name}."): array for key, array in arrays.items() if key.startswith(f"{name}.")}

    prior = prior_from_json(description["prior"])
    require_sizes(description["network"], [array.shape for array in arrays.values()])
    settings = {name: int(value) for name, value in description["network"].items()}
    seen, done = (spaces.from_json(description[f"{which}_space"]) for which in ("observation", "action"))
    network = ArrayNetwork(part("network"), settings, seen, done, isinstance(prior, Gaussian))
    gate, novelty = part("start_gate"), part("novelty")
    policy = ArrayPolicy(
        network,
        prior,
        modes.counts_from_json(description["trajectories"], getattr(prior, "size", 0)),
        seed,
        StartGate(**gate) if gate else None,
        Novelty(**novelty) if novelty else None,
        Rotations.from_json(description.get("rotations")),
        ensemble_of(description),
    )
    policy.names = modes.from_json(description.get("names", {}), getattr(prior, "size", 0))
    if description["chosen_code"] is not None:
        policy = policy._with_fixed_code(np.array(description["chosen_code"], np.float32).reshape(prior.dimension))
    return policy


def _zeros(policy: ArrayPolicy) -> Any:
    """Return a window of zeros, to try whether the tensors fit each other."""
    boxes = spaces.entry_spaces(policy._network.observation_space)
    windows = {name: np.zeros((1, policy._network.window, *box.shape), box.dtype) for name, box in boxes.items()}
    return windows.get("", windows)
