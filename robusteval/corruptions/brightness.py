"""Higher brightness (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's, and those of MNIST-C its corruptions.py's (github.com/google-research/mnist-c).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.hsv import Hsv


@dataclass(frozen=True)
class Brightness(Corruption):
    """A constant added to the value of every colour, its hue and saturation kept."""

    name: ClassVar[str] = "brightness"
    category: ClassVar[Category] = "weather"
    families: ClassVar[Families] = {
        "cifar": (0.05, 0.1, 0.15, 0.2, 0.3),
        "tiny-imagenet": (0.1, 0.2, 0.3, 0.4, 0.5),
        "imagenet": (0.1, 0.2, 0.3, 0.4, 0.5),
        "mnist-c": (0.5,),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Raise the value."""
        (added,) = self.constants(x, severity)
        colours = Hsv.of(x)
        return replace(colours, value=(colours.value + added).clamp(0, 1)).to_rgb()
