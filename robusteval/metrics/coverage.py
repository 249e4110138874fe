"""Coverage at 95% accuracy: how many samples, most confident first, can be answered so well.

The point of the risk-coverage curve (El-Yaniv and Wiener 2010, "On the foundations of noise-free selective
classification") where the risk is 5%.
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.ranked import RiskCoverage
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Coverage(Prepared):
    """The largest coverage with at least `accuracy`; 0 where there is none."""

    name: ClassVar[str] = "coverage"
    higher_is_better: ClassVar[bool] = True
    interval: ClassVar[Interval] = "percentile"

    accuracy: float = 0.95

    def __post_init__(self) -> None:
        require(0 < self.accuracy <= 1, "accuracy", "must be above 0 and at most 1", self.accuracy)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The largest coverage over thresholds of confidence."""
        curve = RiskCoverage(predictions.confidence, predictions.correct)
        return lambda weights: curve.coverage(weights, self.accuracy)
