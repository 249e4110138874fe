"""Smooth ECE: gaps smoothed by a Gaussian instead of bins (Blasiok and Nakkiran 2023, arXiv:2309.12236)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.types import Predictions
from robusteval.metrics.functional.smooth import smooth_error
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class SmoothEce(Prepared):
    """Smooth calibration error of the top label, at the kernel width that equals it."""

    name: ClassVar[str] = "smooth-ece"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    def statistic(self, predictions: Predictions) -> Statistic:
        """The integral of the absolute smoothed gaps."""
        return smooth_error(predictions.confidence, predictions.correct)
