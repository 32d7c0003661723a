"""Which code explains each point, each trajectory: the arg min over codes."""

from manyways.search.coordinates import Losses, Search, coordinate_search
from manyways.search.factored import step_losses, trajectory_losses

__all__ = ["Losses", "Search", "coordinate_search", "step_losses", "trajectory_losses"]
