"""Gaussian noise (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.level_noise import alias_table, noisy, normal_channel


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Independent normal noise on every pixel and channel; the constant is its standard deviation."""

    name: ClassVar[str] = "gaussian-noise"
    version: ClassVar[int] = 2
    category: ClassVar[Category] = "noise"
    families: ClassVar[Families] = {
        "cifar": (0.04, 0.06, 0.08, 0.09, 0.10),
        "tiny-imagenet": (0.04, 0.08, 0.12, 0.15, 0.18),
        "imagenet": (0.08, 0.12, 0.18, 0.26, 0.38),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add noise."""
        return noisy(x, _table(*self.constants(x, severity)), ids, rng)


@lru_cache(maxsize=16)
def _table(deviation: float) -> Tensor:
    return alias_table(normal_channel(np.full(256, 255 * deviation)))
