"""Gaussian noise (Hendrycks and Dietterich 2019, arXiv:1903.12261; constants of make_cifar_c.py)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class GaussianNoise(Corruption):
    """Independent normal noise on every pixel and channel; the constant is its standard deviation."""

    name: ClassVar[str] = "gaussian-noise"
    category: ClassVar[Category] = "noise"
    families: ClassVar[Families] = {"cifar": (0.04, 0.06, 0.08, 0.09, 0.10)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add noise."""
        (deviation,) = self.constants(x, severity)
        return x + deviation * rng.normal(ids, x.shape[1:])
