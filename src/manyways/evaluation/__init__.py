"""Rollouts of a policy under its codes, and the metrics of the paper's tables."""

from manyways.evaluation.continuous import ContinuousEvaluation, evaluate_continuous, steps_to_evaluate
from manyways.evaluation.evaluate import Evaluation, evaluate
from manyways.evaluation.metrics import (
    entropy,
    match_codes,
    mutual_information,
    normalized_mutual_information,
    purity,
)

__all__ = [
    "ContinuousEvaluation",
    "Evaluation",
    "entropy",
    "evaluate",
    "evaluate_continuous",
    "match_codes",
    "mutual_information",
    "normalized_mutual_information",
    "purity",
    "steps_to_evaluate",
]
