"""PushT as pictures: the demonstrations' states drawn by the environment, and an encoder for them."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import manyways

SIZE = 96  # pixels on a side, as in Chi et al. (2023)


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
