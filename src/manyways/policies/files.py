"""Writing and reading policies.

Networks are first built without memory, then take the file's tensors. So a description that claims an absurd size is
refused before anything is allocated.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

import manyways
from manyways.clustering.groups import Groups
from manyways.demonstrations import spaces
from manyways.demonstrations.rotations import Rotations
from manyways.errors import InputError
from manyways.latents import Gaussian, prior_from_json
from manyways.networks.base import ActionNetwork
from manyways.networks.checkpoints import add_prefix, reason, take_prefix
from manyways.networks.encoders import Encoder, is_registered
from manyways.networks.policy_network import PolicyNetwork
from manyways.networks.registry import network_class
from manyways.policies import modes
from manyways.policies.ensemble import ensemble_of
from manyways.policies.novelty import Novelty
from manyways.policies.segments import Switches
from manyways.policies.start_gate import StartGate
from manyways.policies.storage import DESCRIPTION_FILE, read_files, require_sizes, write_files
from manyways.policies.trajectory_encoder import TrajectoryEncoder

if TYPE_CHECKING:
    from manyways.policies.policy import Policy


def tensors_of(policy: "Policy") -> dict[str, Tensor]:
    """Return everything that a policy has learned, by name."""
    network = policy.network
    tensors = add_prefix("network", network.state_dict())
    if policy.groups is not None:
        tensors |= add_prefix(
            "groups", {name: torch.from_numpy(value) for name, value in policy.groups.tensors().items()}
        )
    if policy.trajectory_encoder is not None:
        tensors |= add_prefix("trajectory_encoder", policy.trajectory_encoder.state_dict())
    if policy.start_gate is not None:
        arrays = {"weight": policy.start_gate.weight, "bias": policy.start_gate.bias}
        tensors |= {f"start_gate.{name}": torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()}
    if policy.switches is not None:
        tensors |= add_prefix("switches", policy.switches.tensors())
    if policy.novelty_model is not None:
        for name, array in vars(policy.novelty_model).items():
            tensors[f"novelty.{name}"] = torch.from_numpy(array)
    return tensors


def save(policy: "Policy", folder: Path) -> None:
    """Write the policy; see `Policy.save`."""
    network = policy.network
    description = {
        "version": manyways.__version__,
        "provenance": policy.provenance,
        "kind": network.kind,
        "prior": None if policy.prior is None else policy.prior.to_json(),
        "trajectories": list(policy.counts),
        "observation_space": spaces.to_json(network.observation_space),
        "action_space": spaces.to_json(network.action_space),
        "encoder": network.encoder_name,
        "network": network.settings(),
        "names": modes.to_json(policy.names),
        **({} if policy.rotations is None else {"rotations": policy.rotations.to_json()}),
        **({} if policy.ensemble is None else {"ensemble": policy.ensemble}),
        "chosen_code": None if policy.chosen_code is None else policy.chosen_code.tolist(),
    }
    write_files(folder, description, tensors_of(policy))


def fingerprint(policy: "Policy") -> str:
    """Return 64 characters that differ where what policies have learned differs."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors_of(policy).items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return digest.hexdigest()


def load(cls: "type[Policy]", folder: Path, seed: int, encoder: Encoder) -> "Policy":
    """Read a policy; see `Policy.load`."""
    description, tensors = read_files(folder)
    path = folder / DESCRIPTION_FILE
    try:
        name = description["encoder"]
        if encoder is None and name is not None and not is_registered(name):
            raise InputError(
                f"{folder} has a policy with the encoder {name}, which is not in its files; give it: "
                "load_policy(folder, encoder=...); commands find it if training names it as module:ATTRIBUTE"
            )
        prior = None if description["prior"] is None else prior_from_json(description["prior"])
        require_sizes(description["network"], [tuple(tensor.shape) for tensor in tensors.values()])
        network = _network(description, name if encoder is None else encoder, prior)
        weights = take_prefix("network", tensors)
        if encoder is not None:
            _require_fit(network, weights, folder)
        network.load_state_dict(weights, assign=True)
        _require_real(network, path)
        groups = {key: tensor.numpy() for key, tensor in take_prefix("groups", tensors).items()}
        trajectory_encoder = take_prefix("trajectory_encoder", tensors)
        start_gate = {name: tensor.numpy() for name, tensor in take_prefix("start_gate", tensors).items()}
        novelty = {name: tensor.numpy() for name, tensor in take_prefix("novelty", tensors).items()}
        switches = take_prefix("switches", tensors)
        policy = cls(
            network,
            prior,
            modes.counts_from_json(description["trajectories"], getattr(prior, "size", 0)),
            seed,
            Groups.from_tensors(groups) if groups else None,
            TrajectoryEncoder.from_tensors(
                trajectory_encoder, network.observation_space, name if encoder is None else encoder
            )
            if trajectory_encoder
            else None,
            StartGate(**start_gate) if start_gate else None,
            Novelty(**novelty) if novelty else None,
            Switches.from_tensors(switches) if switches else None,
            Rotations.from_json(description.get("rotations")),
            ensemble_of(description),
        )
        policy.provenance = dict(description.get("provenance", {}))
        policy.names = modes.from_json(description.get("names", {}), getattr(prior, "size", 0))
        if description["chosen_code"] is not None:
            assert prior is not None
            policy = policy._with_fixed_code(np.array(description["chosen_code"], np.float32).reshape(prior.dimension))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({reason(error)}); restore it or train again") from error
    return policy


def _network(description: dict[str, Any], encoder: Encoder, prior: Any) -> ActionNetwork:
    """Return the network of the description, its tensors without memory."""
    observation_space, action_space = (spaces.from_json(description[f"{of}_space"]) for of in ("observation", "action"))
    settings: dict[str, Any] = {name: int(value) for name, value in description["network"].items()}
    if any(value < (name not in ("blocks", "linear")) for name, value in settings.items()):
        raise ValueError("a number below 1")
    with torch.device("meta"):
        if description["kind"] == PolicyNetwork.kind:
            return PolicyNetwork(
                observation_space,
                action_space,
                prior.dimension,
                continuous=isinstance(prior, Gaussian),
                encoder=encoder,
                **settings,
            )
        return network_class(description["kind"])(observation_space, action_space, encoder=encoder, **settings)


def _require_fit(network: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Raise `InputError` unless the encoder that was given has the shapes of the saved one."""
    own = network.state_dict()
    for name in own | weights:
        if not name.startswith("encoder."):
            continue
        if own.get(name, torch.empty(0)).shape != weights.get(name, torch.empty(0)).shape:
            raise InputError(f"the encoder that was given does not fit the one in {folder} ({name}); give the same one")


def _require_real(network: nn.Module, path: Path) -> None:
    """Raise `InputError` where a tensor of the network was not in the file."""
    missing = [name for name, tensor in _tensors(network) if tensor.is_meta]
    if missing:
        raise InputError(f"{path} lacks {missing[0]}; restore it or train again")
    for parameter in network.parameters():
        parameter.requires_grad_(True)


def _tensors(network: nn.Module) -> list[tuple[str, Tensor]]:
    return [*network.named_parameters(), *network.named_buffers()]
