"""Which bin a probability falls in: bins are right-closed (a, b], 0 falls in the first and exactly 1 in the last."""

import numpy as np
from numpy.typing import NDArray

from robusteval.core.errors import require

Floats = NDArray[np.float64]


def equal_width_bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each confidence of any shape: equal parts of [0, 1].

    >>> equal_width_bins(np.array([0.0, 0.2, 0.21, 1.0]), 5)
    array([0, 0, 1, 4])
    """
    require(bins >= 1, "bins", "must be at least 1", bins)
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    # A product guesses the bin, comparison with the edges beside it decides: faster than a search, and as exact.
    guess = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    padded = np.concatenate([[-np.inf], inner, [np.inf]])
    guess -= confidence <= padded[guess]
    guess += confidence > padded[guess + 1]
    return guess


def mass_edges(confidence: Floats, bins: int) -> Floats:
    """The inner edges [bins - 1] that part the sorted confidences [n] into runs of n / bins: the last of each run.

    >>> mass_edges(np.array([0.1, 0.4, 0.6, 0.9]), 2)
    array([0.4])
    """
    require(bins >= 1, "bins", "must be at least 1", bins)
    ends = -(-np.arange(1, bins) * len(confidence) // bins)  # rounded up
    edges: Floats = np.sort(confidence)[np.maximum(ends, 1) - 1]
    return edges


def equal_mass_bins(confidence: Floats, bins: int) -> NDArray[np.int64]:
    """The bin of each confidence [n]: bins of equal numbers of samples, where equal confidences share a bin.

    >>> equal_mass_bins(np.array([0.9, 0.1, 0.6, 0.4]), 2), equal_mass_bins(np.full(3, 0.7), 2)
    (array([1, 0, 1, 0]), array([0, 0, 0]))
    """
    edges = mass_edges(confidence, bins) if len(confidence) else np.empty(0)
    return np.searchsorted(edges, confidence, side="left")
