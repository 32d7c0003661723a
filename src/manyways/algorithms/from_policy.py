"""Starting a training from a trained policy: its weights, and its normalisation, without which they mean nothing.

The data may be others. What they have and the policy's never showed is taken in so that the policy acts as before at
first:

- a column of the observation that varies only now is normalised anew, and its weights are 0;
- a dimension of the action that varies only now is normalised anew;
- the range of the actions grows, and a switch that has more than two values now is one no more.
"""

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from manyways.demonstrations import Demonstrations, spaces
from manyways.demonstrations.observations import entries
from manyways.demonstrations.stored import blocks
from manyways.errors import InputError
from manyways.networks.actions import ContinuousActions
from manyways.networks.base import ActionNetwork
from manyways.networks.encoders import Flat, is_registered
from manyways.networks.normalization import FARTHEST, Normalizer
from manyways.networks.policy_network import PolicyNetwork
from manyways.policies.policy import Policy

Settings = TypeVar("Settings")

_OPTIONS = {"window": "history", "chunk": "horizon", "executed": "execute"}  # settings of other names than a network's
_CLIPPED = 0.01  # share of the observed values that normalisation clips; more are worth a warning


def like(settings: Settings, policy: Policy) -> Settings:
    """Return the settings with the policy's codes, width, history, horizon and encoder, where they are open."""
    network = policy.network
    own: dict[str, Any] = {_OPTIONS.get(name, name): value for name, value in network.settings().items()}
    encoder = network.encoder_name
    named = encoder is None or is_registered(encoder) or ":" in encoder
    own["network"] = "residual" if own.get("blocks") else "paper"
    own |= {"prior": policy.prior, "encoder": encoder if named else network.encoder}
    if policy.ensemble is not None:
        own["ensemble"] = policy.ensemble
    open_ = [one.name for one in fields(settings) if one.name in own and getattr(settings, one.name) in (None, "off")]  # type: ignore[arg-type]
    if "execute" in open_ and (policy.ensemble is not None or getattr(settings, "ensemble", "off") != "off"):
        open_.remove("execute")
    if "execute" in open_ and getattr(settings, "horizon", None) not in (None, own["horizon"]):
        open_.remove("execute")
    return replace(settings, **{name: own[name] for name in open_})  # type: ignore[type-var]


def as_learned_by(policy: Policy | None, demonstrations: Demonstrations) -> Demonstrations:
    """Return demonstrations with the policy's angles and quaternions, where none are declared and there is a policy.

    Raises:
        InputError: they have other spaces than the policy.
    """
    if policy is None or demonstrations.rotations is not None:
        return demonstrations
    return policy.encoded(demonstrations)


def take_over(network: ActionNetwork, prior: Any, policy: Policy, demonstrations: Demonstrations) -> list[str]:
    """Put the policy's weights and normalisation into a network that was measured on the demonstrations.

    Args:
        network: of the new training.
        prior: its codes; None without codes.
        policy: to start from.
        demonstrations: those that the network will learn from, as they are learned.

    Returns:
        Sentences to warn the user with.

    Raises:
        InputError: the network has another architecture than the policy's.
    """
    own, new = policy.rotations, demonstrations.rotations
    if (own.columns() if own else {}) != (new.columns() if new else {}):
        raise InputError("the policy has other angles or quaternions than the data set; declare the same ones")
    if own is None:
        policy.require_spaces(demonstrations.observation_space, demonstrations.action_space, "the data set")
    _require_same(network, prior, policy)
    for space in ("observation_space", "action_space"):  # as they are learned
        spaces.require_same_names(getattr(policy.network, space), getattr(network, space), "the data set")
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(policy.network.state_dict())
    with torch.no_grad():
        unused = _take_in_columns(network, fresh)
        _take_in_actions(network, fresh)
    listed = ", ".join(unused)
    told = [f"columns that vary only in the new data stay ignored: {listed}; train anew to use them"] if unused else []
    share = _clipped(network, demonstrations)
    if share > _CLIPPED:
        told.append(
            f"{share:.0%} of the observed values lie more than {FARTHEST:.0f} standard deviations from what the policy "
            "has seen and are clipped, since its normalisation stays; train anew if that is where it should act"
        )
    return told


def _require_same(network: ActionNetwork, prior: Any, policy: Policy) -> None:
    """Raise `InputError` with the first difference of architecture."""
    old = policy.network
    if old.kind != network.kind:
        raise InputError(f"a policy of the kind {old.kind} cannot start one of the kind {network.kind}; take the same")
    if policy.prior != prior:
        raise InputError(f"the policy has {policy.prior or 'no codes'}, and not {prior or 'none'}; take the same codes")
    own = network.settings()
    for name, value in old.settings().items():
        if own[name] != value:
            option = _OPTIONS.get(name, name)
            wanted = f"{option}={value}" if name != "blocks" else f"network={'residual' if value else 'paper'!r}"
            raise InputError(f"the policy has {name} {value}, and not {own[name]}; take {wanted}, as it was trained")
    tensors = network.state_dict()
    for name, tensor in old.state_dict().items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            part = "encoder" if name.startswith("encoder.") else f"part {name}"
            raise InputError(f"the policy has another {part} than these settings and data; take the same")
    if len(tensors) != len(old.state_dict()):
        raise InputError("the policy has another encoder than these settings and data; take the same")


def _take_in_columns(network: ActionNetwork, fresh: dict[str, Tensor]) -> list[str]:
    """Normalise the columns that vary only now, and return those that the network cannot take in."""
    unused, place = [], 0
    takes = isinstance(network, PolicyNetwork) and isinstance(network.encoder, Flat)
    for number, (name, size) in enumerate(network.observations.sizes.items()):
        part = network.observations.part(name)
        if not isinstance(part, Normalizer):
            place += size
            continue
        prefix = f"observations.parts.{number}"
        new = (part.std == 0) & (fresh[f"{prefix}.std"] > 0)
        columns = new.flatten().nonzero()[:, 0]
        if takes:
            part.mean[new], part.std[new] = fresh[f"{prefix}.mean"][new], fresh[f"{prefix}.std"][new]
            _forget(network, place + columns)
        else:
            unused += [f"{name}.{int(column)}".lstrip(".") for column in columns]
        place += size
    return unused


def _forget(network: Any, columns: Tensor) -> None:
    """Set the weights of these columns of an observation to 0, in the whole window."""
    every = (
        columns[None] + network.feature_size * torch.arange(network.window, device=columns.device)[:, None]
    ).flatten()
    network.state[0].weight[:, every] = 0
    if network.linear is not None:
        network.linear.weight[every] = 0


def _take_in_actions(network: ActionNetwork, fresh: dict[str, Tensor]) -> None:
    actions = network.actions
    if not isinstance(actions, ContinuousActions):
        actions.frequencies.copy_(fresh["actions.frequencies"])
        return
    new = (actions.std == 0) & (fresh["actions.std"] > 0)
    for name in ("mean", "std"):
        getattr(actions, name)[new] = fresh[f"actions.{name}"][new]
    if isinstance(network, PolicyNetwork) and network.linear is not None:
        network.linear.scale[new.repeat(network.chunk)] = 1
    low, high = fresh["actions.low"], fresh["actions.high"]
    same = fresh["actions.switches"] & (low == actions.low) & (high == actions.high)
    constant = fresh["actions.std"] == 0  # now, at one of the two values
    inside = (low == actions.low) | (high == actions.high)
    actions.switches &= same | (constant & inside)
    actions.low.copy_(torch.minimum(actions.low, low))
    actions.high.copy_(torch.maximum(actions.high, high))


def _clipped(network: ActionNetwork, demonstrations: Demonstrations) -> float:
    """Return which share of the varying observed values lies beyond where normalised observations are clipped."""
    far = total = 0
    for name, array in entries(demonstrations.observations):
        part = network.observations.part(name)
        if isinstance(part, Normalizer):
            scale, mean = part.scale.cpu().numpy(), part.mean.cpu().numpy()
            far += sum(int((np.abs((block - mean) * scale) > FARTHEST).sum()) for _, block in blocks(array))
            total += len(array) * int((scale > 0).sum())
    return far / max(1, total)
