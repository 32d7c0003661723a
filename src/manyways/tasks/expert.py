"""Experts that were trained: networks that are told the mode, as files that ship with the package.

NAME.safetensors has the weights, NAME.json the card: how it was trained, and what it reaches.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.tasks.modes import DiscreteModes, Modes

Floats = NDArray[np.floating[Any]]
ExpertInputs = Callable[[Floats, NDArray[Any], Modes], Floats]


def returns(rewards: Floats, actions: Floats) -> Floats:
    """Return the sum of the rewards (episodes, steps) of each episode, whatever its actions."""
    total: Floats = rewards.sum(axis=1)
    return total


@dataclass(frozen=True)
class Floor:
    """What a trained expert should reach, deterministically, over 100 episodes of all modes.

    Attributes:
        mean: of the score.
        least: of each mode's mean score; None asks four fifths of the best mode's.
        score: of each episode, from the rewards under its own mode (episodes, steps) and its actions (episodes, steps,
            action size); the return unless given.
    """

    mean: float
    least: tuple[float, ...] | None = None
    score: Callable[[Floats, Floats], Floats] = returns

    def reached(self, scores: Floats) -> bool:
        """Whether the mean scores of the modes, (modes,), reach it."""
        least = 0.8 * scores.max() if self.least is None and len(scores) > 1 else self.least
        return bool(scores.mean() >= self.mean and (least is None or (scores >= least).all()))


SHIPPED = Path(__file__).parent / "experts"


class Expert:
    """A feed-forward network in NumPy: linear layers with rectifiers between them, and a tanh that bounds the actions.

    Args:
        layers: `weight.0` (outputs, inputs), `bias.0` (outputs,), `weight.1`, ... and `action_scale` (outputs,), the
            largest action.
        card: how it was trained, and what it reaches.
    """

    def __init__(self, layers: dict[str, NDArray[np.float32]], card: dict[str, Any]) -> None:
        self.layers = layers
        self.card = card
        self._layers = [(layers[f"weight.{i}"].T, layers[f"bias.{i}"]) for i in range((len(layers) - 1) // 2)]

    def __call__(self, inputs: Floats) -> Floats:
        """Return actions (n, action size) for inputs (n, input size)."""
        values = inputs.astype(np.float32)
        for weight, bias in self._layers[:-1]:
            values = np.maximum(values @ weight + bias, 0)
        weight, bias = self._layers[-1]
        actions: Floats = np.tanh(values @ weight + bias) * self.layers["action_scale"]
        return actions

    @property
    def fingerprint(self) -> str:
        """Eight characters that tell its weights from those of others."""
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
        """Read what `save` wrote.

        Raises:
            InputError: there is none, or it is damaged.
        """
        from manyways.files import read_json, read_tensors

        card = read_json(folder / f"{name}.json")
        tensors = {key: value.numpy() for key, value in read_tensors(folder / f"{name}.safetensors").items()}
        try:
            return cls(tensors, card)
        except (KeyError, TypeError) as error:
            raise InputError(f"{folder / name}.json is damaged ({error!r}); restore it or train again") from error

    @classmethod
    def shipped(cls, name: str) -> "Expert":
        """Return the expert of this task that came with the package.

        Raises:
            InputError: there is none.
        """
        if not (SHIPPED / f"{name}.safetensors").is_file():
            raise InputError(f"no expert for {name} comes with manyways; train one with `manyways expert train {name}`")
        return cls.load(SHIPPED, name)


def beside_the_mode(observations: Floats, modes: NDArray[Any], of: Modes) -> Floats:
    """Return observations (n, observation size) with the mode beside them: one-hot, or its numbers."""
    told = np.eye(len(of))[modes] if isinstance(of, DiscreteModes) else modes
    return np.concatenate([observations, told], axis=1)


def turned(quaternion: int, velocity: int, size: int) -> ExpertInputs:
    """Return what sees the world turned so that the mode's direction is that of the x axis.

    A way of walking along x is then a way of walking along every direction. Velocities of rotation are in the body's
    own frame already.

    Args:
        quaternion: column of the torso's orientation, 4 numbers.
        velocity: column of its velocity, whose first two numbers turn.
        size: how many columns are seen; those behind follow from them.
    """

    def inputs(observations: Floats, modes: NDArray[Any], of: Modes) -> Floats:
        assert isinstance(of, DiscreteModes)
        angle = -np.array(of.values)[modes]
        seen = observations[:, :size].copy()
        w, x, y, z = observations[:, quaternion : quaternion + 4].T
        half_cos, half_sin = np.cos(angle / 2), np.sin(angle / 2)
        seen[:, quaternion] = half_cos * w - half_sin * z
        seen[:, quaternion + 1] = half_cos * x - half_sin * y
        seen[:, quaternion + 2] = half_cos * y + half_sin * x
        seen[:, quaternion + 3] = half_cos * z + half_sin * w
        vx, vy = observations[:, velocity], observations[:, velocity + 1]
        seen[:, velocity] = np.cos(angle) * vx - np.sin(angle) * vy
        seen[:, velocity + 1] = np.sin(angle) * vx + np.cos(angle) * vy
        return seen

    return inputs
