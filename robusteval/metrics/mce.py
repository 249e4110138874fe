"""MCE: the largest gap between accuracy and confidence over equal-width bins; one sample in a bin may decide it.

Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning".
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.calibration import binned_error
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Mce(Prepared):
    """Maximum calibration error with `bins` right-closed bins over [0, 1]."""

    name: ClassVar[str] = "mce"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The largest gap."""
        return binned_error(predictions.confidence, predictions.correct, self.bins, norm="max")
