"""Layer 2: metrics, one per module; their bare functions are re-exported here."""

from robusteval.core.component import Registry
from robusteval.core.types import Estimate, Predictions
from robusteval.metrics.functional.calibration import expected_calibration_error
from robusteval.metrics.functional.scoring import accuracy_score, brier_score, negative_log_likelihood
from robusteval.metrics.metric import Metric, estimate

METRICS: Registry[Metric] = Registry("metric", Metric, __name__)

__all__ = [
    "METRICS",
    "Estimate",
    "Metric",
    "Predictions",
    "accuracy_score",
    "brier_score",
    "estimate",
    "expected_calibration_error",
    "negative_log_likelihood",
]
