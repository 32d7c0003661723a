"""Evaluations of policies by rollouts under their codes, and the metrics of the paper's tables."""

from manyways.evaluation.continuous import ContinuousEvaluation, evaluate_continuous, steps_to_evaluate
from manyways.evaluation.coverage import Coverage, evaluate_coverage
from manyways.evaluation.environments import EnvironmentEvaluation, evaluate_in
from manyways.evaluation.evaluate import Evaluation, evaluate
from manyways.evaluation.expert import ExpertMetrics, evaluate_expert
from manyways.evaluation.metrics import (
    entropy,
    match_codes,
    mutual_information,
    normalized_mutual_information,
    purity,
)
from manyways.evaluation.policy_evaluator import PolicyEvaluator, PolicyReturns
from manyways.evaluation.robustness import Disturbed, Switching, with_random_actions, with_switched_codes

__all__ = [
    "ContinuousEvaluation",
    "Coverage",
    "Disturbed",
    "EnvironmentEvaluation",
    "Evaluation",
    "ExpertMetrics",
    "PolicyEvaluator",
    "PolicyReturns",
    "Switching",
    "entropy",
    "evaluate",
    "evaluate_continuous",
    "evaluate_coverage",
    "evaluate_expert",
    "evaluate_in",
    "match_codes",
    "mutual_information",
    "normalized_mutual_information",
    "purity",
    "steps_to_evaluate",
    "with_random_actions",
    "with_switched_codes",
]
