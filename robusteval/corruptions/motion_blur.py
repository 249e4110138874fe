"""Motion blur (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's; MNIST-C's are of its corruptions.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels
from robusteval.corruptions.corruption import Category, Corruption, Families

WEIGHT_BITS = 13
"""The fineness of the weights: a weighted level takes 8 + 13 bits, so that three channels share a 64-bit integer."""
CHANNEL_BITS = 8 + WEIGHT_BITS
SMALLEST = 32
"""imagecorruptions refuses images with a smaller side in pixels."""


@dataclass(frozen=True)
class MotionBlur(Corruption):
    """Half a Gaussian average along a line from the pixel on; constants: radius and sigma in pixels.

    The line has 2 radius + 1 pixels, its angle is uniform between -45 and 45 degrees, and the border is repeated. All
    three original scripts let ImageMagick's MotionBlurImage do it, which rounds to the nearest level: so do the
    families cifar, tiny-imagenet and mnist-c. `imagenet` follows imagecorruptions' copy of it, which truncates, and
    stops where the line is longer than the image without making up for the lost weight, so that the image darkens;
    images below its smallest size, 32 pixels, are spared that.
    """

    name: ClassVar[str] = "motion-blur"
    category: ClassVar[Category] = "blur"
    families: ClassVar[Families] = {
        "cifar": ((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
        "tiny-imagenet": ((10, 1.0), (10, 1.5), (10, 2.0), (10, 2.5), (12, 3.0)),
        "imagenet": ((10, 3.0), (15, 5.0), (15, 8.0), (15, 12.0), (20, 15.0)),
        "mnist-c": ((10, 3.0),),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Average along the line."""
        radius, sigma = self.constants(x, severity)
        height, width = x.shape[-2:]
        angles = torch.deg2rad(rng.uniform(ids, (1,), dtype=torch.float64) * 90 - 45)
        steps = torch.arange(2 * int(radius) + 1, device=x.device)
        right, down = ((steps * each(angles) - 0.5).ceil().long() for each in (torch.cos, torch.sin))
        weights = _half_gaussian(len(steps), sigma).to(x.device).expand_as(right)
        if self.family_of(max(height, width)) != "imagenet":
            return _average(x, right, down, weights, math.inf).add_(0.5).floor_().div_(255)
        weights = weights * ((right < width) & (down.abs() < height))
        return _average(x, right, down, weights, min(height, width)).div_(255)


def _half_gaussian(count: int, sigma: float) -> Tensor:
    """Whole weights [count] int64 that fall from the first on."""
    curve = torch.exp(-0.5 * (torch.arange(count).to(torch.float64) / sigma) ** 2)
    return kernels.whole_weights(curve / curve.sum(), WEIGHT_BITS, peak=0).mul(2**WEIGHT_BITS).long()


def _average(x: Tensor, right: Tensor, down: Tensor, weights: Tensor, side: float) -> Tensor:
    """The weighted mean of the pixels that lie right [n, k] and down [n, k] of each pixel, in levels."""
    height, width = x.shape[-2:]
    packed = _packed(x)
    stride = width + right.shape[1] - 1
    # The line rises and falls by less than its length: the angle is at most 45 degrees.
    border = math.ceil(math.sqrt(0.5) * right.shape[1])
    rows = torch.arange(-border, height + border, device=x.device).clamp_(0, height - 1)
    columns = torch.arange(stride, device=x.device).clamp_(0, width - 1)
    bordered = packed.index_select(2, columns).index_select(1, rows).flatten(1)
    places = torch.arange(height, device=x.device)[:, None] * stride + torch.arange(width, device=x.device)
    offsets = (down + border) * stride + right
    total = torch.zeros_like(packed).flatten(1)
    for offset, weight in zip(offsets.T[..., None], weights.T[..., None], strict=True):
        total += bordered.gather(1, places.flatten() + offset).mul_(weight)
    levels = _unpacked(total.reshape(packed.shape))
    return levels / (weights.sum(dim=1)[:, None, None, None] if side < SMALLEST else 2**WEIGHT_BITS)


def _packed(x: Tensor) -> Tensor:
    """The three levels of a pixel as one integer, [n, h, w]."""
    red, green, blue = (x * 255).round_().long().unbind(1)
    return red + (green << CHANNEL_BITS) + (blue << 2 * CHANNEL_BITS)


def _unpacked(packed: Tensor) -> Tensor:
    channels = [packed >> i * CHANNEL_BITS & 2**CHANNEL_BITS - 1 for i in range(3)]
    return torch.stack(channels, dim=1).to(torch.float64)
