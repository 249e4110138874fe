"""Fog (Hendrycks and Dietterich 2019, arXiv:1903.12261; constants of make_cifar_c.py)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families
from robusteval.corruptions.plasma import plasma_fractal


@dataclass(frozen=True)
class Fog(Corruption):
    """A plasma fractal added to the image, which then keeps its largest value; constants: strength, roughness decay."""

    name: ClassVar[str] = "fog"
    category: ClassVar[Category] = "weather"
    families: ClassVar[Families] = {"cifar": ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))}

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add fog and rescale."""
        strength, decay = self.constants(x, severity)
        height, width = x.shape[-2:]
        # The generators draw on the power of two that holds the image, 32 at least, and keep the corner.
        size = max(32, 1 << (max(height, width) - 1).bit_length())
        haze = plasma_fractal(ids, size, decay, rng)[:, None, :height, :width]
        largest = x.amax(dim=(1, 2, 3), keepdim=True)
        return (x + strength * haze) * largest / (largest + strength)
