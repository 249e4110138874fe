"""Accuracy: the share of samples whose predicted class is the label, with Wilson's interval (Wilson 1927)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.core.types import Predictions
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.metrics.metric import Interval, Metric


@dataclass(frozen=True)
class Accuracy(Metric):
    """Top-1 accuracy."""

    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    interval: ClassVar[Interval] = "wilson"

    def weighted(self, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weighted mean over samples."""
        return weighted_mean(predictions.correct.astype(np.float64), weights)
