"""Shot noise (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's, and those of MNIST-C its corruptions.py's (github.com/google-research/mnist-c).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from scipy import special
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.level_noise import alias_table, noisy


@dataclass(frozen=True)
class ShotNoise(Corruption):
    """Photons counted, a Poisson number on every pixel and channel; the constant is the photons of value 1."""

    name: ClassVar[str] = "shot-noise"
    category: ClassVar[Category] = "noise"
    families: ClassVar[Families] = {
        "cifar": (500.0, 250.0, 100.0, 75.0, 50.0),
        "tiny-imagenet": (250.0, 100.0, 50.0, 30.0, 15.0),
        "imagenet": (60.0, 25.0, 12.0, 5.0, 3.0),
        "mnist-c": (3.0,),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Count photons."""
        table = _table(*self.constants(x, severity))
        if self.family == "mnist-c":
            # Its images are grey, so the noise is the same in all channels.
            return torch.cat([noisy(channel, table, ids, rng) for channel in x.chunk(3, dim=1)], dim=1)
        return noisy(x, table, ids, rng)


@lru_cache(maxsize=16)
def _table(photons: float) -> Tensor:
    rates, counts = np.arange(256)[:, None] / 255 * photons, np.arange(photons)
    chances = np.exp(special.xlogy(counts, rates) - special.gammaln(counts + 1) - rates)
    probabilities = np.zeros((256, 256))
    np.add.at(probabilities.T, np.floor(counts / photons * 255).astype(int), chances.T)
    # All the photons of value 1, or more, are the level 255.
    probabilities[:, 255] = special.pdtrc(photons - 1, rates[:, 0])
    return alias_table(probabilities)
