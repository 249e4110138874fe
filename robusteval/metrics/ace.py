"""ACE: adaptive calibration error, class by class over bins of equal mass (Nixon et al. 2019, arXiv:1904.01685)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.classwise import adaptive_error
from robusteval.metrics.functional.validate import probabilities_of
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class Ace(Prepared):
    """Adaptive calibration error with `bins` equal-mass bins of every class."""

    name: ClassVar[str] = "ace"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0
    needs_logits: ClassVar[bool] = True

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The mean over classes of the L1 error."""
        return adaptive_error(probabilities_of(predictions, self.name), predictions.labels, self.bins)
