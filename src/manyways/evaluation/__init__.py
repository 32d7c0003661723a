"""Rollouts of a policy under its codes, and the metrics of the paper's tables."""

from manyways.evaluation.evaluate import Evaluation, evaluate
from manyways.evaluation.metrics import match_codes, normalized_mutual_information, purity

__all__ = ["Evaluation", "evaluate", "match_codes", "normalized_mutual_information", "purity"]
