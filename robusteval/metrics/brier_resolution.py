"""Resolution: what telling samples apart takes off the Brier score (Murphy 1973, "A new vector partition")."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.brier import resolution
from robusteval.metrics.functional.validate import probabilities_of
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class BrierResolution(Prepared):
    """Squared distance of a bin's outcomes to all outcomes, summed over classes."""

    name: ClassVar[str] = "brier-resolution"
    higher_is_better: ClassVar[bool] = True
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0
    needs_logits: ClassVar[bool] = True

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The weighted mean over bins."""
        return resolution(probabilities_of(predictions, self.name), predictions.labels, self.bins)
