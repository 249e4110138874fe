"""What the samples of a record say about a number: its bootstrap draws, and which samples were right."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.calibration import RECALIBRATORS
from robusteval.calibration.crossfit import halves_of, recalibrated
from robusteval.core.paired import Shape
from robusteval.core.statistics import poisson_weights
from robusteval.core.types import Predictions
from robusteval.metrics import METRICS
from robusteval.metrics.functional.scoring import weighted_mean
from robusteval.reporting.compare.columns import AFTER, Column
from robusteval.reporting.compare.pool import Pool
from robusteval.results.schema import own_columns, predictions_of

Floats = NDArray[np.float64]
Bits = NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]

DRAWS, CHUNK = 1000, 200


class Drawn(NamedTuple):
    """A statistic under the resampling weights that all models share.

    Attributes:
        value: with every sample counted once.
        draws: nan where a draw has no sample of it, [draws].
        n: samples.
    """

    value: float
    draws: Floats
    n: int


@dataclass
class Evidence:
    """Reads, computes and keeps what tests need.

    Attributes:
        pool: the records.
    """

    pool: Pool
    _weights: dict[bytes, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _drawn: dict[tuple[str, Column], Drawn | None] = field(default_factory=dict, repr=False)

    def right(self, model: str, column: Column) -> Bits | None:
        """Which samples were right, [n], where the column is a rate of them in one view."""
        if column.metric != "accuracy" or len(column.views) > 1:
            return None
        return self._right(model, column)

    def drawn(self, model: str, column: Column) -> Drawn | None:
        """The bootstrap of a model's number; None where it is no statistic of the samples."""
        key = (model, column)
        if key not in self._drawn:
            self._drawn[key] = self._draw(model, column)
        return self._drawn[key]

    def shape(self, column: Column) -> Shape:
        """The interval that suits the metric."""
        known = METRICS.classes.get(column.base)
        return "basic" if known is not None and known.interval == "basic" else "percentile"

    def _draw(self, model: str, column: Column) -> Drawn | None:
        frame = self.pool.samples(model, column.views[0])
        statistic = self._statistic(model, column, frame)
        if statistic is None:
            return None
        weights = self._resampling(frame["sample"].to_numpy(np.int64))
        parts = [statistic(weights[k : k + CHUNK].astype(np.float64)) for k in range(0, len(weights), CHUNK)]
        value = float(statistic(np.ones((1, len(frame))))[0])
        return Drawn(value, np.concatenate(parts), len(frame))

    def _statistic(self, model: str, column: Column, frame: pd.DataFrame) -> Statistic | None:
        """The column as a function of sample weights, computed as the engine's summary computes it."""
        if column.metric == "accuracy":
            ids = [self.pool.samples(model, view)["sample"].to_numpy() for view in column.views]
            if not all(np.array_equal(each, ids[0]) for each in ids):
                return None  # views of other samples: nothing to resample together
            views = [self._right(model, Column(view, (view,), "accuracy", column.radius)) for view in column.views]
            mean = np.stack(views).astype(np.float64).mean(axis=0)
            return lambda rows: weighted_mean(mean, rows)
        if column.base in METRICS.classes:
            tested = column.metric in (column.base, f"{column.base}{AFTER}")
            return self._metric(model, column) if tested else None
        if column.metric in own_columns(frame):
            return _present_mean(frame[column.metric].to_numpy(np.float64))
        return None

    def _metric(self, model: str, column: Column) -> Statistic | None:
        metric, after = METRICS.parse(column.base), column.metric.endswith(AFTER)
        predictions = predictions_of(self.pool.samples(model, column.views[0], after or metric.needs_logits))
        if after:
            scaled = self._scaled(model, predictions)
            if scaled is None:
                return None
            predictions = scaled
        if metric.needs_logits and predictions.logits is None:
            return None
        return metric.statistic(predictions)

    def _scaled(self, model: str, predictions: Predictions) -> Predictions | None:
        """The predictions after temperature scaling as the report did it, where it could."""
        if predictions.logits is None:
            return None
        fitted = self.pool.fitted_temperature(model)
        if fitted is not None:
            scores: NDArray[Any] = predictions.logits.astype(np.float64) / fitted
            return Predictions.from_logits(scores, predictions.labels, predictions.samples)
        halves = halves_of(predictions.samples, self.pool.seed)
        if not 0 < halves.sum() < len(halves):
            return None
        return recalibrated(RECALIBRATORS.parse("temperature"), predictions, self.pool.seed)[0]

    def _right(self, model: str, column: Column) -> Bits:
        """Which samples held, [n]: at a smaller radius of a curve, those that break beyond it."""
        frame = self.pool.samples(model, column.views[0])
        if column.radius is None:
            return frame["correct"].to_numpy(bool)
        metrics = self.pool.metrics
        radii = metrics.loc[metrics["view"].eq(column.views[0]) & metrics["metric"].eq("accuracy"), ["eps_text", "eps"]]
        smaller = radii[radii["eps"].lt(radii["eps"].max()) & radii["eps_text"].eq(column.radius)]
        if len(smaller):
            return frame["distance"].to_numpy(np.float64) > float(smaller["eps"].iloc[0])
        return frame["correct"].to_numpy(bool)

    def _resampling(self, samples: NDArray[np.int64]) -> NDArray[np.uint8]:
        key = samples.tobytes()
        if key not in self._weights:
            self._weights[key] = poisson_weights(samples, DRAWS, self.pool.seed)
        return self._weights[key]


def _present_mean(values: Floats) -> Statistic:
    """The weighted mean of the values that are there."""
    there = np.isfinite(values)
    kept = values[there]
    return lambda rows: weighted_mean(kept, rows[:, there])
