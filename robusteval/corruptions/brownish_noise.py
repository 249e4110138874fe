"""Brownish noise, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.fourier_noise import fourier_noise


@dataclass(frozen=True)
class BrownishNoise(Corruption):
    """Cloudy noise on every channel of its own, of a standard deviation of 6.4 levels times the constant.

    A wave of frequency k has the size 1 / (k^2 + 1). The mean of the image changes too.
    """

    name: ClassVar[str] = "brownish-noise"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (2.5, 4.0, 5.5, 6.5, 7.0)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add noise."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        return x + level * 64 / 10 / 255 * fourier_noise(_brownish, 3, (height, width), ids, rng)


def _brownish(frequency: Tensor) -> Tensor:
    return 1 / (frequency.square() + 1)
