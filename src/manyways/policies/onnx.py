"""A policy as an ONNX file: normalisation, clipping and switches are inside, so that any runtime may act with it.

    observation (n, [window,] ...), code (n, code size) → action (n, [chunk,] ...)

An entry of a dictionary is an input of its own, `observation.NAME`. Actions are the likeliest ones.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from manyways.demonstrations.spaces import entry_spaces
from manyways.errors import InputError
from manyways.files import write_bytes
from manyways.networks.policy_network import LARGEST_INPUT, PolicyNetwork
from manyways.policies.modes import to_json

if TYPE_CHECKING:
    from manyways.policies.policy import Policy

METADATA = "manyways"  # the key of what the file says of itself, as JSON


def export(policy: "Policy", path: Path) -> None:
    """Write the policy as ONNX; see `Policy.export`."""
    network = policy.network
    if path.suffix != ".onnx":
        raise InputError(f"{path} does not end in .onnx; give such a name")
    if not isinstance(network, PolicyNetwork) or policy.prior is None:
        raise InputError(
            f"a policy of the kind {network.kind} draws what it does, which an ONNX file cannot hold; only policies "
            "with codes, such as sog-bc's, and bc's are exported"
        )
    if policy.rotations is not None:
        raise InputError(
            "the policy has angles or quaternions, which an ONNX file would take and give as they are learned; run its "
            "folder with manyways.runtime, which needs NumPy alone, or train it with --angles none"
        )
    names = _inputs(policy)
    rows = torch.export.Dim("n")
    shapes = tuple({0: rows} for _ in names[:-1]), {0: rows}
    module = _Acting(network).eval()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                _examples(policy),
                input_names=names,
                output_names=["action"],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
    except ImportError as error:
        raise InputError(f'exporting needs ONNX ({error}); run: pip install "manyways[onnx]"') from error
    except Exception as error:  # whatever a user's encoder does that ONNX cannot say
        while error.__cause__ is not None:  # the exporter wraps what went wrong
            error = error.__cause__  # type: ignore[assignment]
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"the encoder {type(network.encoder).__name__} cannot be exported ({reason}); write it with operations "
            "that ONNX has, without choices that depend on values"
        ) from error
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(_about(policy))
    write_bytes(path, model.SerializeToString())


class _Acting(nn.Module):
    """From raw observations and codes to the likeliest actions in real units.

    Args:
        network: of the policy.
    """

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network
        self.entries = list(entry_spaces(network.observation_space))

    def forward(self, observations: tuple[Tensor, ...], code: Tensor) -> Tensor:
        """Return actions (n, [chunk,] ...)."""
        named = dict(zip(self.entries, observations, strict=True))
        inputs = code
        if self.network.continuous:  # by the error function, which ONNX has
            inputs = LARGEST_INPUT * torch.erf(code / 2**0.5)
        outputs = self.network._outputs(named.get("", named), inputs, None)
        actions: Tensor = self.network.actions.actions(outputs)
        return actions


def _inputs(policy: "Policy") -> list[str]:
    return [*(f"observation.{name}".rstrip(".") for name in entry_spaces(policy.observation_space)), "code"]


def _examples(policy: "Policy") -> tuple[tuple[Tensor, ...], Tensor]:
    """Return inputs of two environments, of the types that `predict` reads."""
    network, observations = policy.network, []
    for box in entry_spaces(policy.observation_space).values():
        dtype: Any = np.float64 if policy._precise and box.dtype == np.float64 else np.float32
        dtype = np.uint8 if box.dtype == np.uint8 else dtype
        shape = (2, *([network.window] if network.window > 1 else []), *box.shape)
        observations.append(torch.from_numpy(np.zeros(shape, dtype)))
    assert policy.prior is not None
    return tuple(observations), torch.zeros(2, policy.prior.dimension)


def _about(policy: "Policy") -> dict[str, Any]:
    network = policy.network
    assert policy.prior is not None
    numbers: dict[str, Any] = {"window": network.window, "chunk": network.chunk, "executed": network.executed}
    numbers |= {} if policy.ensemble is None else {"ensemble": policy.ensemble}  # for whoever runs the file
    return numbers | {"codes": policy.prior.to_json(), "names": to_json(policy.names)}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes, which are for its authors, from the user."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
