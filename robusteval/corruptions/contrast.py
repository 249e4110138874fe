"""Lower contrast (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families


@dataclass(frozen=True)
class Contrast(Corruption):
    """Every channel shrunk towards its mean over the image; the constant is the factor that remains."""

    name: ClassVar[str] = "contrast"
    category: ClassVar[Category] = "digital"
    families: ClassVar[Families] = {
        "cifar": (0.75, 0.5, 0.4, 0.3, 0.15),
        "tiny-imagenet": (0.4, 0.3, 0.2, 0.1, 0.05),
        "imagenet": (0.4, 0.3, 0.2, 0.1, 0.05),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Shrink towards the mean."""
        (remaining,) = self.constants(x, severity)
        # Summed pixel by pixel, as the original does: where a result is a whole level, the last bit decides the cut.
        mean = x.flatten(2).cumsum(dim=2)[:, :, -1, None, None] / x[0, 0].numel()
        return (x - mean) * remaining + mean
