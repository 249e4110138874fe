"""Filters whose sums have no rounding, so that an image gets the same bits in any batch and on every device.

Pixels are whole levels from 0 to 255 and weights are whole multiples of a power of two, so few bits in all that every
partial sum is a number the floating point format holds: the order in which a library adds does not matter.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SEPARABLE_BITS = 22
"""The fineness of weights of two float64 passes over levels: 8 + 22 + 22 bits are below the 53 of the format."""


def whole_weights(weights: Tensor, bits: int, peak: int) -> Tensor:
    """Weights [k] rounded to multiples of 2^-bits; the one at peak takes what is missing from the rounded sum."""
    units = torch.round(weights.to(torch.float64) * 2**bits)
    units[peak] += torch.round(weights.sum() * 2**bits) - units.sum()
    return units.mul_(2.0**-bits)


@lru_cache(maxsize=64)
def gaussian_operator(sigma: float, size: int) -> Tensor:
    """The blur of a line of pixels [size, size] float64: cut at 4 sigma, the outermost pixels repeated.

    These are the defaults of scipy.ndimage.gaussian_filter1d and skimage.filters.gaussian (mode nearest).
    """
    radius = int(4 * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1)
    curve = torch.exp(-0.5 * (steps.to(torch.float64) / sigma) ** 2)
    weights = whole_weights(curve / curve.sum(), SEPARABLE_BITS, peak=radius)
    places = torch.arange(size)
    sources = (places[:, None] + steps).clamp(0, size - 1)
    return torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, sources, weights.expand(size, -1))


def linear_operator(source: int, target: int) -> Tensor:
    """The linear interpolation of a line of pixels, [target, source] float64, first on first and last on last.

    As in scipy.ndimage.zoom(order=1) a place that rounding puts beyond the last pixel is 0.
    """
    places = np.arange(target) * ((source - 1) / (target - 1) if target > 1 else 1.0)
    lower = np.minimum(np.floor(places), max(source - 2, 0)).astype(np.int64)
    share = np.rint((places - lower) * 2**20) * 2.0**-20
    operator, rows = np.zeros((target, source)), np.arange(target)
    operator[rows, lower] = 1 - share
    operator[rows, np.minimum(lower + 1, source - 1)] += share
    operator[places > source - 1] = 0
    return torch.from_numpy(operator)


def lines_first(levels: Tensor) -> Tensor:
    """Images [n, c, h, w] as [h, n, c, w]: the same line of all of them is one piece of memory, and products large."""
    return levels.permute(2, 0, 1, 3).contiguous()


def lines_last(lines: Tensor) -> Tensor:
    """The images [n, c, h, w] of [h, n, c, w]."""
    return lines.permute(1, 2, 0, 3).contiguous()


def separable_lines(lines: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter lines [h, n, c, w] float64 along the height by rows [out, h] and along the width by columns [out, w]."""
    across = lines.view(-1, lines.shape[-1]) @ columns.T.to(lines.device)
    down = rows.to(lines.device) @ across.view(len(lines), -1)
    return down.view(len(rows), *lines.shape[1:3], len(columns))


def separable(levels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Filter levels [n, c, h, w] float64 in the same way."""
    return lines_last(separable_lines(lines_first(levels), rows, columns))


def gaussian_blur(levels: Tensor, sigma: float) -> Tensor:
    """Blur levels [n, c, h, w], whole numbers in float64."""
    height, width = levels.shape[-2:]
    return separable(levels, gaussian_operator(sigma, height), gaussian_operator(sigma, width))


def convolve(levels: Tensor, kernel: Tensor) -> Tensor:
    """Filter levels [n, c, h, w] by a kernel [k, k] of odd side, the image mirrored about its outermost pixels.

    The kernel's upper half is its lower half mirrored, so two lines of pixels at a time are added before they are
    filtered. Kernels of more than 5 pixels have weights of 16 bits, which with 8 bits of level are the 24 of float32,
    twice as fast on a CPU.
    """
    n, channels, height, width = levels.shape
    radius = len(kernel) // 2
    largest = kernel.max().item()
    fineness = 2**44 if radius <= 2 else 65000
    # A GPU may be allowed to shorten float32.
    exact = torch.float32 if radius > 2 and levels.device.type == "cpu" else torch.float64
    peak = fineness * largest // kernel.sum().item()
    weights = (kernel.to(torch.float64) / largest * peak).round().to(exact)
    lines = lines_first(levels.to(exact)).view(height, -1)
    lines = lines.index_select(0, _mirrored(height, radius).to(levels.device))
    sources = _mirrored(width, radius).unfold(0, 2 * radius + 1, 1)
    total = torch.zeros(height * n * channels, width, dtype=exact, device=levels.device)
    for down in range(radius + 1):
        pair = lines[radius + down :][:height]
        if down > 0:
            pair = pair + lines[radius - down :][:height]
        line = weights[radius + down].expand(width, -1)
        operator = torch.zeros(width, width, dtype=exact).scatter_add_(1, sources, line).to(levels.device)
        total.addmm_(pair.view(-1, width), operator.T)
    result = lines_last(total.view(height, n, channels, width)).to(levels.dtype)
    return result.mul_(kernel.to(torch.float64).sum().item() / weights.sum().item())


def _mirrored(size: int, radius: int) -> Tensor:
    """The pixel that stands at each place from -radius to size + radius; mirrored again where the image is smaller."""
    if size == 1:
        return torch.zeros(2 * radius + 1, dtype=torch.int64)
    places = torch.arange(-radius, size + radius) % (2 * size - 2)
    return torch.minimum(places, 2 * size - 2 - places)
