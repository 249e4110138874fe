"""Underconfidence: the part of ECE from bins with confidence below accuracy (Guo et al. 2017, arXiv:1706.04599).

The parts of both signs add up to the ECE. To weight bins by confidence as well is another measure (Thulasidasan et al.
2019, arXiv:1905.11001).
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.calibration import signed_error
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Underconfidence(Prepared):
    """The sum over bins of how far confidence is below accuracy."""

    name: ClassVar[str] = "underconfidence"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The sum of gaps of this sign."""
        return signed_error(predictions.confidence, predictions.correct, -1, self.bins)
