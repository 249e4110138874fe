"""JPEG compression (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants of make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness, and of
imagecorruptions-imaug 1.1.5, which are ImageNet-C's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions import jpeg_codec
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class JpegCompression(Corruption):
    """The image stored as JPEG and read again; the constant is the quality, from 1 to 95.

    The levels are those of Pillow's codec, which the originals call, byte by byte, at its default settings.
    """

    name: ClassVar[str] = "jpeg-compression"
    category: ClassVar[Category] = "digital"
    families: ClassVar[Families] = {
        "cifar": (80, 65, 58, 50, 40),
        "tiny-imagenet": (65, 58, 50, 40, 25),
        "imagenet": (25, 18, 15, 10, 7),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Store and read."""
        (quality,) = self.constants(x, severity)
        return jpeg_codec.stored(x.to(torch.float32).mul_(255).round_(), int(quality)).div_(255)
