"""Calibration error by bins: assign, sum the gaps, weigh (Guo et al. 2017, arXiv:1706.04599)."""

import numpy as np
from numpy.typing import NDArray

from robusteval.core.types import Predictions
from robusteval.metrics.functional.validate import classification

Floats = NDArray[np.float64]


def equal_width_bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each confidence: bins are (a, b], 0 falls in the first and exactly 1 in the last.

    >>> equal_width_bins(np.array([0.0, 0.2, 0.21, 1.0]), 5)
    array([0, 0, 1, 4])
    """
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    return np.searchsorted(inner, confidence, side="left")


def binned_gaps(confidence: Floats, correct: NDArray[np.bool_], bins: int) -> Floats:
    """Correctness minus confidence of each sample in the column of its bin, [n, bins].

    A weighted sum of rows gives, for every bin, its total gap; the sum of their sizes over n is the ECE.
    """
    gaps = np.zeros((len(confidence), bins))
    gaps[np.arange(len(confidence)), equal_width_bins(confidence, bins)] = correct - confidence
    return gaps


def weighted_calibration_error(gaps: Floats, weights: Floats) -> Floats:
    """The expected calibration error under each row of weights [m, n], from `binned_gaps`, [m]."""
    with np.errstate(invalid="ignore"):
        error: Floats = np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)
    return error


def expected_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Top-label expected calibration error: equal-width bins, L1 norm.

    Args:
        logits: [n, k].
        labels: [n], each in 0..k-1.
        bins: number of equal-width bins over [0, 1].

    Returns:
        A number in [0, 1].
    """
    predictions = Predictions.from_logits(*classification(logits, labels))
    gaps = binned_gaps(predictions.confidence, predictions.correct, bins)
    return float(weighted_calibration_error(gaps, np.ones((1, len(labels))))[0])
