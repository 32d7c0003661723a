"""Trajectories without labels: ragged, validated, from arrays, NPZ files and Minari data sets, and back."""

from manyways.demonstrations.conversion import convert
from manyways.demonstrations.edits import Edits
from manyways.demonstrations.formats import load_modes
from manyways.demonstrations.formats.selection import Selection
from manyways.demonstrations.summary import Column, Summary, summarise
from manyways.demonstrations.trajectories import Demonstrations

__all__ = ["Column", "Demonstrations", "Edits", "Selection", "Summary", "convert", "load_modes", "summarise"]
