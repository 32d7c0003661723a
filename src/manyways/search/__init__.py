"""Which code explains each point, each trajectory: the arg min over codes."""

from manyways.search.coordinates import Losses, Search, coordinate_search, search_nearby
from manyways.search.factored import block_losses, search_batch, search_trajectories, step_losses, trajectory_losses

__all__ = [
    "Losses",
    "Search",
    "block_losses",
    "coordinate_search",
    "search_batch",
    "search_nearby",
    "search_trajectories",
    "step_losses",
    "trajectory_losses",
]
