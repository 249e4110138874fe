"""Affine warps with bilinear interpolation and black outside, as scikit-image's warp does by default."""

import torch
from torch import Tensor

from robusteval.core.rng import Stream


def warped(x: Tensor, affine: Tensor) -> Tensor:
    """Images whose pixel at column j and row i is the source's at affine @ (j, i, 1).

    A neighbour outside the image counts as 0, so that the edge fades out over one pixel.

    Args:
        x: [n, c, h, w].
        affine: [n or 1, 2, 3] of the type of x: the first row gives source columns, the second rows.
    """
    height, width = x.shape[-2:]
    column = torch.arange(width, dtype=x.dtype, device=x.device)
    row = torch.arange(height, dtype=x.dtype, device=x.device)[:, None]
    ((a, b, c), (d, e, f)) = affine[..., None, None].permute(1, 2, 0, 3, 4)
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    first = torch.arange(len(x), device=x.device)[:, None, None] * (height * width)
    total = torch.zeros_like(pixels)
    for i, row_weight in _neighbours(d * column + e * row + f, height):
        for j, column_weight in _neighbours(a * column + b * row + c, width):
            weight = (row_weight * column_weight).expand(len(x), -1, -1)
            total += pixels.index_select(0, (first + i * width + j).flatten()) * weight.reshape(-1, 1)
    return total.reshape(-1, height, width, x.shape[1]).permute(0, 3, 1, 2)


def about_centre(linear: Tensor, height: int, width: int) -> Tensor:
    """The affine maps [n, 2, 3] with the linear parts [n, 2, 2] that keep the middle of the image fixed."""
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=linear.dtype, device=linear.device)
    moved = linear[..., 0] * centre[0] + linear[..., 1] * centre[1]
    return torch.cat([linear, (centre - moved)[..., None]], dim=2)


def signs(ids: Tensor, count: int, rng: Stream) -> Tensor:
    """Random directions [n, count] float64, each -1 or 1."""
    return rng.integers(ids, (count,), 0, 2).to(torch.float64) * 2 - 1


def _neighbours(place: Tensor, side: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two whole coordinates around each place and their weights, which are 0 outside."""
    below = place.floor()
    above = below + 1
    return _within(below, above - place, side), _within(above, place - below, side)


def _within(place: Tensor, weight: Tensor, side: int) -> tuple[Tensor, Tensor]:
    inside = (place >= 0) & (place < side)
    return place.clamp(0, side - 1).to(torch.int64), weight * inside
