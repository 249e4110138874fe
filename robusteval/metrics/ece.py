"""ECE: top-label expected calibration error over equal-width bins, L1 norm (Guo et al. 2017, arXiv:1706.04599).

Biased upwards at small n: the interval is the basic bootstrap one, which moves back by the bias.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.calibration import binned_gaps, weighted_calibration_error
from robusteval.metrics.metric import Interval, Metric


@dataclass(frozen=True)
class Ece(Metric):
    """Expected calibration error with `bins` right-closed bins over [0, 1]."""

    name: ClassVar[str] = "ece"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def weighted(self, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weighted sum of gaps between accuracy and confidence over bins."""
        gaps = binned_gaps(predictions.confidence, predictions.correct, self.bins)
        return weighted_calibration_error(gaps, weights)
