"""A policy network in NumPy, from its tensors by name. For a few observations it takes a fifth of PyTorch's time.

It needs no PyTorch, so that a policy's folder can be read where that is not installed (`manyways.runtime`).
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from manyways.demonstrations.spaces import Space, choices_of, entry_spaces
from manyways.networks.limits import FARTHEST, IMAGE_SCALE, LARGEST_INPUT

if TYPE_CHECKING:
    from manyways.networks.policy_network import PolicyNetwork

Floats = NDArray[np.floating[Any]]
Arrays = Mapping[str, NDArray[Any]]
Layer = Callable[[Floats], Floats]

_NORM_EPSILON = 1e-5  # PyTorch's, of a layer norm

ENCODERS = ("flat", "conv")  # those that NumPy knows; None is one of them


def in_numpy(network: "PolicyNetwork") -> "ArrayNetwork | None":
    """Return the same network in NumPy; None for choices, images, dictionaries and encoders, which PyTorch does."""
    from manyways.networks.encoders import Flat

    if network.actions.discrete or not (isinstance(network.encoder, Flat) and network.encoder.alone):
        return None
    arrays = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    spaces = network.observation_space, network.action_space
    return ArrayNetwork(arrays, network.settings(), *spaces, network.continuous)


class ArrayNetwork:
    """Figure 8a's network, see `PolicyNetwork`.

    Args:
        arrays: the network's tensors by name.
        settings: of the network, from its file.
        observation_space, action_space: of one step.
        continuous: whether codes are continuous.

    Attributes:
        act: from raw observations (n, [window,] size), or a dictionary of such, and codes (n, code size) to actions
            (n, executed, ...); with a source of randomness as the third argument they are drawn.
        features: from raw observations (n, [window,] ...) to features (n, [window,] features).
        precise: whether raw observations must be in double precision.
        moments: mean and inverse standard deviation of a flat observation; None for others.
        switches: which dimensions of an action have two values, and the range of each; None for choices.

    Raises:
        KeyError: a tensor is missing.
    """

    def __init__(
        self,
        arrays: Arrays,
        settings: Mapping[str, int],
        observation_space: Space,
        action_space: Space,
        continuous: bool,
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        boxes = entry_spaces(observation_space)
        parts = {name: _normalizer(arrays, number, box) for number, (name, box) in enumerate(boxes.items())}
        vector = list(boxes) == [""] and len(boxes[""].shape) == 1
        images = {name: box.shape for name, box in boxes.items() if len(box.shape) in (2, 3)}
        self.moments = _moments(arrays, 0) if vector else None
        self.precise = any(part.precise for part in parts.values())
        if vector:
            self.features: Callable[[Any], Floats] = parts[""]
        elif "encoder.towers.0.0.weight" in arrays:
            self.features = _convolutional(arrays, parts, boxes, images)
        else:
            self.features = _flat(parts, boxes)
        self.window, self.executed = settings["window"], settings["executed"]
        self.switches: Any = tuple(arrays.get(f"actions.{name}") for name in ("switches", "low", "high"))
        self.act = _action_function(arrays, settings, action_space, self.features, self._code_inputs(continuous))

    @property
    def fast(self) -> Callable[..., NDArray[Any]] | None:
        """`act`, where it is from arrays to arrays; None for other observations and for choices."""
        return self.act if self.moments is not None and choices_of(self.action_space) is None else None

    def __call__(self, observations: Any, codes: Floats, rng: np.random.Generator | None = None) -> NDArray[Any]:
        """Return `act` of these."""
        return self.act(observations, codes, rng)

    def _code_inputs(self, continuous: bool) -> Layer | None:
        if not continuous:
            return None
        normal = np.frompyfunc(lambda z: math.erfc(-z / math.sqrt(2)) / 2, 1, 1)  # the CDF
        return lambda codes: (LARGEST_INPUT * (2 * normal(codes).astype(np.float64) - 1)).astype(np.float32)


def _action_function(
    arrays: Arrays, settings: Mapping[str, int], action_space: Space, features: Any, code_inputs: Layer | None
) -> Callable[..., NDArray[Any]]:
    """Return `ArrayNetwork.act`."""
    chunk, executed = settings["chunk"], settings["executed"]
    choices = choices_of(action_space)
    state, code = _state_layers(arrays, settings["blocks"]), _linear(arrays, "code")
    weight, bias = arrays["output.weight"].T, arrays["output.bias"]
    answer = arrays["linear.weight"] if settings.get("linear") else None
    if answer is not None:
        weight, bias = weight * arrays["linear.scale"], bias * arrays["linear.scale"]
    if choices is None:
        size = int(np.prod(action_space.shape or ()))
        # Real units are folded into the last layer, and into the linear answer.
        columns = slice(0, executed * size)
        std = np.tile(arrays["actions.std"], chunk)[columns]
        middle = np.tile(arrays["actions.mean"].astype(action_space.dtype), chunk)[columns]
        weight, bias = weight[:, columns] * std, bias[columns] * std + middle
        answer = None if answer is None else answer[:, columns] * std
        finish = _continuous(arrays, chunk, executed, size)
    else:
        finish = _discrete(choices, action_space.shape == (), chunk, executed)
    details = gate = None
    if settings["details"] > 1:
        details = arrays["detail.weight"].T.copy()
        gate = [_linear(arrays, f"gate.{part}") for part in ("state", "code", "output")]

    def act(observations: Any, codes: Floats, rng: np.random.Generator | None = None) -> NDArray[Any]:
        inputs = features(observations)
        if inputs.ndim == 3:
            inputs = inputs.reshape(len(inputs), -1)
        if code_inputs is not None:
            codes = code_inputs(codes)
        sums = state(inputs)
        if details is not None and gate is not None:
            logits = gate[2](_silu(gate[0](sums) + gate[1](codes)))
            if rng is not None:  # the arg max after Gumbel noise is a draw from the softmax
                logits = logits + rng.gumbel(size=logits.shape)
            sums = sums + code(codes) + details[logits.argmax(axis=1)]
        else:
            sums = sums + code(codes)
        values = np.tanh(sums) @ weight + bias
        if answer is not None:
            values += inputs @ answer
        return finish(values, rng)

    return act


def _continuous(arrays: Arrays, chunk: int, executed: int, size: int) -> Callable[..., NDArray[Any]]:
    low, high, switches, noise = (arrays[f"actions.{name}"] for name in ("low", "high", "switches", "noise"))
    any_switch = bool(switches.any())

    def finish(values: Floats, rng: np.random.Generator | None) -> Floats:
        values = values.reshape(-1, executed, size)
        if rng is not None:
            values = values + noise * rng.standard_normal((len(values), chunk, size), dtype=np.float32)[:, :executed]
        values = np.minimum(np.maximum(values, low), high)
        if any_switch:
            values = np.where(switches, np.where(values < (low + high) / 2, low, high), values)
        return values

    return finish


def _discrete(choices: NDArray[np.int64], single: bool, chunk: int, executed: int) -> Callable[..., NDArray[Any]]:
    ends = np.cumsum(np.tile(choices, chunk))[:-1]

    def finish(values: Floats, rng: np.random.Generator | None) -> NDArray[Any]:
        if rng is not None:
            values = values + rng.gumbel(size=values.shape).astype(np.float32)
        parts = [logits.argmax(axis=-1) for logits in np.split(values, ends, axis=-1)]
        chosen = np.stack(parts, axis=-1).reshape(len(values), chunk, -1)[:, :executed]
        return chosen[..., 0] if single else chosen

    return finish


class _Moments:
    """Normalises one entry of an observation by its moments; see `networks.normalization.Normalizer`."""

    def __init__(self, mean: Floats, scale: Floats) -> None:
        self.mean, self.single, self.scale = mean, mean.astype(np.float32), scale
        self.precise = bool((np.abs(mean) * scale > 1e4).any())

    def __call__(self, values: NDArray[Any]) -> Floats:
        centred = values - (self.single if values.dtype == np.float32 else self.mean)
        scaled = centred.astype(np.float32, copy=False) * self.scale
        result: Floats = np.minimum(np.maximum(scaled, -FARTHEST), FARTHEST)
        return result


class _Bytes:
    """Scales images of bytes to -1 to 1."""

    precise = False

    def __call__(self, values: NDArray[Any]) -> Floats:
        return values.astype(np.float32) / np.float32(IMAGE_SCALE) - 1


def _moments(arrays: Arrays, number: int) -> tuple[Floats, Floats]:
    mean, std = (arrays[f"observations.parts.{number}.{name}"] for name in ("mean", "std"))
    return mean, np.divide(1, std, out=np.zeros_like(std), where=std > 0)


def _normalizer(arrays: Arrays, number: int, box: Any) -> "_Moments | _Bytes":
    return _Bytes() if box.dtype == np.uint8 and len(box.shape) > 1 else _Moments(*_moments(arrays, number))


def _flat(parts: Mapping[str, Any], boxes: Mapping[str, Any]) -> Callable[[Any], Floats]:
    """Return all values of an observation side by side."""

    def features(observations: Any) -> Floats:
        entries = observations if isinstance(observations, Mapping) else {"": observations}
        return np.concatenate([_rows(part(entries[name]), boxes[name].shape) for name, part in parts.items()], axis=-1)

    return features


def _rows(values: Floats, shape: tuple[int, ...]) -> Floats:
    return values.reshape(*values.shape[: values.ndim - len(shape)], -1)


def _convolutional(
    arrays: Arrays, parts: Mapping[str, Any], boxes: Mapping[str, Any], images: Mapping[str, tuple[int, ...]]
) -> Callable[[Any], Floats]:
    """Return the features of the encoder "conv"; see `networks.encoders.Convolutional`."""

    def tower(number: int, values: Floats, shape: tuple[int, ...]) -> Floats:
        lead = values.shape[: values.ndim - len(shape)]
        x = values.reshape(-1, *shape)
        x = np.moveaxis(x, -1, 1) if len(shape) == 3 else x[:, None]
        prefix = f"encoder.towers.{number}"
        for layer, padding in ((0, 2), (2, 1), (4, 1)):
            x = np.maximum(
                _convolved(x, arrays[f"{prefix}.{layer}.weight"], arrays[f"{prefix}.{layer}.bias"], padding), 0
            )
        x = np.maximum(_linear(arrays, f"{prefix}.7")(x.reshape(len(x), -1)), 0)
        return x.reshape(*lead, -1)

    def features(observations: Any) -> Floats:
        entries = observations if isinstance(observations, Mapping) else {"": observations}
        scaled = {name: part(entries[name]) for name, part in parts.items()}
        seen = [tower(number, scaled[name], shape) for number, (name, shape) in enumerate(images.items())]
        others = [_rows(values, boxes[name].shape) for name, values in scaled.items() if name not in images]
        return np.concatenate(seen + others, axis=-1)

    return features


def _convolved(x: Floats, weight: Floats, bias: Floats, padding: int) -> Floats:
    """Return a convolution of x (n, channels, height, width) with stride 2."""
    edges = (padding, padding)
    padded = np.pad(x, ((0, 0), (0, 0), edges, edges))
    patches = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, ::2, ::2]  # (n, c, h, w, k, k)
    summed = np.tensordot(patches, weight, axes=((1, 4, 5), (1, 2, 3)))
    return np.moveaxis(summed + bias, -1, 1)


def _state_layers(arrays: Arrays, blocks: int) -> Layer:
    """Return the state's part of the sum; see `networks.residual.state_layers`."""
    first = _linear(arrays, "state.0")
    if blocks == 0:
        second = _linear(arrays, "state.2")
        return lambda x: second(np.tanh(first(x)))
    residual = [_residual(arrays, f"state.{number + 1}.layers") for number in range(blocks)]
    functions = [first, *residual, _layer_norm(arrays, f"state.{blocks + 1}"), _linear(arrays, f"state.{blocks + 2}")]

    def run(x: Floats) -> Floats:
        for function in functions:
            x = function(x)
        return x

    return run


def _residual(arrays: Arrays, name: str) -> Layer:
    norm, first, second = _layer_norm(arrays, f"{name}.0"), _linear(arrays, f"{name}.1"), _linear(arrays, f"{name}.4")
    return lambda x: x + second(_silu(first(norm(x))))


def _linear(arrays: Arrays, name: str) -> Layer:
    weight, bias = arrays[f"{name}.weight"].T.copy(), arrays[f"{name}.bias"]
    return lambda x: x @ weight + bias


def _layer_norm(arrays: Arrays, name: str) -> Layer:
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]

    def normalize(x: Floats) -> Floats:
        x = x - x.mean(axis=1, keepdims=True)
        return x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + _NORM_EPSILON) * weight + bias

    return normalize


def _silu(x: Floats) -> Floats:
    return x / (1 + np.exp(-x))
