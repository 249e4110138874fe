"""Cubic B-splines on lines of pixels mirrored about their ends, as scipy.ndimage interpolates with order 3."""

import numpy as np
import torch
from torch import Tensor

from robusteval.corruptions.kernels import SEPARABLE_BITS

Taps = tuple[np.ndarray, np.ndarray]


def cubic_taps(place: np.ndarray, size: int) -> Taps:
    """The four pixels about each place in [0, size - 1] and their weights, [..., 4] twice."""
    lower = np.floor(place)
    share = (place - lower)[..., None]
    distance = np.abs(np.concatenate([1 + share, share, 1 - share, 2 - share], axis=-1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    weight = np.where(distance < 1, near, (2 - distance) ** 3 / 6)
    pixel = lower.astype(np.int64)[..., None] + np.arange(-1, 3)
    period = max(2 * size - 2, 1)
    pixel = np.abs(pixel) % period
    return np.minimum(pixel, period - pixel) if size > 1 else np.zeros_like(pixel), weight


def operator(taps: Taps, size: int) -> np.ndarray:
    """The matrix [places, size] of the taps of a line."""
    pixel, weight = taps
    matrix = np.zeros((len(pixel), size))
    np.add.at(matrix, (np.arange(len(pixel))[:, None], pixel), weight)
    return matrix


def spline_operator(size: int) -> np.ndarray:
    """The matrix [size, size] from pixels to the spline's coefficients, scipy.ndimage.spline_filter1d."""
    return np.linalg.inv(operator(cubic_taps(np.arange(size, dtype=np.float64), size), size))


def whole(matrix: np.ndarray) -> Tensor:
    """The matrix in whole multiples of a power of two, rows still adding up to 1, so that sums have no rounding."""
    units = np.rint(matrix * 2**SEPARABLE_BITS)
    rows = np.arange(len(units))
    units[rows, np.abs(units).argmax(axis=1)] += 2**SEPARABLE_BITS - units.sum(axis=1)
    return torch.from_numpy(units * 2.0**-SEPARABLE_BITS)
