"""Debiased ECE: the L2 top-label error less what chance adds to it (Kumar, Liang and Ma 2019, arXiv:1909.10155)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.core.statistics import basic_interval
from robusteval.core.types import Estimate, Predictions
from robusteval.metrics.functional.calibration import binned_error, debiased_error
from robusteval.metrics.functional.weighing import Statistic, unweighted
from robusteval.metrics.metric import Interval, Prepared


@dataclass(frozen=True)
class EceDebiased(Prepared):
    """Debiased calibration error; weights count samples.

    Attributes:
        bins: number of bins.
        mass: whether bins hold equal numbers of samples, as in the paper, or are equal parts of [0, 1].
    """

    name: ClassVar[str] = "ece-debiased"
    higher_is_better: ClassVar[bool] = False
    interval: ClassVar[Interval] = "basic"
    most: ClassVar[float] = 1.0

    bins: int = 15
    mass: bool = True

    def __post_init__(self) -> None:
        require(self.bins >= 1, "bins", "must be at least 1", self.bins)

    def statistic(self, predictions: Predictions) -> Statistic:
        """The root of the debiased square, 0 where that is negative."""
        return debiased_error(predictions.confidence, predictions.correct, self.bins, self.mass)

    def enclosed(self, predictions: Predictions, value: float, resampled: NDArray[np.float64]) -> Estimate:
        """The basic interval of the square, whose bias is what was taken off.

        Resampling takes the sample for the truth, bias and all, so that debiased draws scatter around the plain error.
        """
        plain = binned_error(predictions.confidence, predictions.correct, self.bins, self.mass, "l2")
        moved = resampled**2 - unweighted(plain, len(predictions)) ** 2 + value**2
        _, low, high = basic_interval(value**2, moved)
        return Estimate(value, min(value, low**0.5), max(value, min(high**0.5, self.most)))
