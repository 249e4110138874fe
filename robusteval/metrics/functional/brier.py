"""The Brier score's parts: reliability, resolution, uncertainty (Murphy 1973, "A new vector partition").

Every class is a yes-no forecast over equal-width bins, and the parts are summed over classes. Forecasts differ inside a
bin, so that reliability - resolution + uncertainty misses the score by the within-bin variance less twice the
within-bin covariance with the outcome (Stephenson, Coelho and Jolliffe 2008, "Two extra components in the Brier score
decomposition"): the part `within`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robusteval.metrics.functional.bins import equal_width_bins
from robusteval.metrics.functional.classwise import one_hot, places
from robusteval.metrics.functional.validate import classification, softmax
from robusteval.metrics.functional.weighing import (
    BinSums,
    Floats,
    Statistic,
    paired_sums,
    per_weight,
    quotient,
    unweighted,
)


class BrierParts(NamedTuple):
    """Parts of the Brier score, which is reliability - resolution + uncertainty + within."""

    reliability: float
    resolution: float
    uncertainty: float
    within: float


def reliability(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> Statistic:
    """The mean squared distance of a bin's outcomes to its forecasts, summed over classes, in [0, 2]."""
    classes = probabilities.shape[1]
    index = places(equal_width_bins(probabilities, bins), bins)
    sums = paired_sums(index, one_hot(labels, classes) - probabilities, np.ones(index.shape), classes * bins)

    def distance(weights: Floats) -> Floats:
        gap, count = sums(weights)
        return per_weight(quotient(gap**2, count).sum(axis=1), weights)

    return distance


def resolution(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> Statistic:
    """The mean squared distance of a bin's outcomes to all outcomes, summed over classes, in [0, 1]."""
    classes = probabilities.shape[1]
    index = places(equal_width_bins(probabilities, bins), bins)
    sums = paired_sums(index, one_hot(labels, classes), np.ones(index.shape), classes * bins)

    def spread(weights: Floats) -> Floats:
        hit, count = (each.reshape(len(weights), classes, bins) for each in sums(weights))
        rate = quotient(hit.sum(axis=2), weights.sum(axis=1, keepdims=True))
        squares = count * (quotient(hit, count) - rate[:, :, None]) ** 2
        return per_weight(squares.sum(axis=(1, 2)), weights)

    return spread


def uncertainty(labels: NDArray[np.int64]) -> Statistic:
    """The Brier score of the classes' own shares as forecast, 1 - sum of squared shares, in [0, 1]."""
    _, index = np.unique(labels, return_inverse=True)
    counts = BinSums(index, np.ones(len(index)), int(index.max(initial=0)) + 1)
    return lambda weights: 1 - per_weight((counts(weights) ** 2).sum(axis=1), weights) / weights.sum(axis=1)


def brier_decomposition(logits: NDArray[np.float32], labels: NDArray[np.int64], bins: int = 15) -> BrierParts:
    """The four parts; a class never seen adds to reliability alone."""
    scores, classes = classification(logits, labels)
    chances, n = softmax(scores), len(classes)
    score = float(((chances - one_hot(classes, chances.shape[1])) ** 2).sum(axis=1).mean())
    error = unweighted(reliability(chances, classes, bins), n)
    spread, base = unweighted(resolution(chances, classes, bins), n), unweighted(uncertainty(classes), n)
    return BrierParts(error, spread, base, score - (error - spread + base))
