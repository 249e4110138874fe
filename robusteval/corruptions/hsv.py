"""Hue, saturation and value of colours (Smith 1978, "Color gamut transform pairs"), as scikit-image computes them.

The order of the operations is scikit-image's: many results are whole levels but for the last bit, which decides the
level that a cut to bytes gives. Cases are chosen by products with 0 and 1 and by look-up, which are exact and, on
pixels in no order, several times faster than branches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Which of (value, falling, rising, lowest) red, green and blue take in each sixth of the hue circle.
_CHOICES = ((0, 1, 3, 3, 2, 0), (2, 0, 0, 1, 3, 3), (3, 3, 2, 0, 0, 1))


@dataclass(frozen=True)
class Hsv:
    """Colours as hue in sixths of the circle, saturation and value, each [n, h, w]; the hue of grey is 0, red."""

    hue: Tensor
    saturation: Tensor
    value: Tensor

    @classmethod
    def of(cls, x: Tensor) -> "Hsv":
        """The hue, saturation and value of x [n, 3, h, w] in [0, 1]."""
        red, green, blue = x.unbind(dim=1)
        value = torch.maximum(torch.maximum(red, green), blue)
        spread = value - torch.minimum(torch.minimum(red, green), blue)
        # Of several largest channels the last one counts.
        from_blue = (value == blue).to(x.dtype)
        from_green = (value == green).to(x.dtype) * (1 - from_blue)
        from_red = 1 - from_blue - from_green
        difference = (green - blue) * from_red + (blue - red) * from_green + (red - green) * from_blue
        turn = (difference / (spread + (spread == 0)) + (2 * from_green + 4 * from_blue)) / 6
        hue = (turn + (turn < 0)) * 6 * (spread != 0)
        return cls(hue, spread / (value + (value == 0)), value)

    def to_rgb(self) -> Tensor:
        """The colours, [n, 3, h, w]."""
        sixth = self.hue.floor()
        part = self.hue - sixth
        lowest = self.value * (1 - self.saturation)
        falling = self.value * (1 - part * self.saturation)
        rising = self.value * (1 - (1 - part) * self.saturation)
        shades = torch.stack([self.value, falling, rising, lowest])
        pixels = torch.arange(sixth.numel(), dtype=torch.int32, device=sixth.device)
        chosen = torch.tensor(_CHOICES, dtype=torch.int32, device=sixth.device) * sixth.numel()
        places = chosen.index_select(1, sixth.to(torch.int32).flatten()).add_(pixels)
        return shades.flatten().index_select(0, places.flatten()).view(3, *sixth.shape).transpose(0, 1)
