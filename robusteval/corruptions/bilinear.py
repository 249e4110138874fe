"""Two neighbours and their weights on one axis, for images that are read between their pixels and black outside."""

import torch
from torch import Tensor
from torch.nn import functional

Tap = tuple[Tensor, Tensor]
"""Indices into an axis that `bordered` made longer, and weights, of the same shape."""


def bordered(x: Tensor) -> Tensor:
    """Add one black pixel on every side of images [n, c, h, w]."""
    return functional.pad(x, (1, 1, 1, 1))


def taps(place: Tensor, size: int) -> tuple[Tap, Tap]:
    """The pixel before each place on an axis of so many pixels and the one after it.

    The weights are computed as the original of CIFAR-10-C-bar does (Mintun et al. 2021, arXiv:2102.11273): where they
    do not add up to exactly 1, an even area loses a grey level there and here.
    """
    lower = place.floor()
    upper = lower + 1
    before = (_index(lower, size), 1.0 - place + lower)
    after = (_index(upper, size), 1.0 - upper + place)
    return before, after


def _index(pixel: Tensor, size: int) -> Tensor:
    return (pixel + 1).clamp(0, size + 1).to(torch.int64)
