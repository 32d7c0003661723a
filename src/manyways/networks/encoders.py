"""Owns the encoder slot: the module from a normalised observation to features, in every network here.

The paper's networks have flat observations, which need no encoder (`Flat`). Images get a small convolutional encoder
(`Convolutional`). A user may give any other `torch.nn.Module`.
"""

import copy
import inspect
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from manyways.demonstrations.spaces import Space, describe, entry_spaces, is_flat
from manyways.errors import InputError
from manyways.networks.encoder_names import FACTORIES, find

Encoder = str | nn.Module | None
"""A module; a registered name; `module:ATTRIBUTE`, a module or what makes one; None: "conv" for images, else "flat"."""


def register_encoder(name: str) -> Callable[[Callable[[Space], nn.Module]], Callable[[Space], nn.Module]]:
    """Return a decorator that registers an encoder by name, for the command line and policy files.

    It decorates a class or function from the observation's Gymnasium space to a `torch.nn.Module`. That module takes a
    batch of normalised observations (n, ...), or a dictionary of such tensors, and returns features (n, features).
    """

    def register(factory: Callable[[Space], nn.Module]) -> Callable[[Space], nn.Module]:
        FACTORIES[name] = factory
        return factory

    return register


@register_encoder("flat")
class Flat(nn.Module):
    """Puts all values of an observation side by side; it has no weights.

    Args:
        space: of one observation.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.alone = is_flat(space)

    def forward(self, inputs: Any) -> Tensor:
        """Return features (n, dimensions) of tensors (n, ...)."""
        if self.alone:
            return inputs
        parts = list(inputs.values()) if isinstance(inputs, Mapping) else [inputs]
        return torch.cat([part.flatten(1) for part in parts], dim=1)


@register_encoder("conv")
class Convolutional(nn.Module):
    """Three strided convolutions and a linear layer for each image; flat entries stand beside their features.

    An image has the shape (height, width) or (height, width, channels).

    Args:
        space: of one observation, which has an image.
        features: for each image.

    Attributes:
        fixed: how many features stand at the end as they were observed.
    """

    def __init__(self, space: Space, features: int = 128) -> None:
        super().__init__()
        boxes = entry_spaces(space)
        self._images = [name for name, box in boxes.items() if len(box.shape) in (2, 3)]
        if not self._images:
            raise InputError(f"the encoder 'conv' needs an image, but an observation is {describe(space)}; take 'flat'")
        self.towers = nn.ModuleList(_tower(boxes[name].shape, features) for name in self._images)
        self.fixed = sum(math.prod(box.shape) for name, box in boxes.items() if name not in self._images)

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights with gain √2 and set the biases to 0."""
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                nn.init.orthogonal_(layer.weight, math.sqrt(2), generator=generator)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)

    def forward(self, inputs: Any) -> Tensor:
        """Return (n, features) of an image (n, height, width[, channels]), or of a dictionary with images."""
        entries = inputs if isinstance(inputs, Mapping) else {"": inputs}
        parts = [
            tower(entries[name].movedim(-1, 1) if entries[name].ndim == 4 else entries[name][:, None])
            for name, tower in zip(self._images, self.towers, strict=True)
        ]
        parts += [tensor.flatten(1) for name, tensor in entries.items() if name not in self._images]
        return torch.cat(parts, dim=1)


def _tower(shape: tuple[int, ...], features: int) -> nn.Module:
    channels = shape[2] if len(shape) == 3 else 1
    layers = nn.Sequential(
        nn.Conv2d(channels, 16, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    size = 32 * math.prod((edge + 7) // 8 for edge in shape[:2])
    return layers.append(nn.Linear(size, features)).append(nn.ReLU())


def encoder_name(encoder: Encoder) -> str | None:
    """Return an encoder's name for a settings file: its own, or a module's class."""
    return type(encoder).__qualname__ if isinstance(encoder, nn.Module) else encoder


def make_encoder(encoder: Encoder, space: Space, seed: int = 0) -> nn.Module:
    """Return an encoder for observations of this space.

    Args:
        encoder: see `Encoder`; a module is copied with its weights.
        space: of one observation.
        seed: of the weights, where the encoder is made here.

    Raises:
        InputError: there is no such encoder.
    """
    if isinstance(encoder, nn.Module):
        return copy.deepcopy(encoder)
    if encoder is None:
        images = any(len(box.shape) in (2, 3) for box in entry_spaces(space).values())
        encoder = "conv" if images else "flat"
    if not isinstance(encoder, str):
        raise InputError(f"the encoder is {encoder!r}; give a torch.nn.Module, a registered name or module:ATTRIBUTE")
    factory = find(encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory if isinstance(factory, nn.Module) or not callable(factory) else _call(encoder, factory, space)
    if not isinstance(module, nn.Module):
        raise InputError(
            f"the encoder {encoder} is a {type(module).__name__}; give a torch.nn.Module, or a function that makes one"
        )
    return module


def _call(name: str, factory: Callable[..., Any], space: Space) -> Any:
    """Return what a factory makes from the space, or from nothing if it takes nothing."""
    signature = inspect.signature(factory)
    for arguments in ((space,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return factory(*arguments)
    raise InputError(f"the encoder {name} takes {signature}; let it take the observation's space, or nothing")


def is_registered(name: str | None) -> bool:
    """Return whether there is a registered encoder of this name."""
    return name in FACTORIES


def features_of(encoder: nn.Module, space: Space) -> int:
    """Return how many features an encoder has.

    Raises:
        InputError: it cannot take such observations, or does not return (n, features).
    """
    boxes = entry_spaces(space)
    weights = next(itertools.chain(encoder.parameters(), encoder.buffers()), torch.empty(0, device="cpu"))
    training = encoder.training
    try:
        with torch.no_grad(), weights.device:
            zeros = {name: torch.zeros(2, *box.shape) for name, box in boxes.items()}
            features = encoder.eval()(zeros if "" not in boxes else zeros[""])
    except (RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"the encoder {type(encoder).__name__} cannot take a batch of observations, each {describe(space)} "
            f"({error}); let it take tensors of the shape (n, ...)"
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(
            f"the encoder {type(encoder).__name__} returns {shape} for 2 observations; let it return (2, features)"
        )
    return features.shape[1]


def fixed_features(encoder: nn.Module, size: int) -> slice:
    """Return which of an encoder's features stay as they are in training.

    They are all where nothing is learned. Else an encoder may say in `fixed` how many they are, at the end.

    Args:
        encoder: any.
        size: how many features it has.
    """
    learns = any(parameter.requires_grad for parameter in encoder.parameters())
    return slice(size - int(getattr(encoder, "fixed", 0)) if learns else 0, size)


def encode(encoder: nn.Module, inputs: Any, ndims: Mapping[str, int]) -> Tensor:
    """Return features (..., features) of inputs with any leading dimensions.

    Args:
        encoder: takes one leading dimension.
        inputs: (..., *shape), or a dictionary of such tensors.
        ndims: how many dimensions one observation's entries have, by name.
    """
    if isinstance(encoder, Flat) and encoder.alone:
        return inputs
    first = next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs
    lead = first.shape[: first.ndim - next(iter(ndims.values()))]
    if isinstance(inputs, Mapping):
        rows: Any = {name: tensor.reshape(-1, *tensor.shape[len(lead) :]) for name, tensor in inputs.items()}
    else:
        rows = inputs.reshape(-1, *inputs.shape[len(lead) :])
    features: Tensor = encoder(rows)
    return features.view(*lead, -1)
