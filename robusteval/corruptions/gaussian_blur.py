"""Gaussian blur (Hendrycks and Dietterich 2019, arXiv:1903.12261), one of the four extra corruptions.

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import kernels
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class GaussianBlur(Corruption):
    """A Gaussian average cut at 4 sigma, the border repeated; the constant is sigma in pixels."""

    name: ClassVar[str] = "gaussian-blur"
    category: ClassVar[Category] = "extra"
    families: ClassVar[Families] = {
        "cifar": (0.4, 0.6, 0.7, 0.8, 1.0),
        "tiny-imagenet": (0.5, 0.75, 1.0, 1.25, 1.5),
        "imagenet": (1.0, 2.0, 3.0, 4.0, 6.0),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Blur."""
        (sigma,) = self.constants(x, severity)
        return kernels.gaussian_blur((x * 255).round_(), sigma).div_(255)
