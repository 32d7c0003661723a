"""A run is a folder: what trains into it, and what is found out about it, each in one call."""

from manyways.runs.codes import Codes
from manyways.runs.loggers import JSONLines, Logger, WeightsAndBiases
from manyways.runs.progress import Progress
from manyways.runs.run import Run
from manyways.runs.workflow import evaluate, modes, robustness, train

__all__ = [
    "Codes",
    "JSONLines",
    "Logger",
    "Progress",
    "Run",
    "WeightsAndBiases",
    "evaluate",
    "modes",
    "robustness",
    "train",
]
