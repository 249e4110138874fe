"""The contract of a metric, and its interval."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from robusteval.core.component import Component
from robusteval.core.statistics import basic_interval, percentile_interval, poisson_weights, resample, wilson
from robusteval.core.types import Estimate, Predictions

Floats = NDArray[np.float64]
Interval = Literal["wilson", "percentile", "basic"]


@dataclass(frozen=True)
class Metric(Component):
    """A number from predictions: `weighted` is the author's, the call and `estimate` are everyone's.

    Attributes:
        higher_is_better: the direction of improvement.
        interval: `wilson` for a share of samples, `percentile` for a mean, `basic` for a statistic biased at small n.
    """

    higher_is_better: ClassVar[bool]
    interval: ClassVar[Interval] = "percentile"

    @abstractmethod
    def weighted(self, predictions: Predictions, weights: Floats) -> Floats:
        """The metric under each row of sample weights [m, n], as [m]; nan where a row has no weight."""

    def __call__(self, predictions: Predictions, weights: NDArray[np.float64] | None = None) -> float:
        """The metric, each sample counted once or `weights` [n] times."""
        rows = np.ones((1, len(predictions))) if weights is None else np.asarray(weights, dtype=np.float64)[None]
        return float(self.weighted(predictions, rows)[0])


def estimate(
    metric: Metric, predictions: Predictions, draws: int = 1000, seed: int = 0, weights: NDArray[np.uint8] | None = None
) -> Estimate:
    """The metric with its 95% interval.

    Args:
        metric: what to compute.
        predictions: of n samples.
        draws: bootstrap draws.
        seed: of the resampling weights, which depend on the sample id and this seed alone.
        weights: the same weights [draws, n] where the caller has them already.
    """
    value = metric(predictions)
    if metric.interval == "wilson":
        return wilson(round(value * len(predictions)), len(predictions))
    if weights is None:
        weights = poisson_weights(predictions.samples, draws, seed)
    resampled = resample(lambda rows: metric.weighted(predictions, rows), weights)
    interval = basic_interval if metric.interval == "basic" else percentile_interval
    return interval(value, resampled)
