"""Training the experts of the tasks; what it makes ships in `manyways.tasks`."""

from manyways.experts.crossq import CrossQ
from manyways.experts.mode_ppo import ModePPO, Stretch
from manyways.experts.train import Probe, probe, read_progress, train_expert

__all__ = ["CrossQ", "ModePPO", "Probe", "Stretch", "probe", "read_progress", "train_expert"]
