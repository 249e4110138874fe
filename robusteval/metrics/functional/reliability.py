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
from robusteval.metrics.functional.weighing import BLOCK, Floats


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
    rows = poisson_weights(predictions.samples, draws, seed) if weights is None else weights
    return reliability_table(predictions.confidence, predictions.correct, rows, bins, mass)


def reliability_table(
    confidence: Floats, correct: NDArray[np.bool_], weights: NDArray[np.uint8], bins: int = 15, mass: bool = False
) -> pd.DataFrame:
    """The same of n samples with one answer each, [n], or with k answers that are resampled together, [n, k].

    Args:
        confidence: of each answer.
        correct: whether it is right.
        weights: of the samples, [draws, n].
        bins: number of bins.
        mass: whether bins hold equal numbers of answers.
    """
    index, right = top_label_bins(confidence.ravel(), bins, mass), correct.ravel()
    # Counts by sample and bin: answers of one sample in one bin are drawn together.
    places = np.repeat(np.arange(len(confidence)), confidence[0].size) * bins + index
    counts, hits = (
        np.bincount(places, values, len(confidence) * bins).reshape(-1, bins) for values in (np.ones(len(index)), right)
    )
    low, high = _band(_mean(_drawn(weights, hits), _drawn(weights, counts)))
    count = np.bincount(index, minlength=bins)
    ends = mass_edges(confidence.ravel(), bins) if mass else np.linspace(0, 1, bins + 1)[1:-1]
    return pd.DataFrame(
        {
            "low": np.concatenate([[0.0], ends]),
            "high": np.concatenate([ends, [1.0]]),
            "count": count,
            "share": count / len(index),
            "confidence": _mean(np.bincount(index, confidence.ravel(), bins), count),
            "accuracy": _mean(np.bincount(index, right, bins), count),
            "accuracy_low": low,
            "accuracy_high": high,
        }
    )


def _drawn(weights: NDArray[np.uint8], values: NDArray[Any]) -> Floats:
    """Sums [draws, bins] of values [n, bins] under every row of weights."""
    rows = max(1, BLOCK // max(1, weights.shape[1]))
    parts = (weights[start : start + rows] for start in range(0, len(weights), rows))
    return np.concatenate([part.astype(np.float64) @ values for part in parts])


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
