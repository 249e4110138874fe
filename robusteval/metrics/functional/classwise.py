"""Calibration of every class's probability, not only the largest: class-wise, adaptive and thresholded errors.

Each class is a yes-no forecast of its own. A class never seen has no "yes": its gap is its mean probability.
"""

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.metrics.functional.bins import equal_mass_bins, equal_width_bins
from robusteval.metrics.functional.validate import classification, softmax
from robusteval.metrics.functional.weighing import BinSums, Floats, Statistic, per_weight, quotient, unweighted


def one_hot(labels: NDArray[np.int64], classes: int) -> Floats:
    """Labels [n] as rows [n, k] of zeros with a one."""
    return np.eye(classes)[labels]


def places(index: NDArray[np.int64], bins: int) -> NDArray[np.int64]:
    """Bins [n, k] within each class as places 0..k bins - 1 over all classes."""
    return index + bins * np.arange(index.shape[1])


def classwise_error(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> Statistic:
    """The mean over classes of the L1 error of the class's probability over equal-width bins."""
    classes = probabilities.shape[1]
    index = places(equal_width_bins(probabilities, bins), bins)
    gaps = BinSums(index, one_hot(labels, classes) - probabilities, classes * bins)
    return lambda weights: per_weight(np.abs(gaps(weights)).sum(axis=1) / classes, weights)


def adaptive_error(
    probabilities: Floats, labels: NDArray[np.int64], bins: int = 15, threshold: float | None = None
) -> Statistic:
    """The mean over classes of the L1 error of the class's probability over equal-mass bins.

    With bins of the same size this is the paper's plain mean over bins; where equal probabilities share a bin, each bin
    counts by its size, as in the authors' own program.

    Args:
        probabilities: [n, k].
        labels: [n].
        bins: per class, of equal numbers of the probabilities that count.
        threshold: probabilities at most this do not count; all do where it is None. A class without one adds 0.
    """
    require(threshold is None or 0 <= threshold < 1, "threshold", "must be in [0, 1)", threshold)
    classes = probabilities.shape[1]
    counted = np.ones(probabilities.shape, bool) if threshold is None else probabilities > threshold
    index = np.zeros(probabilities.shape, dtype=np.int64)
    for column in range(classes):
        chosen = counted[:, column]
        index[chosen, column] = equal_mass_bins(probabilities[chosen, column], bins)
    differences = np.where(counted, one_hot(labels, classes) - probabilities, 0)
    gaps = BinSums(places(index, bins), differences, classes * bins)
    if threshold is None:
        return lambda weights: per_weight(np.abs(gaps(weights)).sum(axis=1) / classes, weights)

    def mean(weights: Floats) -> Floats:
        sizes = np.abs(gaps(weights)).reshape(len(weights), classes, bins).sum(axis=2)
        errors = quotient(sizes, weights @ counted.astype(np.float64)).mean(axis=1)
        return np.where(weights.sum(axis=1) > 0, errors, np.nan)

    return mean


def classwise_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Class-wise expected calibration error (Kull et al. 2019, arXiv:1910.12656), equal-width bins, L1, in [0, 1]."""
    scores, classes = classification(logits, labels)
    return unweighted(classwise_error(softmax(scores), classes, bins), len(classes))


def adaptive_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> float:
    """Adaptive calibration error (Nixon et al. 2019, arXiv:1904.01685), equal-mass bins of every class, in [0, 1]."""
    scores, classes = classification(logits, labels)
    return unweighted(adaptive_error(softmax(scores), classes, bins), len(classes))


def thresholded_calibration_error(
    logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15, threshold: float = 0.01
) -> float:
    """Adaptive error of probabilities above `threshold` (Nixon et al. 2019, arXiv:1904.01685), in [0, 1]."""
    scores, classes = classification(logits, labels)
    return unweighted(adaptive_error(softmax(scores), classes, bins, threshold), len(classes))
