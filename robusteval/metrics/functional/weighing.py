"""Sums under many rows of sample weights at once: what the bootstrap of every metric is made of.

A metric is prepared once (bins, ranks and bandwidths are those of the full sample) and then asked under rows of weights
[m, n]; the rows are taken in blocks that stay in the cache.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From weights [m, n] to values [m]; nan where a row has no weight."""

BLOCK = 400_000
"""Weights taken at a time: 3 MB in float64."""


def unweighted(statistic: Statistic, n: int) -> float:
    """The statistic with each of n samples counted once."""
    return float(statistic(np.ones((1, n)))[0])


def in_blocks(statistic: Statistic, weights: Floats) -> Floats:
    """The statistic of all rows, computed some rows at a time; it may return [m] or [m, p]."""
    rows = max(1, BLOCK // max(1, weights.shape[1]))
    return np.concatenate([statistic(weights[start : start + rows]) for start in range(0, len(weights), rows)])


def per_weight(totals: Floats, weights: Floats) -> Floats:
    """Totals [m] over the weight of each row of [m, n]; nan where there is none."""
    weight = weights.sum(axis=1)
    mean: Floats = np.divide(totals, weight, out=np.full(len(weight), np.nan), where=weight > 0)
    return mean


def quotient(above: Floats, below: Floats) -> Floats:
    """Above / below, and 0 where nothing is below (an empty bin adds nothing)."""
    zeros: Floats = np.zeros(np.broadcast_shapes(above.shape, below.shape))
    return np.divide(above, below, out=zeros, where=below > 0)


class BinSums:
    """The weighted sum of values in each of p places: one sparse product for many rows of weights."""

    def __init__(self, index: NDArray[np.int64], values: Floats, places: int) -> None:
        """Describe the sums.

        Args:
            index: place of each value, [n] or [n, k], each in 0..places-1.
            values: what a sample adds there when its weight is 1, of the same shape.
            places: p.
        """
        n, count = len(index), index.size // max(1, len(index))
        starts = np.arange(0, index.size + 1, max(1, count))
        self._matrix = sparse.csr_array((values.ravel(), index.ravel(), starts), shape=(n, places)).T.tocsr()

    def __call__(self, weights: Floats) -> Floats:
        """Sums [m, p] under rows of weights [m, n]."""

        def part(rows: Floats) -> Floats:
            found: Floats = (self._matrix @ np.ascontiguousarray(rows.T)).T
            return found

        return in_blocks(part, weights)


def paired_sums(
    index: NDArray[np.int64], first: Floats, second: Floats, places: int
) -> Callable[[Floats], list[Floats]]:
    """Two `BinSums` of the same places that pass over the weights once."""
    both = BinSums(
        np.concatenate([index.reshape(len(index), -1), index.reshape(len(index), -1) + places], axis=1),
        np.concatenate([first.reshape(len(index), -1), second.reshape(len(index), -1)], axis=1),
        2 * places,
    )
    return lambda weights: np.split(both(weights), 2, axis=1)
