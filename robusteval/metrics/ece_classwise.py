"""Class-wise ECE: the error of every class's probability, averaged (Kull et al. 2019, arXiv:1910.12656)."""

from dataclasses import dataclass
from typing import ClassVar

from robusteval.core.errors import require
from robusteval.core.types import Predictions
from robusteval.metrics.functional.classwise import classwise_error
from robusteval.metrics.functional.validate import probabilities_of
from robusteval.metrics.functional.weighing import Statistic
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class EceClasswise(Prepared):
    """Class-wise expected calibration error with `bins` equal-width bins."""

    name: ClassVar[str] = "ece-classwise"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0
    needs_logits: ClassVar[bool] = True

    bins: int = 15

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The mean over classes of the L1 error."""
        return classwise_error(probabilities_of(predictions, self.name), predictions.labels, self.bins)
