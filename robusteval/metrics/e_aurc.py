"""E-AURC: AURC above that of the best order at the same accuracy (Geifman et al. 2019, arXiv:1805.08206)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.types import Predictions
from robusteval.metrics.functional.ranked import RiskCoverage
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class EAurc(Prepared):
    """Excess area under the risk-coverage curve."""

    name: ClassVar[str] = "e-aurc"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "percentile"

    def statistic(self, predictions: Predictions) -> Statistic:
        """AURC less that of the best order."""
        return RiskCoverage(predictions.confidence, predictions.correct).excess
