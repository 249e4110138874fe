"""Soft straight strokes, as MNIST-C draws its lines (Mu and Gilmer 2019, arXiv:1906.02337)."""

import torch
from torch import Tensor


def stroke(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], size: tuple[int, int], reach: float) -> Tensor:
    """One stroke per image, [n, h, w] float64 in [0, 1].

    A pixel at the vertical distance d from the line has the value 1 + log(1 - d / reach), or 0 where that is negative.
    The stroke goes from the column of its start, rounded down, to the one before its end, rounded up; it is empty
    where both are in one column.

    Args:
        start: columns and rows [n] float64.
        end: columns and rows [n] float64, to the right of the start.
        size: height and width.
        reach: the distance in pixels at which the logarithm ends.
    """
    (c0, r0), (c1, r1) = ((column[:, None, None], row[:, None, None]) for column, row in (start, end))
    column = torch.arange(size[1], dtype=c0.dtype, device=c0.device)
    row = torch.arange(size[0], dtype=c0.dtype, device=c0.device)[:, None]
    empty = c0 == c1
    slope = (r1 - r0) / (c1 - c0).masked_fill(empty, 1)
    distance = (row - (slope * (column - c0) + r0)).abs().clamp(max=reach - 1e-10)
    drawn = (column >= c0.floor()) & (column < c1.ceil()) & ~empty
    return ((1 - distance / reach).log() + 1).clamp(0, 1) * drawn
