"""Reliability: what calibration would take off the Brier score (Murphy 1973, "A new vector partition")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.brier import reliability
from robusteval.metrics.functional.validate import probabilities_of
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class BrierReliability(Prepared):
    """Squared distance of forecasts to outcomes over bins, summed over classes."""

    name: ClassVar[str] = "brier-reliability"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 2.0
    needs_logits: ClassVar[bool] = True

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The weighted mean over bins."""
        return reliability(probabilities_of(predictions, self.name), predictions.labels, self.bins)
