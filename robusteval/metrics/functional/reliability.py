"""The numbers behind a reliability diagram and a histogram of confidence (Niculescu-Mizil and Caruana 2005)."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from robusteval.core.errors import require
from robusteval.core.statistics import poisson_weights
from robusteval.core.types import Predictions
from robusteval.metrics.functional.bins import mass_edges
from robusteval.metrics.functional.calibration import top_label_bins
from robusteval.metrics.functional.weighing import BinSums, Floats


def reliability_diagram(
    predictions: Predictions,
    bins: int = 15,
    mass: bool = False,
    draws: int = 1000,
    seed: int = 0,
    weights: NDArray[np.uint8] | None = None,
) -> pd.DataFrame:
    """Accuracy against confidence bin by bin, with 95% bootstrap bands.

    Args:
        predictions: of n samples.
        bins: number of bins.
        mass: whether bins hold equal numbers of samples.
        draws: bootstrap draws.
        seed: of the resampling weights.
        weights: the same weights [draws, n] where the caller has them already.

    Returns:
        One row per bin: `low`, `high` (the bin is (low, high]), `count`, `share` of the samples, mean `confidence`,
        `accuracy`, and the band `accuracy_low`, `accuracy_high`. An empty bin has count 0 and nothing (nan) beside it.
    """
    require(len(predictions) > 0, "predictions", "must hold at least one sample", 0)
    confidence, correct = predictions.confidence, predictions.correct
    index = top_label_bins(confidence, bins, mass)
    rows = poisson_weights(predictions.samples, draws, seed) if weights is None else weights
    counts, hits = BinSums(index, np.ones(len(index)), bins), BinSums(index, correct.astype(np.float64), bins)
    count = np.bincount(index, minlength=bins)
    drawn = rows.astype(np.float64)
    low, high = _band(_mean(hits(drawn), counts(drawn)))
    ends = mass_edges(confidence, bins) if mass else np.linspace(0, 1, bins + 1)[1:-1]
    return pd.DataFrame(
        {
            "low": np.concatenate([[0.0], ends]),
            "high": np.concatenate([ends, [1.0]]),
            "count": count,
            "share": count / len(index),
            "confidence": _mean(np.bincount(index, confidence, bins), count),
            "accuracy": _mean(np.bincount(index, correct, bins), count),
            "accuracy_low": low,
            "accuracy_high": high,
        }
    )


def _mean(total: NDArray[Any], count: NDArray[Any]) -> Floats:
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean


def _band(rates: Floats) -> tuple[Floats, Floats]:
    """The middle 95% of every column [draws, bins], of the draws that have any weight in the bin."""
    low, high = np.full(rates.shape[1], np.nan), np.full(rates.shape[1], np.nan)
    for column, values in enumerate(rates.T):
        known = values[np.isfinite(values)]
        if len(known):
            low[column], high[column] = np.quantile(known, [0.025, 0.975])
    return low, high
