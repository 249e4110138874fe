"""Noise that changes each 8-bit level of an image on its own, drawn exactly and without a loop.

Gaussian, shot, impulse and speckle noise, once cut to bytes, are a channel: a level goes in, and one of 256 levels
comes out with known probabilities. The alias method (Walker 1977, "An efficient method for generating discrete random
variables with general distributions") draws from it with 31 random bits and one look-up, in integers, so that every
device and batch size gives the same bits. Every probability is exact to 1e-8.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from robusteval.core.rng import Stream

_FRACTION = 1 << 23  # 31 bits: 8 for the column, 23 for the place within it


def noisy(x: Tensor, table: Tensor, ids: Tensor, rng: Stream) -> Tensor:
    """Levels drawn for x [n, c, h, w], multiples of 1/255, from the rows of an `alias_table`; float32 levels / 255."""
    count = x[0].numel()
    words = rng.words(ids, (count + 1) // 2).view(torch.int32)[:, :count].bitwise_and(0x7FFFFFFF)
    cells = x.flatten(1).mul(255).round().to(torch.int32).mul_(256).add_(words & 255)
    entries = table.to(x.device).index_select(0, cells.flatten()).view_as(words)
    # A random number is (place, column) and an entry (share of the column, other level), both in that order of bits:
    # below the share the smaller of the two ends in the column's own level, above it in the other one.
    return words.minimum(entries).bitwise_and_(255).to(torch.float32).div_(255).view_as(x)


def alias_table(probabilities: NDArray[np.float64]) -> Tensor:
    """The table [256 * 256] int32 of a channel; probabilities [256, 256] of the level that comes out, for each in."""
    share, other = probabilities * 256, np.tile(np.arange(256), (256, 1))
    open_columns, rows = share.copy(), np.arange(256)
    for _ in range(255):
        # The least full column is topped up from the fullest one, and is done.
        poorest, richest = open_columns.argmin(axis=1), np.where(open_columns < np.inf, share, -1).argmax(axis=1)
        other[rows, poorest] = richest
        share[rows, richest] -= 1 - share[rows, poorest]
        open_columns[rows, richest] = share[rows, richest]
        open_columns[rows, poorest] = np.inf
    parts = (share * _FRACTION).round().clip(0, _FRACTION - 1).astype(np.int64)
    return torch.from_numpy((parts * 256 + other).ravel().astype(np.int32))


def normal_channel(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal noise of a standard deviation in levels for each level, clipped to 0..255 and cut to whole levels."""
    levels = np.arange(256.0)
    below = special.ndtr((levels[1:] - levels[:, None]) / np.maximum(deviations, 1e-9)[:, None])
    return np.diff(below, axis=1, prepend=0.0, append=1.0)
