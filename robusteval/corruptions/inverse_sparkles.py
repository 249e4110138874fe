"""Inverse sparkles, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.rays import light, ray_lengths


@dataclass(frozen=True)
class InverseSparkles(Corruption):
    """White all about the image, which is seen through one star near its middle.

    The star has a radius of a quarter of the image's side; its light falls off with the exponent 0.13 * constant.
    """

    name: ClassVar[str] = "inverse-sparkles"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (1.0, 1.5, 2.5, 4.5, 5.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Turn to white what is outside the star."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        side = max(height, width)
        centre = side * (0.25 + 0.5 * rng.stream("centre").uniform(ids, (2,), dtype=torch.float64))
        number, lengths = ray_lengths(side / 4, ids, rng)
        seen = light(centre, number, lengths, level * 65 / 10 / 50, (height, width))[:, None]
        # In levels, so that a pixel seen whole keeps its own exactly.
        return (255 - seen * (255 - (x * 255).round_())) / 255
