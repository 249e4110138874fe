"""Pixelation (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

from dataclasses import dataclass
from functools import lru_cache
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
        smaller = _box(x.to(torch.float32).mul_(255).round_(), int(height * share), int(width * share))
        if self.family_of(max(height, width)) != "imagenet":
            return _box(smaller, height, width).div_(255)
        rows, columns = (_nearest(*sizes) for sizes in zip(smaller.shape[-2:], (height, width), strict=True))
        # The columns as a product, which is faster than a selection and, of one level each, exact.
        taken = torch.eye(smaller.shape[-1]).index_select(1, columns).to(x.device)
        return (smaller.index_select(2, rows.to(x.device)) @ taken).div_(255)


def _box(levels: Tensor, height: int, width: int) -> Tensor:
    """Resize levels [n, c, h, w] float32 to [n, c, height, width]; the sums, of few levels, are exact."""
    if width != levels.shape[-1]:
        inside, weights = (part.to(levels.device) for part in _boxes(levels.shape[-1], width))
        levels = _weighted(levels @ inside.T, weights)
    if height != levels.shape[-2]:
        inside, weights = (part.to(levels.device) for part in _boxes(levels.shape[-2], height))
        levels = _weighted(inside @ levels, weights[:, None])
    return levels


def _weighted(sums: Tensor, weights: Tensor) -> Tensor:
    half = 1 << (WEIGHT_BITS - 1)
    return sums.to(torch.int32).mul_(weights).add_(half).bitwise_right_shift_(WEIGHT_BITS).to(torch.float32)


@lru_cache(maxsize=64)
def _boxes(source: int, target: int) -> tuple[Tensor, Tensor]:
    """Whether each source pixel is in the box of each target pixel, [target, source], and a box's weight [target].

    The weights, one over the number of pixels, are whole multiples of 2^-22.
    """
    scale = source / target
    width = max(scale, 1.0)
    middles = (torch.arange(target, dtype=torch.float64)[:, None] + 0.5) * scale
    places = torch.arange(source, dtype=torch.float64)
    first, last = ((middles + side * width / 2 + 0.5).floor() for side in (-1, 1))
    away = (places - middles + 0.5) * (1 / width)
    inside = (places >= first) & (places < last) & (away > -0.5) & (away <= 0.5)
    return inside.to(torch.float32), (2**WEIGHT_BITS / inside.sum(dim=1)).round().to(torch.int32)


def _nearest(source: int, target: int) -> Tensor:
    """The source pixel of each target pixel; its place is a running sum, as Pillow's is."""
    scale = source / target
    steps = torch.full((target,), scale, dtype=torch.float64)
    steps[0] /= 2
    return steps.cumsum(0).floor().long()
