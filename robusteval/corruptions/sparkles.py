"""Sparkles, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.rays import light, ray_lengths

STARS = 5


@dataclass(frozen=True)
class Sparkles(Corruption):
    """Five white stars anywhere in the image, of a radius of 0.01 of its side times the constant.

    A ray is at least one pixel long.
    """

    name: ClassVar[str] = "sparkles"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (0.7, 3.5, 5.6, 6.3, 7.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add stars one by one."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        side = max(height, width)
        dark = 255 - (x * 255).round_()
        for star in range(STARS):
            place = rng.stream(star)
            centre = side * place.stream("centre").uniform(ids, (2,), dtype=torch.float64)
            number, lengths = ray_lengths(level / 100 * side, ids, place)
            dark = dark * (1 - light(centre, number, lengths.clamp(min=1), 1.0, (height, width))[:, None])
        return (255 - dark) / 255
