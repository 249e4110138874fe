"""KS error: largest distance of cumulated accuracy to cumulated confidence (Gupta et al. 2021, arXiv:2006.12800)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.types import Predictions
from robusteval.metrics.functional.ranked import ks_gap
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Ks(Prepared):
    """Kolmogorov-Smirnov calibration error of the top label."""

    name: ClassVar[str] = "ks"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    def statistic(self, predictions: Predictions) -> Statistic:
        """The largest distance over all thresholds."""
        return ks_gap(predictions.confidence, predictions.correct)
