"""Differences between two models on the same samples, or between two variants over training seeds.

The three sources of uncertainty stay apart: the samples (`rate_difference`, `bootstrap_difference`), which speak of
the checkpoints at hand alone, the training seeds (`seed_difference`), and the number of comparisons (`holm`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from robusteval.core.errors import require
from robusteval.core.statistics import resample

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
Shape = Literal["percentile", "basic"]


class Difference(NamedTuple):
    """First minus second, its interval, and the two-sided p-value of no difference; low <= value <= high."""

    value: float
    low: float
    high: float
    p: float


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar 1947, from the samples that one side alone has right.

    Without such a sample it is 1.

    >>> mcnemar(1, 9)
    0.021484375
    >>> mcnemar(0, 0)
    1.0
    """
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    # Binomial with one half is symmetric, so the two-sided test is twice its smaller tail.
    return min(1.0, 2 * float(special.bdtr(fewer, discordant, 0.5))) if discordant else 1.0


def rate_difference(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> Difference:
    """The difference of two rates on the same samples, bool [n] each: see `discordant_difference`.

    Raises:
        InputError: the sides are of different lengths, or empty.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    require(one.shape == other.shape and one.ndim == 1, "second", f"must have shape {one.shape}", other.shape)
    return discordant_difference(int((one & ~other).sum()), int((~one & other).sum()), len(one), level)


def discordant_difference(only_first: int, only_second: int, n: int, level: float = 0.95) -> Difference:
    """The difference of two rates on the same n samples, from those that one side alone has right.

    The p-value is McNemar's exact one. The interval is the score interval of Tango 1998 (Statistics in Medicine 17,
    891-908), which keeps its level with few differing samples: where none differs it is +- z^2 / (n + z^2), not a
    point. The two come from different tests, and near the level one may exclude 0 where the other does not.

    Args:
        only_first: samples that the first alone has right.
        only_second: samples that the second alone has right.
        n: all samples.
        level: of the interval.

    Raises:
        InputError: the counts are negative, above n together, or n is 0.
    """
    fits = min(only_first, only_second) >= 0 and only_first + only_second <= n and n >= 1
    require(fits, "n", f"must be at least 1 and hold {only_first} and {only_second} differing samples", n)
    low, high = (_limit(only_first, only_second, n, level, end) for end in (-1.0, 1.0))
    return Difference((only_first - only_second) / n, low, high, mcnemar(only_first, only_second))


def bootstrap_difference(
    first: Statistic,
    second: Statistic,
    weights: NDArray[np.uint8],
    level: float = 0.95,
    shape: Shape = "percentile",
) -> Difference:
    """The difference of one statistic on two sides whose samples are resampled together: see `drawn_difference`.

    Args:
        first: maps weights [m, n] to values [m], as `Metric.statistic(predictions)` does.
        second: likewise; the samples are in the same order.
        weights: of `poisson_weights` for these samples, [draws, n].
        level: of the interval.
        shape: of the interval, as the metric's own: `basic` for one that is biased at small n.
    """
    n = weights.shape[1]
    ones = np.ones((1, n))
    value = float(first(ones)[0] - second(ones)[0])
    return drawn_difference(value, resample(lambda rows: first(rows) - second(rows), weights), n, level, shape)


def drawn_difference(
    value: float, drawn: Floats, n: int, level: float = 0.95, shape: Shape = "percentile"
) -> Difference:
    """A difference from its bootstrap draws (Davison and Hinkley 1997, chapters 4 and 5).

    Counting draws beyond 0 gives no p-value below 2 / draws, which a correction for many comparisons would swallow.
    So p is that of Student's t with n - 1 degrees of freedom for value / spread of the draws; it is never below
    2^(1 - n), which flipping the signs of n pairs allows. With a `basic` interval the value counts before or after the
    bias is taken out of it, whichever is nearer to 0: the latter varies more than the draws do, and alone would raise
    false alarms (of two models of equal ECE in 7 to 9% of simulated pairs instead of 5%).

    Args:
        value: the difference.
        drawn: its resampled values, finite, [draws].
        n: samples.
        level: of the interval.
        shape: `percentile`, or `basic`, which moves back by the bias.
    """
    if not len(drawn) or not math.isfinite(value):
        return Difference(value, value, value, math.nan)
    low, high = (float(end) for end in np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2]))
    centre = value
    if shape == "basic":
        low, high, without = 2 * value - high, 2 * value - low, 2 * value - float(drawn.mean())
        centre = min(value, without, key=abs) if value * without > 0 else 0.0
    return Difference(value, min(value, low), max(value, high), _student(centre, float(drawn.std()), n))


def seed_difference(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Difference:
    """The difference of two means over training seeds: Welch's t-test and interval (Welch 1947).

    A permutation test (Fisher 1935) needs four seeds on each side for a p-value below 0.05 (of three against three the
    least is 0.1), so it stands in only where neither side has any spread and t is undefined: its p-value is then the
    share of assignments that part the values as they are, and the interval is a point.
    Seeds are not paired: equal numbers on two variants share nothing that makes their results alike.

    Args:
        first: one value per seed, at least two.
        second: likewise.
        level: of the interval.

    Raises:
        InputError: a side has fewer than two seeds.
    """
    fewest = min(len(first), len(second))
    require(fewest >= 2, "seeds", "must be at least 2 on each side", fewest)
    value = float(np.mean(first) - np.mean(second))
    shares = [float(np.var(side, ddof=1)) / len(side) for side in (first, second)]
    error = math.sqrt(sum(shares))
    if not error > 1e-12 * max(map(abs, (*first, *second))):
        apart = abs(value) > 1e-12 * max(map(abs, (*first, *second)))
        sides = 2 if len(first) == len(second) else 1  # all values swapped are as far apart
        ways = math.comb(len(first) + len(second), len(first))
        return Difference(value, value, value, sides / ways if apart else 1.0)
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(side) - 1) for share, side in zip(shares, (first, second), strict=True)
    )
    half = error * float(special.stdtrit(freedom, 0.5 + level / 2))
    return Difference(value, value - half, value + half, 2 * float(special.stdtr(freedom, -abs(value) / error)))


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted by Holm 1979, in their own order; nan, a comparison that could not be made, stays nan.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p, kind="stable")[: int(np.isfinite(p).sum())]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def _limit(only_first: int, only_second: int, n: int, level: float, end: float) -> float:
    """The end of Tango's interval on the side of `end`, -1 or 1: where its score leaves the level."""
    z2 = float(special.ndtri(0.5 + level / 2)) ** 2
    inside, outside = (only_first - only_second) / n, end
    for _ in range(60):
        middle = (inside + outside) / 2
        gap = only_first - only_second - n * middle
        if gap * gap < z2 * n * _variance(only_first, only_second, n, middle):
            inside = middle
        else:
            outside = middle
    return inside


def _variance(only_first: int, only_second: int, n: int, difference: float) -> float:
    """The variance of one sample's difference, with the likeliest rates that have this difference (Tango 1998)."""
    linear = (2 * n - only_first + only_second) * difference - only_first - only_second
    constant = -only_second * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * n * constant))
    return 2 * (root - linear) / (4 * n) + difference * (1 - difference)


def _student(centre: float, spread: float, n: int) -> float:
    if centre == 0 or n < 2:
        return 1.0
    t = abs(centre) / spread if spread > 0 else math.inf
    return max(2 * float(special.stdtr(n - 1, -t)), 2.0 ** (1 - min(n, 1000)))
