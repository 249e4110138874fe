"""Lower and higher saturation (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's. Grey has the hue of red in the originals, so that severity 4 and 5 tint it; severity
1 to 3 leave greyscale images as they are.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.hsv import Hsv


@dataclass(frozen=True)
class Saturate(Corruption):
    """The saturation of every colour changed; constants: its factor, and what is added after."""

    name: ClassVar[str] = "saturate"
    category: ClassVar[Category] = "extra"
    families: ClassVar[Families] = {
        "cifar": ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
        "tiny-imagenet": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
        "imagenet": ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
    }
    ordered: ClassVar[bool] = False

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Change the saturation."""
        factor, added = self.constants(x, severity)
        colours = Hsv.of(x)
        return replace(colours, saturation=(colours.saturation * factor + added).clamp(0, 1)).to_rgb()
