"""Proper scores and accuracy, as plain means over samples."""

import numpy as np
from numpy.typing import NDArray

from robusteval.core.types import Predictions
from robusteval.metrics.functional.validate import classification

Floats = NDArray[np.float64]


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """The mean of values [n] under each row of weights [m, n], [m]; nan where a row has no weight."""
    with np.errstate(invalid="ignore"):
        mean: Floats = weights @ values / weights.sum(axis=1)
    return mean


def accuracy_score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of samples whose largest logit is the label's."""
    return float(Predictions.from_logits(*classification(logits, labels)).correct.mean())


def negative_log_likelihood(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean negative log-probability of the label, in nats."""
    return float(Predictions.from_logits(*classification(logits, labels)).nll.mean())


def brier_score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The mean squared distance of the probabilities to the one-hot label, in [0, 2] (Brier 1950)."""
    return float(Predictions.from_logits(*classification(logits, labels)).brier.mean())
