"""Trained experts: networks with the mode as an input, in files that come with the package.

NAME.safetensors has the weights, NAME.json the card, with the training and the returns.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError

Floats = NDArray[np.floating[Any]]


def returns(rewards: Floats, actions: Floats) -> Floats:
    """Return the sum of the rewards (episodes, steps) of each episode, whatever its actions."""
    total: Floats = rewards.sum(axis=1)
    return total


@dataclass(frozen=True)
class TargetReturn:
    """The target of a trained expert, without noise, over 100 episodes of all modes.

    Attributes:
        mean: of the score.
        least: of each mode's mean score; None for four fifths of the best mode's.
        score: of each episode, from the rewards under its own mode (episodes, steps) and its actions (episodes, steps,
            action size); the return by default.
    """

    mean: float
    least: tuple[float, ...] | None = None
    score: Callable[[Floats, Floats], Floats] = returns

    def reached(self, scores: Floats) -> bool:
        """Whether the mean scores of the modes, (modes,), reach the target."""
        least = 0.8 * scores.max() if self.least is None and len(scores) > 1 else self.least
        return bool(scores.mean() >= self.mean and (least is None or (scores >= least).all()))


SHIPPED = Path(__file__).parent / "experts"


class Expert:
    """A feed-forward network in NumPy: linear layers with rectifiers between them, and a tanh that bounds the actions.

    Args:
        layers: `weight.0` (outputs, inputs), `bias.0` (outputs,), `weight.1`, ... and `action_scale` (outputs,), the
            largest action. With an entry `tanh`, whatever its value, there are tanhs between the layers, and actions
            are clipped at the largest instead.
        card: of its training and its returns.
    """

    def __init__(self, layers: dict[str, NDArray[np.float32]], card: dict[str, Any]) -> None:
        self.layers = layers
        self.card = card
        count = sum(name.startswith("weight.") for name in layers)
        self._layers = [(layers[f"weight.{i}"].T, layers[f"bias.{i}"]) for i in range(count)]
        self._tanh = "tanh" in layers

    def __call__(self, inputs: Floats) -> Floats:
        """Return actions (n, action size) for inputs (n, input size)."""
        values = inputs.astype(np.float32)
        for weight, bias in self._layers[:-1]:
            values = np.tanh(values @ weight + bias) if self._tanh else np.maximum(values @ weight + bias, 0)
        weight, bias = self._layers[-1]
        values = values @ weight + bias
        actions: Floats = (values.clip(-1, 1) if self._tanh else np.tanh(values)) * self.layers["action_scale"]
        return actions

    @property
    def fingerprint(self) -> str:
        """Eight characters of a hash of the weights."""
        digest = hashlib.sha256()
        for name in sorted(self.layers):
            digest.update(self.layers[name].tobytes())
        return digest.hexdigest()[:8]

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.safetensors and NAME.json.

        Raises:
            WriteError: the system refused to write.
        """
        import torch

        from manyways.files import write_json, write_tensors

        write_tensors(
            folder / f"{name}.safetensors", {key: torch.from_numpy(layer) for key, layer in self.layers.items()}
        )
        write_json(folder / f"{name}.json", self.card)

    @classmethod
    def load(cls, folder: Path, name: str) -> "Expert":
        """Read the files of `save`.

        Raises:
            InputError: there are none, or they are damaged.
        """
        from manyways.files import read_json, read_tensors

        card = read_json(folder / f"{name}.json")
        tensors = {key: value.numpy() for key, value in read_tensors(folder / f"{name}.safetensors").items()}
        try:
            return cls(tensors, card)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / name}.json is damaged ({error!r}); restore it or train again") from error

    @classmethod
    def is_shipped(cls, name: str) -> bool:
        """Whether the package has an expert for the task of this name."""
        return (SHIPPED / f"{name}.safetensors").is_file()

    @classmethod
    def shipped(cls, name: str) -> "Expert":
        """Return the package's expert for this task."""
        return cls.load(SHIPPED, name)
