"""Elastic transform (Hendrycks and Dietterich 2019, arXiv:1903.12261; after Simard et al. 2003).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and the package
imagecorruptions.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families

_BITS = 2.0**24


@dataclass(frozen=True)
class ElasticTransform(Corruption):
    """A random affine map, then every pixel fetched from a place moved by smooth noise.

    Constants: the reach of the noise, the deviation of its smoothing, and how far each of the three corners of the
    affine map moves at most, all as shares of the side. The noise shrinks when it is smoothed, so that more smoothing
    moves pixels less; the severities are not in order. The package imagecorruptions, the family imagenet, leaves out
    the affine map, and so departs from ImageNet-C, which has it and fixes everything in pixels.
    """

    name: ClassVar[str] = "elastic-transform"
    category: ClassVar[Category] = "digital"
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        "tiny-imagenet": ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        "imagenet": ((0.0625, 0.01, 0), (0.08125, 0.01, 0), (0.10625, 0.01, 0), (0.125, 0.01, 0), (0.15, 0.01, 0)),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Move the pixels."""
        reach, smoothing, moved = self.constants(x, severity)
        levels = x.to(torch.float32).mul_(255).round_()
        if moved:
            offsets = rng.stream("corners").uniform(ids, (3, 2), dtype=torch.float64) * 2 - 1
            levels = _mapped(levels, offsets * (moved * min(x.shape[-2:])))
        if reach:
            noise = rng.stream("noise").uniform(ids, (2, *x.shape[-2:])).to(torch.float64).mul_(2).sub_(1)
            down, right = smoothed(noise, smoothing).mul_(reach * x.shape[-2]).to(torch.float32).unbind(1)
            rows, columns = _grid(x, torch.float32)
            levels = fetched(levels, rows + down, columns + right, edge=0.5)
        return levels.floor_().div_(255)


def smoothed(noise: Tensor, share: float) -> Tensor:
    """Gaussian smoothing [..., h, w] with a deviation of a share of each side, cut at three, mirrored at the border.

    Noise and weights are multiples of 2^-24, so that the sums of products are exact in float64, and the bits are the
    same in any order of summation: at every batch size, on every device.
    """
    down, right = (_smoothing(side, share * side).to(noise.device) for side in noise.shape[-2:])
    half = (noise @ right.T).mul_(_BITS).round_().div_(_BITS)
    return (half.transpose(-1, -2) @ down.T).transpose(-1, -2)


def fetched(image: Tensor, rows: Tensor, columns: Tensor, edge: float) -> Tensor:
    """Bilinear interpolation of an image [n, c, h, w] float32 at the places rows, columns [n, h, w].

    The image goes on beyond its border as in a mirror that stands `edge` pixels outside the centres of its last pixels:
    at 0.5 the outer pixel comes twice, at 0 once.
    """
    width = image.shape[-1]
    (top, bottom, down), (left, right, across) = (
        _neighbours(_reflected(places, size, edge), size)
        for places, size in ((rows, image.shape[-2]), (columns, width))
    )
    flat = image.flatten(2)

    def line(row: Tensor) -> Tensor:
        first, second = (
            flat.gather(2, (row + column).flatten(1)[:, None].expand(-1, flat.shape[1], -1)) for column in (left, right)
        )
        return second.view_as(image).sub_(first.view_as(image)).mul_(across).add_(first.view_as(image))

    top, bottom = line(top * width), line(bottom * width)
    return bottom.sub_(top).mul_(down).add_(top)


def _neighbours(places: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels before and after each place, [n, h, w], and how far it is between them, [n, 1, h, w]."""
    before = places.floor()
    index = before.to(torch.int64)
    return index.clamp(0, size - 1), (index + 1).clamp_(max=size - 1), (places - before)[:, None]


def _reflected(places: Tensor, size: int, edge: float) -> Tensor:
    """The places within the image that a mirror at both of its edges shows."""
    length = max(size - 1 + 2 * edge, 1)
    around = places + edge
    around -= (around / (2 * length)).floor_().mul_(2 * length)
    return around.sub_(length).abs_().neg_().add_(length - edge)


def _mapped(image: Tensor, offsets: Tensor) -> Tensor:
    """Apply the affine map that moves three corners of a square, [n, 3, 2] as (x, y), as cv2.warpAffine does."""
    height, width = image.shape[-2:]
    reach = max(1, min(height, width) // 3)
    # The first coordinate is height // 2 in the original, too, where it should be the width's half.
    centre = torch.tensor([height // 2, width // 2], dtype=torch.float64, device=image.device)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64, device=image.device)
    corners = centre + reach * signs
    first, second, third = (corners + offsets).unbind(1)
    # The sides first - second and first - third come from (0, 2 reach) and (2 reach, 2 reach).
    (a, b), (c, d) = (first - second).unbind(1), (first - third).unbind(1)
    scale = (2 * reach / (a * d - b * c))[:, None, None]
    a, b, c, d = (each[:, None, None] for each in (a, b, c, d))
    rows, columns = _grid(image, torch.float64)
    right, down = columns - first[:, 0, None, None], rows - first[:, 1, None, None]
    along, across = (d * right - c * down) * scale, (a * down - b * right) * scale
    places = along + across + corners[0, 1], across + corners[0, 0]
    # OpenCV interpolates at multiples of 1/32 pixel.
    down, right = (place.mul(32).round().div(32).to(torch.float32) for place in places)
    return fetched(image, down, right, edge=0)


def _grid(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    height, width = x.shape[-2:]
    rows, columns = (torch.arange(size, dtype=dtype, device=x.device) for size in (height, width))
    return rows[:, None], columns


def _smoothing(side: int, deviation: float) -> Tensor:
    """The matrix [side, side] of a Gaussian smoothing."""
    radius = int(3 * deviation + 0.5)
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-(steps.to(torch.float64) ** 2) / (2 * deviation**2))
    sources = (torch.arange(side)[:, None] + steps).remainder(2 * side)
    sources = torch.minimum(sources, 2 * side - 1 - sources)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, sources, (weights / weights.sum()).expand(side, -1))
    return (matrix * _BITS).round() / _BITS
