"""Training of the tasks' experts; the results ship in `manyways.tasks`."""

from manyways.experts.crossq import CrossQ
from manyways.experts.mode_ppo import ModePPO, Phase
from manyways.experts.train import ExpertEvaluation, evaluate_expert, read_progress, train_expert

__all__ = ["CrossQ", "ExpertEvaluation", "ModePPO", "Phase", "evaluate_expert", "read_progress", "train_expert"]
