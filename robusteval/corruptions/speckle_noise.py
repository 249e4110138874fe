"""Speckle noise (Hendrycks and Dietterich 2019, arXiv:1903.12261).

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
class SpeckleNoise(Corruption):
    """Independent normal noise in proportion to the value; the constant is its standard deviation at value 1."""

    name: ClassVar[str] = "speckle-noise"
    category: ClassVar[Category] = "extra"
    families: ClassVar[Families] = {
        "cifar": (0.06, 0.1, 0.12, 0.16, 0.2),
        "tiny-imagenet": (0.15, 0.2, 0.25, 0.3, 0.35),
        "imagenet": (0.15, 0.2, 0.35, 0.45, 0.6),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add noise."""
        return noisy(x, _table(*self.constants(x, severity)), ids, rng)


@lru_cache(maxsize=16)
def _table(deviation: float) -> Tensor:
    return alias_table(normal_channel(np.linspace(0.0, 255 * deviation, 256)))
