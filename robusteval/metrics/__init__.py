"""Layer 2: metrics, one per module; their bare functions are re-exported here."""

from robusteval.core.types import Estimate, Predictions
from robusteval.metrics.functional.brier import BrierParts, brier_decomposition
from robusteval.metrics.functional.calibration import (
    debiased_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    overconfidence_error,
    underconfidence_error,
)
from robusteval.metrics.functional.classwise import (
    adaptive_calibration_error,
    classwise_calibration_error,
    thresholded_calibration_error,
)
from robusteval.metrics.functional.ood import auroc, average_precision, fpr_at_recall, out_of_distribution
from robusteval.metrics.functional.ranked import (
    area_under_risk_coverage,
    coverage_at_accuracy,
    excess_area_under_risk_coverage,
    ks_error,
)
from robusteval.metrics.functional.reliability import reliability_diagram
from robusteval.metrics.functional.scoring import accuracy_score, brier_score, negative_log_likelihood
from robusteval.metrics.functional.smooth import smooth_calibration_error
from robusteval.metrics.metric import METRICS, Metric, Prepared, estimate, estimate_mean, measurable

__all__ = [
    "METRICS",
    "BrierParts",
    "Estimate",
    "Metric",
    "Predictions",
    "Prepared",
    "accuracy_score",
    "adaptive_calibration_error",
    "area_under_risk_coverage",
    "auroc",
    "average_precision",
    "brier_decomposition",
    "brier_score",
    "classwise_calibration_error",
    "coverage_at_accuracy",
    "debiased_calibration_error",
    "estimate",
    "estimate_mean",
    "excess_area_under_risk_coverage",
    "expected_calibration_error",
    "fpr_at_recall",
    "ks_error",
    "maximum_calibration_error",
    "measurable",
    "negative_log_likelihood",
    "out_of_distribution",
    "overconfidence_error",
    "reliability_diagram",
    "smooth_calibration_error",
    "thresholded_calibration_error",
    "underconfidence_error",
]
