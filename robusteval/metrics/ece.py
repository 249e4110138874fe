"""ECE: top-label expected calibration error over equal-width bins (Guo et al. 2017, arXiv:1706.04599).

Biased upwards at small n: the interval is the basic bootstrap one, which moves back by the bias.
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.calibration import Norm, binned_error
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Ece(Prepared):
    """Expected calibration error with right-closed bins over [0, 1].

    Attributes:
        bins: number of bins.
        norm: over bins: l1 (mean), l2 (root mean square) or max.
    """

    name: ClassVar[str] = "ece"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    bins: int = 15
    norm: Norm = "l1"

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The norm of the gaps between accuracy and confidence over bins."""
        return binned_error(predictions.confidence, predictions.correct, self.bins, norm=self.norm)
