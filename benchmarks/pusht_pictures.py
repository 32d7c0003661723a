"""PushT as pictures: the demonstrations' states drawn by the environment, and an encoder for them."""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import manyways
from manyways.networks.encoders import Convolutional

SIZE = 96  # pixels on a side, as in Chi et al. (2023)
_SHIFT = 1  # pixels of half the size, at most


def make(pictures: bool) -> Any:
    """Return the environment; it shows pictures and the agent's place, or the state."""
    import gym_pusht  # noqa: F401, which registers it

    return gymnasium.make("gym_pusht/PushT-v0", obs_type="pixels_agent_pos" if pictures else "state")


def drawn(demonstrations: manyways.Demonstrations) -> manyways.Demonstrations:
    """Return the demonstrations as pictures (96, 96, 3), uint8, and the agent's place (2,), in a dictionary.

    Args:
        demonstrations: whose observations are the agent's place, the block's, and sine and cosine of its angle.
    """
    world = make(pictures=True).unwrapped
    world.reset(seed=0)
    states = demonstrations.observations
    pictures = np.empty((len(states), SIZE, SIZE, 3), np.uint8)
    for number, state in enumerate(states):
        pictures[number] = draw(world, state)
    observations = {"agent_pos": states[:, :2], "pixels": pictures}
    return manyways.Demonstrations(observations, demonstrations.actions, demonstrations.lengths)


def draw(world: Any, state: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what the environment shows in this state, (96, 96, 3).

    Resetting to a state would turn the block about its centre of mass, and so move it. So its place is set last.
    """
    world.agent.position = [float(value) for value in state[:2]]
    world.block.angle = float(np.arctan2(state[4], state[5]))
    world.block.position = [float(value) for value in state[2:4]]
    world.space.reindex_shapes_for_body(world.agent)
    world.space.reindex_shapes_for_body(world.block)
    pixels: NDArray[np.uint8] = world.get_obs()["pixels"]
    return pixels


class Shifted(nn.Module):
    """The library's convolutions at half the resolution; in training after random shifts (Kostrikov et al. 2021).

    Both pictures of a window are shifted alike.

    Args:
        space: of one observation, `agent_pos` and `pixels`.
    """

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__()
        half = spaces.Box(0, 255, (SIZE // 2, SIZE // 2, 3), np.uint8)
        self.layers = Convolutional(spaces.Dict({"agent_pos": space["agent_pos"], "pixels": half}))
        self.fixed = self.layers.fixed

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        self.layers.initialize(generator)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return features (n, features) of pictures (n, 96, 96, 3) and places (n, 2)."""
        pixels = functional.avg_pool2d(inputs["pixels"].movedim(-1, 1), 2).movedim(1, -1)
        return self.layers({"agent_pos": inputs["agent_pos"], "pixels": shifted(pixels) if self.training else pixels})


def shifted(pixels: Tensor, window: int = 2) -> Tensor:
    """Return pictures (n, height, width, 3), each `window` of them moved together; edges are repeated."""
    count, height, width = pixels.shape[:3]
    moves = torch.randint(-_SHIFT, _SHIFT + 1, (-(-count // window), 2), device=pixels.device)
    moves = moves.repeat_interleave(window, dim=0)[:count]
    rows, columns = (
        (torch.arange(size, device=pixels.device) + moves[:, [axis]]).clamp(0, size - 1)
        for axis, size in enumerate((height, width))
    )
    return pixels[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None]]
