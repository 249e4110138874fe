"""Impulse noise, "salt and pepper" (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's, and those of MNIST-C its corruptions.py's (github.com/google-research/mnist-c). The
originals call scikit-image, which strikes every channel on its own, so that most struck pixels are coloured.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.level_noise import alias_table, noisy


@dataclass(frozen=True)
class ImpulseNoise(Corruption):
    """Values replaced by 0 or 1 with equal chance; the constant is the share that is replaced."""

    name: ClassVar[str] = "impulse-noise"
    category: ClassVar[Category] = "noise"
    families: ClassVar[Families] = {
        "cifar": (0.01, 0.02, 0.03, 0.05, 0.07),
        "tiny-imagenet": (0.01, 0.02, 0.05, 0.08, 0.14),
        "imagenet": (0.03, 0.06, 0.09, 0.17, 0.27),
        "mnist-c": (0.17,),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Replace values."""
        table = _table(*self.constants(x, severity))
        if self.family == "mnist-c":
            # Its images are grey, so the noise is the same in all channels.
            return torch.cat([noisy(channel, table, ids, rng) for channel in x.chunk(3, dim=1)], dim=1)
        return noisy(x, table, ids, rng)


@lru_cache(maxsize=16)
def _table(amount: float) -> Tensor:
    probabilities = np.eye(256) * (1 - amount)
    probabilities[:, [0, 255]] += amount / 2
    return alias_table(probabilities)
