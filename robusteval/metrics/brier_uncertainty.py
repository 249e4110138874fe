"""Uncertainty: the labels' own part of the Brier score (Murphy 1973, "A new vector partition"), whatever the model."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.types import Predictions
from robusteval.metrics.functional.brier import uncertainty
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class BrierUncertainty(Prepared):
    """The Brier score of a forecast of the classes' shares."""

    name: ClassVar[str] = "brier-uncertainty"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "percentile"

    def statistic(self, predictions: Predictions) -> Statistic:
        """One less the sum of squared shares."""
        return uncertainty(predictions.labels)
