"""Snow (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.kernels import linear_operator

_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Snow(Corruption):
    """Whitened image with flakes: thresholded noise, enlarged, smeared downwards, and added once more upside down.

    Constants: mean and deviation of the noise, enlargement, threshold, radius and deviation of the smear in pixels, and
    the share of the image that is not whitened. The generators of the families cifar and tiny-imagenet cut the flakes
    to bytes, keep their middle and smear them with ImageMagick. The package imagecorruptions, the family imagenet,
    smears before it cuts, rounds to bytes and keeps the corner; ImageNet-C itself did as the first two. Beyond the
    border the last pixel is repeated in both, also where the smear is longer than the image; imagecorruptions would
    stop there, but takes no images that small.
    """

    name: ClassVar[str] = "snow"
    category: ClassVar[Category] = "weather"
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "tiny-imagenet": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "imagenet": (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Whiten and let it snow."""
        mean, deviation, zoom, threshold, radius, blur, kept = self.constants(x, severity)
        height, width = x.shape[-2:]
        noise = rng.normal(ids, (math.ceil(height / zoom), math.ceil(width / zoom))) * deviation + mean
        flakes = _enlarged(noise, zoom)
        flakes = torch.where(flakes < threshold, 0.0, flakes).clamp_(0, 1)
        if self.family_of(max(height, width)) != "imagenet":
            flakes = _middle(flakes, height, width).mul(255).floor() / 255
        angle = rng.stream("angle").uniform(ids, dtype=torch.float64) * 90 - 135
        flakes = smeared(flakes, angle, round(radius), blur)[:, None, :height, :width]
        flakes = flakes.mul(255).round().to(torch.float64) / 255
        return _whitened(x.to(torch.float32), kept).to(torch.float64).add_(flakes).add_(flakes.flip(2, 3))


def smeared(layer: Tensor, angle: Tensor, radius: int, blur: float) -> Tensor:
    """Smear each layer [n, h, w] along its own angle in degrees [n], as ImageMagick does.

    The weights are half a Gaussian over 2 * radius + 1 pixels on the way from the pixel itself in the direction
    (cos, sin); the places are the nearest pixels, and beyond the border the last one.
    """
    count, height, width = layer.shape
    radians = angle.deg2rad()
    down, right = radians.sin()[:, None], radians.cos()[:, None]
    taps = torch.arange(2 * radius + 1, dtype=torch.float64)
    weights = torch.exp(-(taps**2) / (2 * blur**2))
    weights /= weights.sum()
    start = torch.arange(count, device=layer.device)[:, None] * (height * width)
    flat, total = layer.reshape(-1), torch.zeros_like(layer)
    for tap, weight in enumerate(weights.tolist()):
        rows = torch.arange(height, device=layer.device) + (tap * down - 0.5).ceil().to(torch.int64)
        columns = torch.arange(width, device=layer.device) + (tap * right - 0.5).ceil().to(torch.int64)
        places = (start + rows.clamp_(0, height - 1) * width).to(torch.int32)[:, :, None]
        places = places + columns.clamp_(0, width - 1).to(torch.int32)[:, None, :]
        # A product and then a sum: one fused step could round in another way at the end of a batch.
        total += flat.index_select(0, places.reshape(-1)).view_as(layer).mul_(weight)
    return total


def _enlarged(noise: Tensor, zoom: float) -> Tensor:
    """Linear interpolation of [n, h, w] float32 from end to end, as scipy.ndimage.zoom with order 1."""
    down, right = (linear_operator(size, round(size * zoom)).to(noise.device) for size in noise.shape[1:])
    # Each result is the sum of two products, exact in float64: its bits do not depend on who adds.
    half = (noise.to(torch.float64) @ right.T).to(torch.float32)
    return (down @ half.to(torch.float64)).to(torch.float32)


def _middle(layer: Tensor, height: int, width: int) -> Tensor:
    """The middle of a layer [n, h, w]."""
    top, left = (layer.shape[1] - height) // 2, (layer.shape[2] - width) // 2
    return layer[:, top : top + height, left : left + width]


def _whitened(x: Tensor, kept: float) -> Tensor:
    """A mix of x float32 with its bright grey version, at least x; in float32 as in the original."""
    red, green, blue = (weight * x[:, channel : channel + 1] for channel, weight in enumerate(_GREY))
    bright = (red + green + blue) * 1.5 + 0.5
    return torch.maximum(x, bright).mul_(1 - kept).add_(kept * x)
