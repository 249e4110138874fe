"""Top-label calibration error by bins: assign, sum the gaps, take a norm (Guo et al. 2017, arXiv:1706.04599).

All confidences equal fill one bin, and the error is |accuracy - confidence|; so it is for a single sample.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.metrics.functional.bins import equal_mass_bins, equal_width_bins
from robusteval.metrics.functional.validate import top_label
from robusteval.metrics.functional.weighing import (
    BinSums,
    Floats,
    Statistic,
    paired_sums,
    per_weight,
    quotient,
    unweighted,
)

Norm = Literal["l1", "l2", "max"]
"""Mean, root mean square (both over samples) or largest of the bins' gaps."""

NORMS = ("l1", "l2", "max")


def top_label_bins(confidence: Floats, bins: int, mass: bool) -> NDArray[np.int64]:
    """The bin of each sample [n], of equal width or of equal mass."""
    return equal_mass_bins(confidence, bins) if mass else equal_width_bins(confidence, bins)


def binned_error(
    confidence: Floats, correct: NDArray[np.bool_], bins: int = 15, mass: bool = False, norm: Norm = "l1"
) -> Statistic:
    """The expected calibration error as a function of weights; the bins are those of the full sample."""
    require(norm in NORMS, "norm", "must be 'l1', 'l2' or 'max'", norm)
    index = top_label_bins(confidence, bins, mass)
    if norm == "l1":
        gaps = BinSums(index, correct - confidence, bins)
        return lambda weights: per_weight(np.abs(gaps(weights)).sum(axis=1), weights)
    sums = paired_sums(index, correct - confidence, np.ones(len(index)), bins)

    def square(weights: Floats) -> Floats:
        gap, count = sums(weights)
        return np.sqrt(per_weight(quotient(gap**2, count).sum(axis=1), weights))

    def largest(weights: Floats) -> Floats:
        gap, count = sums(weights)
        return np.where(weights.sum(axis=1) > 0, quotient(np.abs(gap), count).max(axis=1), np.nan)

    return square if norm == "l2" else largest


def signed_error(confidence: Floats, correct: NDArray[np.bool_], sign: int, bins: int = 15) -> Statistic:
    """The part of the L1 error from bins whose confidence is above (sign 1) or below (-1) their accuracy."""
    gaps = BinSums(equal_width_bins(confidence, bins), sign * (confidence - correct), bins)
    return lambda weights: per_weight(np.maximum(gaps(weights), 0).sum(axis=1), weights)


def debiased_error(confidence: Floats, correct: NDArray[np.bool_], bins: int = 15, mass: bool = True) -> Statistic:
    """The L2 error less its bias (Kumar, Liang and Ma 2019, arXiv:1909.10155, definition 5.1 and theorem 5.4).

    The square of a bin's gap exceeds the truth by acc (1 - acc) / (count - 1) on average, which is taken off; a bin of
    fewer than two samples says nothing and adds 0, and a negative sum has root 0. Weights are counts of samples.
    """
    index = top_label_bins(confidence, bins, mass)
    # Right and wrong samples have places of their own: their two counts are hits and misses.
    sums = paired_sums(np.where(correct, index, index + bins), correct - confidence, np.ones(len(index)), 2 * bins)

    def squared(weights: Floats) -> Floats:
        parted, counts = sums(weights)
        gap, hit, count = parted[:, :bins] + parted[:, bins:], counts[:, :bins], counts[:, :bins] + counts[:, bins:]
        variance = quotient(hit * (count - hit), np.where(count > 1, count * (count - 1), 0))
        parts = np.where(count > 1, quotient(gap**2, count) - variance, 0)
        return np.sqrt(per_weight(np.maximum(parts.sum(axis=1), 0), weights))

    return squared


def expected_calibration_error(
    logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15, mass: bool = False, norm: Norm = "l1"
) -> float:
    """Top-label expected calibration error.

    Args:
        logits: [n, k].
        labels: [n], each in 0..k-1.
        bins: number of bins.
        mass: whether bins hold equal numbers of samples; by default they are equal parts of [0, 1].
        norm: over bins: `l1` mean, `l2` root mean square, `max` the largest (the maximum calibration error).

    Returns:
        A number in [0, 1].
    """
    confidence, correct = top_label(logits, labels)
    return unweighted(binned_error(confidence, correct, bins, mass, norm), len(correct))


def maximum_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """The largest gap between accuracy and confidence over equal-width bins, in [0, 1]."""
    return expected_calibration_error(logits, labels, bins, norm="max")


def debiased_calibration_error(
    logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15, mass: bool = True
) -> float:
    """The debiased L2 error (see `debiased_error`), over equal-mass bins as in the paper, in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(debiased_error(confidence, correct, bins, mass), len(correct))


def overconfidence_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """The part of the expected calibration error from bins that promise too much, in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(signed_error(confidence, correct, 1, bins), len(correct))


def underconfidence_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """The part of the expected calibration error from bins that promise too little, in [0, 1]."""
    confidence, correct = top_label(logits, labels)
    return unweighted(signed_error(confidence, correct, -1, bins), len(correct))
