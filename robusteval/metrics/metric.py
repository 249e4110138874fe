"""The contract of a metric, and its interval."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robusteval.core.component import Component, Registry
from robusteval.core.errors import require
from robusteval.core.statistics import basic_interval, percentile_interval, poisson_weights, resample, wilson
from robusteval.core.types import Estimate, Predictions
from robusteval.metrics.functional.validate import classification
from robusteval.metrics.functional.weighing import Statistic

Floats = NDArray[np.float64]
Interval = Literal["wilson", "percentile", "basic"]


@dataclass(frozen=True)
class Metric(Component):
    """A number from predictions: `weighted` is the author's, the call and `estimate` are everyone's.

    Attributes:
        higher_is_better: the direction of improvement.
        interval: `wilson` for a share of samples, `percentile` for a mean, `basic` for a statistic biased at small n.
        needs_logits: whether predictions without logits cannot be measured.
        most: the largest possible value.
    """

    higher_is_better: ClassVar[bool]
    interval: ClassVar[Interval] = "percentile"
    needs_logits: ClassVar[bool] = False
    most: ClassVar[float] = math.inf

    @abstractmethod
    def weighted(self, predictions: Predictions, weights: Floats) -> Floats:
        """The metric under each row of sample weights [m, n], as [m]; nan where a row has no weight."""

    def statistic(self, predictions: Predictions) -> Statistic:
        """The metric of these predictions as a function of weights."""
        return partial(self.weighted, predictions)

    def enclosed(self, predictions: Predictions, value: float, resampled: Floats) -> Estimate:
        """The value with the interval that its resampled values [m] give it."""
        found = (basic_interval if self.interval == "basic" else percentile_interval)(value, resampled)
        return found._replace(high=max(value, min(found.high, self.most)))

    def __call__(self, predictions: Predictions, weights: NDArray[np.float64] | None = None) -> float:
        """The metric, each sample counted once or `weights` [n] times."""
        rows = np.ones((1, len(predictions))) if weights is None else np.asarray(weights, dtype=np.float64)[None]
        return float(self.weighted(predictions, rows)[0])


@dataclass(frozen=True)
class Prepared(Metric):
    """A metric whose bins, ranks or probabilities are found once for all rows of weights, in `statistic`."""

    @abstractmethod
    def statistic(self, predictions: Predictions) -> Statistic:
        """The metric of these predictions as a function of weights [m, n]."""

    def weighted(self, predictions: Predictions, weights: Floats) -> Floats:
        """The prepared statistic under each row of weights."""
        return self.statistic(predictions)(weights)


METRICS: Registry[Metric] = Registry("metric", Metric, "robusteval.metrics")


def measurable(predictions: Predictions) -> dict[str, Metric]:
    """The registered metrics that these predictions allow, by name: without logits, those that need none."""
    found = {name: METRICS.parse(name) for name in METRICS.classes}
    return {name: metric for name, metric in found.items() if predictions.logits is not None or not metric.needs_logits}


def estimate(
    metric: Metric | str,
    predictions: Predictions | ArrayLike,
    labels: ArrayLike | None = None,
    draws: int = 1000,
    seed: int = 0,
    weights: NDArray[np.uint8] | None = None,
) -> Estimate:
    """The metric with its 95% interval.

    Args:
        metric: what to compute, or its spec.
        predictions: of n samples; or their logits [n, k], with the labels beside them.
        labels: [n], where logits are given; the samples are then numbered 0..n-1.
        draws: bootstrap draws.
        seed: of the resampling weights, which depend on the sample id and this seed alone.
        weights: the same weights [draws, n] where the caller has them already.

    Raises:
        SpecError: no metric has this name.
        InputError: logits or labels do not fit, there is no sample or one without a finite answer, or the metric needs
            logits and the predictions have none.
    """
    known = isinstance(metric, Metric | str)
    require(known, "metric", "must be a metric or its spec, as in 'ece(bins=10)'", metric)
    metric = METRICS.parse(metric)
    if not isinstance(predictions, Predictions):
        require(labels is not None, "labels", "must be given with logits", None)
        predictions = Predictions.from_logits(*classification(predictions, np.asarray(labels)))
    _check(predictions)
    value = metric(predictions)
    if metric.interval == "wilson":
        return wilson(round(value * len(predictions)), len(predictions))
    if weights is None:
        require(draws >= 1, "draws", "must be at least 1", draws)
        weights = poisson_weights(predictions.samples, draws, seed)
    resampled = resample(metric.statistic(predictions), weights)
    if not len(resampled):  # few draws of few samples may all be empty
        return Estimate(value, value, value)
    return metric.enclosed(predictions, value, resampled)


def estimate_mean(metric: Metric | str, views: Sequence[Predictions], draws: int = 1000, seed: int = 0) -> Estimate:
    """The mean of a metric over views of the same samples, with its 95% interval: a draw weighs a sample in all views.

    Args:
        metric: what to compute, or its spec.
        views: predictions of the same samples in the same order.
        draws: bootstrap draws.
        seed: of the resampling weights.

    Raises:
        InputError: there is no view, their samples differ, or the metric encloses its value in a way of its own.
    """
    require(len(views) > 0, "views", "must be at least one", 0)
    same = all(np.array_equal(view.samples, views[0].samples) for view in views)
    require(same, "views", "must hold the same samples in the same order", len(views))
    require(draws >= 1, "draws", "must be at least 1", draws)
    metric = METRICS.parse(metric)
    for view in views:
        _check(view)
    plain = type(metric).enclosed is Metric.enclosed
    require(plain, "metric", "has an interval of its own kind, which a mean does not keep", metric.spec)
    statistics = [metric.statistic(view) for view in views]
    weights = poisson_weights(views[0].samples, draws, seed)
    resampled = resample(lambda rows: np.mean([statistic(rows) for statistic in statistics], axis=0), weights)
    value = float(np.mean([metric(view) for view in views]))
    return metric.enclosed(views[0], value, resampled) if len(resampled) else Estimate(value, value, value)


def _check(predictions: Predictions) -> None:
    require(len(predictions) > 0, "predictions", "must hold at least one sample", 0)
    finite = np.isfinite(predictions.confidence) & np.isfinite(predictions.nll)
    require(bool(finite.all()), "predictions", "must be of finite logits, but so many are not", int((~finite).sum()))
