"""Pixelation (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families

WEIGHT_BITS = 22
"""The fineness of Pillow's weights for images of 8 bits."""


@dataclass(frozen=True)
class Pixelate(Corruption):
    """The image made smaller and as large as before; the constant is the smaller side's share.

    The levels are those of Pillow's resize, byte by byte: its BOX filter is the mean of the pixels whose middle lies in
    the box, first along the width, then along the height, rounded after each. cifar and tiny-imagenet, like
    ImageNet-C, use it both ways; `imagenet` follows imagecorruptions, which returns by nearest neighbour.
    """

    name: ClassVar[str] = "pixelate"
    category: ClassVar[Category] = "digital"
    # On images of 28 pixels, tiny-imagenet's last share halves exactly and changes less than the one before.
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": (0.95, 0.9, 0.85, 0.75, 0.65),
        "tiny-imagenet": (0.9, 0.8, 0.7, 0.6, 0.5),
        "imagenet": (0.6, 0.5, 0.4, 0.3, 0.25),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Make smaller and larger."""
        (share,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        smaller = _box((x * 255).round_(), int(height * share), int(width * share))
        if self.family_of(max(height, width)) != "imagenet":
            return _box(smaller, height, width).div_(255)
        rows, columns = (_nearest(*sizes) for sizes in zip(smaller.shape[-2:], (height, width), strict=True))
        return (smaller / 255).index_select(3, columns.to(x.device)).index_select(2, rows.to(x.device))


def _box(levels: Tensor, height: int, width: int) -> Tensor:
    """Resize levels [n, c, h, w] to [n, c, height, width]."""
    if width != levels.shape[-1]:
        levels = _rounded(levels @ _means(levels.shape[-1], width).T.to(levels.device))
    if height != levels.shape[-2]:
        levels = _rounded(_means(levels.shape[-2], height).to(levels.device) @ levels)
    return levels


def _rounded(sums: Tensor) -> Tensor:
    return sums.mul_(2.0**-WEIGHT_BITS).add_(0.5).floor_()


def _means(source: int, target: int) -> Tensor:
    """The weights [target, source] of each target pixel in units of 2^-22, whole numbers in float64."""
    scale = source / target
    width = max(scale, 1.0)
    middles = (torch.arange(target, dtype=torch.float64)[:, None] + 0.5) * scale
    places = torch.arange(source, dtype=torch.float64)
    first, last = ((middles + side * width / 2 + 0.5).floor() for side in (-1, 1))
    away = (places - middles + 0.5) * (1 / width)
    inside = (places >= first) & (places < last) & (away > -0.5) & (away <= 0.5)
    return inside.div(inside.sum(dim=1, keepdim=True)).mul(2**WEIGHT_BITS).round().to(torch.float64)


def _nearest(source: int, target: int) -> Tensor:
    """The source pixel of each target pixel; its place is a running sum, as Pillow's is."""
    scale = source / target
    steps = torch.full((target,), scale, dtype=torch.float64)
    steps[0] /= 2
    return steps.cumsum(0).floor().long()
