"""Error bars: Wilson's interval for rates, the Poisson bootstrap for everything else.

Resampling weights depend on the sample id and the seed alone, so every view and every checkpoint is resampled in the
same way, and paired differences keep their pairing.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special, stats

from robusteval.core.rng import Stream
from robusteval.core.types import Estimate

Floats = NDArray[np.float64]


def wilson(successes: int, n: int, level: float = 0.95) -> Estimate:
    """A rate with the score interval of Wilson 1927.

    >>> wilson(9, 10)
    Estimate(value=0.9, low=0.5958..., high=0.9821...)
    """
    z = float(special.ndtri(0.5 + level / 2))
    rate, spread = successes / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return Estimate(rate, min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half)))


def median_interval(values: Floats, level: float = 0.95) -> Estimate:
    """The median with the interval between two order statistics, whatever the distribution; values may be infinite.

    >>> median_interval(np.arange(11.0))
    Estimate(value=5.0, low=1.0, high=9.0)
    """
    ordered, n = np.sort(values), len(values)
    below = int(stats.binom.ppf(0.5 - level / 2, n, 0.5))
    low, high = max(below - 1, 0), min(n - below, n - 1)
    return Estimate(float(np.median(ordered)), float(ordered[low]), float(ordered[high]))


def poisson_weights(ids: NDArray[np.int64], draws: int = 1000, seed: int = 0) -> NDArray[np.uint8]:
    """Resampling weights, [draws, n]: Poisson(1) numbers that belong to (seed, sample id, draw)."""
    stream = Stream.seeded(seed).stream("bootstrap")
    weights = np.empty((draws, len(ids)), dtype=np.uint8)
    for start in range(0, len(ids), 1000):
        part = torch.tensor(ids[start : start + 1000])
        weights[:, start : start + 1000] = stream.poisson(part, (draws,)).to(torch.uint8).numpy().T
    return weights


def percentile_interval(value: float, resampled: Floats, level: float = 0.95) -> Estimate:
    """The percentile bootstrap (Efron 1979) around a statistic without much bias."""
    low, high = np.quantile(resampled, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def basic_interval(value: float, resampled: Floats, level: float = 0.95) -> Estimate:
    """The basic bootstrap (Davison and Hinkley 1997, 5.2), which moves back by the bias; clipped at 0."""
    low, high = np.quantile(resampled, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value, min(value, max(0.0, float(2 * value - high))), max(value, float(2 * value - low)))


def resample(statistic: Callable[[Floats], Floats], weights: NDArray[np.uint8], chunk: int = 200) -> Floats:
    """Evaluate a statistic under every row of weights, [draws]; rows without any weight are left out.

    Args:
        statistic: maps weights [m, n] to values [m].
        weights: [draws, n].
        chunk: rows turned into floats at a time, which bounds the memory.
    """
    parts = [statistic(weights[start : start + chunk].astype(np.float64)) for start in range(0, len(weights), chunk)]
    values = np.concatenate(parts)
    return values[np.isfinite(values)]
