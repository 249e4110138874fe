"""Canny edges of MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337; the detector is Canny's of 1986).

The original, corruptions.py of github.com/google-research/mnist-c, calls scikit-image's feature.canny with its default
constants; the same steps are taken here, in the same order of additions, so that ties between neighbours fall alike.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class CannyEdges(Corruption):
    """The edges of every channel, white on black; constants: width of the smoothing, lower and upper threshold."""

    name: ClassVar[str] = "canny-edges"
    category: ClassVar[Category] = "mnist-c"
    families: ClassVar[Families] = {"mnist-c": ((1.0, 0.1, 0.2),)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Find the edges."""
        deviation, lower, upper = self.constants(x, severity)
        # Equal channels, those of a grey image, have equal edges.
        planes = x[:, :1] if torch.equal(x[:, :1].expand_as(x), x) else x
        bleeding = _smoothed(torch.ones_like(x[:1, :1]), deviation) + np.finfo(np.float64).eps
        smooth = _smoothed(planes, deviation) / bleeding
        down, right = _sobel(smooth, 2), _sobel(smooth, 3)
        magnitude = (down * down + right * right).sqrt()
        ridge = _ridge(down, right, magnitude)
        weak, strong = ridge & (magnitude >= lower), ridge & (magnitude >= upper)
        return _connected(strong, weak).to(x.dtype).expand_as(x)


def _smoothed(x: Tensor, deviation: float) -> Tensor:
    """Gaussian smoothing with black outside, cut at four standard deviations."""
    reach = int(4 * deviation + 0.5)
    weights = np.exp(-0.5 / deviation**2 * np.arange(-reach, reach + 1) ** 2)
    weights /= weights.sum()
    for dim in (2, 3):
        side = x.shape[dim]
        padded = functional.pad(x, (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0))
        x = x * weights[reach].item()
        for away in range(reach, 0, -1):
            pair = padded.narrow(dim, reach - away, side) + padded.narrow(dim, reach + away, side)
            x = x + pair * weights[reach - away].item()
    return x


def _sobel(x: Tensor, dim: int) -> Tensor:
    """Sobel's derivative along a dimension, with the edge repeated outside."""
    padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    change = padded.narrow(dim, 2, x.shape[dim]) - padded.narrow(dim, 0, x.shape[dim])
    across = 5 - dim
    before, middle, after = (change.narrow(across, place, x.shape[across]) for place in range(3))
    return middle * 2 + (before + after)


def _ridge(down: Tensor, right: Tensor, magnitude: Tensor) -> Tensor:
    """Inner pixels of a magnitude not below those one step along the gradient, which are interpolated."""
    inner = (..., slice(1, -1), slice(1, -1))
    steepness, flatness = down[inner].abs(), right[inner].abs()
    steep = steepness >= flatness
    falling = (down[inner] >= 0) == (right[inner] >= 0)
    here = magnitude[inner]
    share = torch.minimum(steepness, flatness) / torch.maximum(steepness, flatness).masked_fill(here == 0, 1)
    highest = here > 0
    for step in (1, -1):
        below, above = _moved(magnitude, step, 0), _moved(magnitude, -step, 0)
        straight = torch.where(steep, torch.where(falling, below, above), _moved(magnitude, 0, step))
        diagonal = torch.where(falling, _moved(magnitude, step, step), _moved(magnitude, -step, step))
        highest &= diagonal * share + straight * (1 - share) <= here
    return functional.pad(highest, (1, 1, 1, 1))


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """The neighbours of the inner pixels."""
    height, width = x.shape[-2:]
    return x[..., 1 + down : height - 1 + down, 1 + right : width - 1 + right]


def _connected(strong: Tensor, weak: Tensor) -> Tensor:
    """The weak pixels that touch strong ones, over sides or corners, through other weak ones."""
    while True:
        grown = functional.pad(strong, (1, 1, 1, 1))
        grown = grown[..., :-2, :] | grown[..., 1:-1, :] | grown[..., 2:, :]
        grown = (grown[..., :-2] | grown[..., 1:-1] | grown[..., 2:]) & weak
        if torch.equal(grown, strong):
            return strong
        strong = grown
