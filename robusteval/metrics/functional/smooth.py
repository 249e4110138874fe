"""Smooth ECE (Blasiok and Nakkiran 2023, arXiv:2309.12236): gaps smoothed by a Gaussian, at the width that equals them.

The kernel is reflected at 0 and 1, which is heat flow between insulated ends: in the cosine transform it multiplies the
k-th term by exp(-(pi k width)^2 / 2).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.optimize import brentq

from robusteval.metrics.functional.validate import top_label
from robusteval.metrics.functional.weighing import BinSums, Floats, Statistic, in_blocks, per_weight, unweighted

CELLS = 2048
NARROWEST = 0.001
"""The search for the width ends here, as in the authors' own program; it is two cells."""


def on_grid(confidence: Floats, values: Floats) -> BinSums:
    """Values [n] shared between the two cells whose middles are next to their confidence."""
    at = np.clip(confidence * CELLS - 0.5, 0, CELLS - 1)
    lower = np.minimum(at.astype(np.int64), CELLS - 2)
    upper_share = at - lower
    index = np.stack([lower, lower + 1], axis=1)
    return BinSums(index, np.stack([(1 - upper_share) * values, upper_share * values], axis=1), CELLS)


def smoothed_size(waves: Floats, width: float) -> Floats:
    """The integral of the absolute smoothed gaps [m], from their cosine transforms [m, cells]."""
    damped = waves * np.exp(-((np.pi * width * np.arange(CELLS)) ** 2) / 2)
    size: Floats = np.abs(fft.idct(damped, axis=1)).sum(axis=1)
    return size


def fitting_width(waves: Floats, n: int) -> float:
    """The width in [0.001, 1] that equals the error smoothed by it; the error falls as the width grows."""

    def excess(width: float) -> float:
        return float(smoothed_size(waves, width)[0]) / n - width

    return NARROWEST if excess(NARROWEST) <= 0 else float(brentq(excess, NARROWEST, 1.0, xtol=1e-14))


def smooth_error(confidence: Floats, correct: NDArray[np.bool_]) -> Statistic:
    """Smooth ECE of the top label as a function of weights; the width is that of the full sample."""
    n = len(confidence)
    sums = on_grid(confidence, correct - confidence)
    width = fitting_width(fft.dct(sums(np.ones((1, n))), axis=1), n)

    def part(rows: Floats) -> Floats:
        return per_weight(smoothed_size(fft.dct(sums(rows), axis=1), width), rows)

    return lambda weights: in_blocks(part, weights)


def smooth_calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Smooth ECE of the top label, in [0, 1]; below 0.001 it is the error smoothed at that width."""
    confidence, correct = top_label(logits, labels)
    return unweighted(smooth_error(confidence, correct), len(correct))
