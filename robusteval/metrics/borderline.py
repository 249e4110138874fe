"""Borderline: the share of samples so near to another class that rounding alone may change the verdict.

Another batch size or number of threads rounds logits differently (Goldberg 1991, "What every computer scientist should
know about floating-point arithmetic"): at most these verdicts can differ (TRUST R19).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.metrics.metric import Interval, Metric


@dataclass(frozen=True)
class Borderline(Metric):
    """The share of samples whose margin, in logits, is at most `within` to either side of zero."""

    name: ClassVar[str] = "borderline"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "wilson"

    within: float = 1e-4

    def __post_init__(self) -> None:
        require(self.within >= 0, "within", "must not be negative", self.within)

    def weighted(self, predictions: Predictions, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The weighted mean over samples."""
        near = np.abs(predictions.margin) <= self.within
        return weighted_mean(near.astype(np.float64), weights)
