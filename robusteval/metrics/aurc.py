"""AURC: area under the risk-coverage curve (Geifman et al. 2019, arXiv:1805.08206): error averaged over thresholds."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.types import Predictions
from robusteval.metrics.functional.ranked import RiskCoverage
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Aurc(Prepared):
    """Area under the risk-coverage curve."""

    name: ClassVar[str] = "aurc"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "percentile"

    def statistic(self, predictions: Predictions) -> Statistic:
        """The mean over samples of the risk at their confidence."""
        return RiskCoverage(predictions.confidence, predictions.correct).area
