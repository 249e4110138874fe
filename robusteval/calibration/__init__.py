"""Layer 3: recalibration, one method per module, and its two-fold cross-fitting."""

from robusteval.calibration.crossfit import CrossFitted, cross_fitted, halves_of, recalibrated
from robusteval.calibration.recalibrator import RECALIBRATORS, Fitted, Recalibrator

__all__ = [
    "RECALIBRATORS",
    "CrossFitted",
    "Fitted",
    "Recalibrator",
    "cross_fitted",
    "halves_of",
    "recalibrated",
]
