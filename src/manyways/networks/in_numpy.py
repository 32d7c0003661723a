"""A policy network in NumPy. For a few observations it takes a fifth of PyTorch's time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from manyways.networks.actions import ContinuousActions
from manyways.networks.encoders import Flat
from manyways.networks.normalization import FARTHEST
from manyways.networks.residual import Residual

if TYPE_CHECKING:
    from manyways.networks.policy_network import PolicyNetwork

Floats = NDArray[np.floating[Any]]
Layer = Callable[[Floats], Floats]


def in_numpy(network: "PolicyNetwork") -> Callable[[Floats, Floats], Floats] | None:
    """Return a function to the likeliest actions; None if actions are choices, or there is an encoder.

    The function takes raw observations (n, [window,] size) and codes (n, code size), and returns actions
    (n, executed, size).
    """
    actions = network.actions
    if not (isinstance(network.encoder, Flat) and network.encoder.alone and isinstance(actions, ContinuousActions)):
        return None
    moments = network.observations.part()
    mean, scale = moments.mean.numpy(), moments.scale.numpy()
    single = mean.astype(np.float32)
    state, code = _layers(network.state), _linear(network.code)
    executed, size = network.executed, actions.size
    columns = slice(0, executed * size)
    # Real units are folded into the last layer, and into the linear answer.
    std = np.tile(actions.std.numpy(), network.chunk)[columns]
    middle = np.tile(actions.mean.float().numpy(), network.chunk)[columns]
    unit, answer = std, None
    if network.linear is not None:
        unit = std * network.linear.scale.numpy()[columns]
        answer = network.linear.weight.numpy()[:, columns] * std
    last = network.output.weight.detach().numpy().T[:, columns] * unit
    bias = network.output.bias.detach().numpy()[columns] * unit + middle
    low, high, switches = (part.numpy() for part in (actions.low, actions.high, actions.switches))
    any_switch = bool(switches.any())
    continuous, code_inputs = network.continuous, network.code_inputs
    details = gate = None
    if network.details > 1:
        details = network.detail.weight.detach().numpy().T.copy()
        gate = [_linear(layer) for layer in (network.gate.state, network.gate.code, network.gate.output)]

    def act(observations: Floats, codes: Floats) -> Floats:
        centred = observations - (single if observations.dtype == np.float32 else mean)
        inputs = np.minimum(np.maximum(centred.astype(np.float32, copy=False) * scale, -FARTHEST), FARTHEST)
        if inputs.ndim == 3:
            inputs = inputs.reshape(len(inputs), -1)
        if continuous:
            codes = code_inputs(torch.from_numpy(codes)).numpy()
        sums = state(inputs)
        if details is not None and gate is not None:
            chosen = gate[2](_silu(gate[0](sums) + gate[1](codes))).argmax(axis=1)
            sums = sums + code(codes) + details[chosen]
        else:
            sums = sums + code(codes)
        values = np.tanh(sums) @ last + bias
        if answer is not None:
            values += inputs @ answer
        values = np.minimum(np.maximum(values.reshape(-1, executed, size), low), high)
        if any_switch:
            values = np.where(switches, np.where(values < (low + high) / 2, low, high), values)
        return values

    return act


def _layers(modules: nn.Module) -> Layer:
    """Return layers one after the other."""
    functions = [_layer(module) for module in modules.children() if not isinstance(module, nn.Dropout)]

    def run(x: Floats) -> Floats:
        for function in functions:
            x = function(x)
        return x

    return run


def _layer(module: nn.Module) -> Layer:
    if isinstance(module, nn.Linear):
        return _linear(module)
    if isinstance(module, nn.Tanh):
        return np.tanh
    if isinstance(module, nn.SiLU):
        return _silu
    if isinstance(module, nn.LayerNorm):
        return _layer_norm(module)
    assert isinstance(module, Residual), module
    branch = _layers(module.layers)
    return lambda x: x + branch(x)


def _linear(module: nn.Linear) -> Layer:
    weight = module.weight.detach().numpy().T.copy()
    bias = module.bias.detach().numpy()
    return lambda x: x @ weight + bias


def _layer_norm(module: nn.LayerNorm) -> Layer:
    weight, bias, least = module.weight.detach().numpy(), module.bias.detach().numpy(), module.eps

    def normalize(x: Floats) -> Floats:
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + least) * weight + bias

    return normalize


def _silu(x: Floats) -> Floats:
    return x / (1 + np.exp(-x))
