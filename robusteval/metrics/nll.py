"""Negative log-likelihood of the label in nats, a proper score (Good 1952)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.core.types import Predictions
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.metrics.metric import Interval, Metric


@dataclass(frozen=True)
class Nll(Metric):
    """Negative log-likelihood of the label in nats, a proper score (Good 1952)."""

    name: ClassVar[str] = "nll"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "percentile"

    def weighted(self, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weighted mean over samples."""
        return weighted_mean(predictions.nll, weights)
