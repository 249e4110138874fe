"""Circular motion blur, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from scipy import special
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.kernels import separable
from robusteval.corruptions.splines import cubic_taps, spline_operator, whole

TURNS = 21


@dataclass(frozen=True)
class CircularMotionBlur(Corruption):
    """The mean of the image turned about its middle by -1.5 to 1.5 degrees times the constant.

    The 21 turned images have the weights exp(-2 t^2), with t from -1 to 1; cubic splines interpolate, and what comes
    from outside is black. There is no randomness.
    """

    name: ClassVar[str] = "circular-motion-blur"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (2.8, 3.6, 4.4, 5.2, 6.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add up the turned images."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        splines = separable((x * 255).round_(), *(whole(spline_operator(size)) for size in (height, width))).flatten(2)
        sources, weights = (part.to(x.device) for part in _turned(height, width, level * 15 / 10))
        total = torch.zeros_like(splines)
        for source, weight in zip(sources, weights, strict=True):
            total += splines[:, :, source] * weight
        return total.view_as(x) / 255


@lru_cache(maxsize=16)
def _turned(height: int, width: int, degrees: float) -> tuple[Tensor, Tensor]:
    """For every pixel the coefficients that it takes, and their weights, [most, h * w] twice, padded with weight 0."""
    steps = np.linspace(-1, 1, TURNS)
    shares = np.exp(-2 * steps**2) / np.exp(-2 * steps**2).sum()
    keys, weights = [], []
    for step, share in zip(steps, shares, strict=True):
        source, weight = _turn(height, width, step * degrees)
        keys.append(np.arange(height * width)[:, None] * (height * width) + source)
        weights.append(share * weight)
    key, place = np.unique(np.concatenate(keys, axis=1), return_inverse=True)
    weight = np.bincount(place.reshape(-1), np.concatenate(weights, axis=1).reshape(-1))
    target, source = np.divmod(key, height * width)
    rank = np.arange(len(key)) - np.searchsorted(target, target)
    table = np.zeros((2, rank.max() + 1, height * width))
    table[:, rank, target] = source, weight
    return torch.from_numpy(table[0].astype(np.int64)), torch.from_numpy(table[1])


def _turn(height: int, width: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """The 16 coefficients [h * w, 16] that each pixel of a turned image takes and their weights, 0 if from outside."""
    middle = (np.array([height, width]) - 1) / 2
    cos, sin = special.cosdg(degrees), special.sindg(degrees)
    down, right = (axis.reshape(-1) - half for axis, half in zip(np.indices((height, width)), middle, strict=True))
    row, column = cos * down + sin * right + middle[0], cos * right - sin * down + middle[1]
    inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
    rows, row_weights = cubic_taps(np.where(inside, row, 0), height)
    columns, column_weights = cubic_taps(np.where(inside, column, 0), width)
    source = rows[:, :, None] * width + columns[:, None, :]
    weight = row_weights[:, :, None] * column_weights[:, None, :] * inside[:, None, None]
    return source.reshape(height * width, 16), weight.reshape(height * width, 16)
