"""Fog (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's, and those of MNIST-C its corruptions.py's (github.com/google-research/mnist-c).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.plasma import plasma_fractal

_SIDES: Mapping[str, int] = MappingProxyType({"cifar": 32, "tiny-imagenet": 64, "imagenet": 1, "mnist-c": 256})

_POINTS: Mapping[str, int] = MappingProxyType({"cpu": 1 << 20, "cuda": 1 << 26})
"""How many points of maps are drawn at a time, for the caches or the memory."""


@dataclass(frozen=True)
class Fog(Corruption):
    """A plasma fractal added to the image, which then keeps its largest value; constants: strength, roughness decay.

    The map is drawn on a square whose side is a power of two, and the image takes its corner: 32 pixels for cifar, 64
    for tiny-imagenet, and for imagenet the smallest that holds the image, as in the package imagecorruptions (256 in
    ImageNet-C and mnist-c). A larger image gets the smallest that holds it in every family. The severities 3 and 4 of
    imagenet differ in roughness alone, and the fourth does not change every set of images more.
    """

    name: ClassVar[str] = "fog"
    category: ClassVar[Category] = "weather"
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
        "tiny-imagenet": ((0.4, 3.0), (0.7, 3.0), (1.0, 2.5), (1.5, 2.0), (2.0, 1.75)),
        "imagenet": ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4)),
        "mnist-c": ((3.0, 1.4),),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add fog and rescale."""
        strength, decay = self.constants(x, severity)
        height, width = x.shape[-2:]
        longer = max(height, width)
        side = max(_SIDES[self.family_of(longer)], 1 << (longer - 1).bit_length())
        parts = torch.split(ids, max(1, _POINTS.get(x.device.type, 1 << 20) // side**2))
        haze = [plasma_fractal(part, side, decay, rng)[:, None, :height, :width].clone() for part in parts]
        largest = x.amax(dim=(1, 2, 3), keepdim=True)
        return (x + strength * torch.cat(haze)).mul_(largest).div_(largest + strength)
