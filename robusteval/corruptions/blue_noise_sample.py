"""Blue noise sample, of CIFAR-10-C-bar (Mintun et al. 2021, arXiv:2102.11273).

Constants: cifar10_c_bar.csv and corrupt.py of github.com/facebookresearch/augmentation-corruption.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.fourier_noise import fourier_noise


@dataclass(frozen=True)
class BlueNoiseSample(Corruption):
    """Pixels put out, evenly spread: black where blue noise is at most 0.3 * constant - 2.5.

    The waves of the noise grow with their frequency.
    """

    name: ClassVar[str] = "blue-noise-sample"
    category: ClassVar[Category] = "cifar10-c-bar"
    families: ClassVar[Families] = {"cifar10-c-bar": (0.7, 1.4, 2.1, 3.5, 4.2)}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Put pixels out."""
        (level,) = self.constants(x, severity)
        height, width = x.shape[-2:]
        return x * (fourier_noise(_blue, 1, (height, width), ids, rng) > level * 3 / 10 - 2.5)


def _blue(frequency: Tensor) -> Tensor:
    return frequency
