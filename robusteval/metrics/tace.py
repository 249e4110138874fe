"""TACE: adaptive calibration error of the probabilities above a threshold (Nixon et al. 2019, arXiv:1904.01685).

Most of many classes have next to no probability, and would swamp the mean; 0.01 is the threshold of the authors' own
program (google-research/robustness_metrics).
"""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.classwise import adaptive_error
from robusteval.metrics.functional.validate import probabilities_of
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Tace(Prepared):
    """Thresholded adaptive calibration error.

    Attributes:
        bins: equal-mass bins of every class.
        threshold: probabilities at most this do not count.
    """

    name: ClassVar[str] = "tace"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0
    needs_logits: ClassVar[bool] = True

    bins: int = 15
    threshold: float = 0.01

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)
        require(0 <= self.threshold < 1, "threshold", "must be in [0, 1)", self.threshold)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The mean over classes of the L1 error."""
        chances = probabilities_of(predictions, self.name)
        return adaptive_error(chances, predictions.labels, self.bins, self.threshold)
