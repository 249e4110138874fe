"""Zoom blur (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class ZoomBlur(Corruption):
    """The mean of the image and its enlargements; constants: the largest factor and the step from 1 on.

    An enlargement is the middle of the image, interpolated linearly to the image's size or some pixels more. The
    families cifar and tiny-imagenet, like ImageNet-C, keep the middle of that; `imagenet` follows imagecorruptions,
    which keeps its upper left corner. scipy's zoom, which the originals use, leaves the last row and column of some
    enlargements black; so they are here.
    """

    name: ClassVar[str] = "zoom-blur"
    category: ClassVar[Category] = "blur"
    families: ClassVar[Families] = {
        "cifar": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "tiny-imagenet": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "imagenet": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Average over the factors."""
        largest, step = self.constants(x, severity)
        height, width = x.shape[-2:]
        corner = self.family_of(max(height, width)) == "imagenet"
        # Whether the largest factor itself is among them is up to rounding, as in the originals.
        factors = np.arange(1, largest, step).tolist()
        lines = kernels.lines_first(x.mul(255).round_())
        # The first factor is 1: the image comes twice.
        total = lines * 2
        for factor in factors[1:]:
            row, column = (_enlargement(size, factor, corner) for size in (height, width))
            total += kernels.separable_lines(lines, row, column)
        return kernels.lines_last(total).div_(len(factors) + 1).div_(255)


@lru_cache(maxsize=256)
def _enlargement(size: int, factor: float, corner: bool) -> Tensor:
    """The line of pixels [size, size] enlarged by a factor and cut to its size."""
    source = math.ceil(size / factor)
    first = (size - source) // 2
    target = round(source * factor)
    start = 0 if corner else (target - size) // 2
    enlarged = torch.zeros(target, size, dtype=torch.float64)
    enlarged[:, first : first + source] = kernels.linear_operator(source, target)
    return enlarged[start : start + size]
