"""Frost (Hendrycks and Dietterich 2019, arXiv:1903.12261).

Constants: make_cifar_c.py and make_tinyimagenet_c.py of github.com/hendrycks/robustness; those of the package
imagecorruptions are ImageNet-C's. The six pictures in textures/ are the ones of that package (Apache-2.0).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from robusteval.core.rng import Stream
from robusteval.corruptions.corruption import Category, Corruption, Families

_NAMES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg", "frost6.jpg")
_SCALES: Mapping[str, float] = MappingProxyType({"cifar": 0.2, "tiny-imagenet": 0.3, "imagenet": 1.1})


@dataclass(frozen=True)
class Frost(Corruption):
    """A random piece of a random picture of frost, added; constants: the share of the image and that of the frost.

    The pictures are shrunk to a fifth for cifar and to three tenths for tiny-imagenet, and the sixth of them is never
    drawn there: the generators say randint(5). The package imagecorruptions, the family imagenet, enlarges them by a
    tenth and draws all six; ImageNet-C takes the first five as they are. Where a picture would be less than a tenth
    larger than the image, it is enlarged further, by the rule of imagecorruptions.
    """

    name: ClassVar[str] = "frost"
    category: ClassVar[Category] = "weather"
    ordered: ClassVar[bool] = False
    families: ClassVar[Families] = {
        "cifar": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "tiny-imagenet": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "imagenet": ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    }

    def corrupt(self, x: Tensor, severity: int, ids: Tensor, rng: Stream) -> Tensor:
        """Add frost."""
        image_share, frost_share = self.constants(x, severity)
        height, width = x.shape[-2:]
        pictures, sizes = _pictures(self.family_of(max(height, width)), height, width, x.device)
        frost = _pieces(pictures, sizes, height, width, ids, rng)
        levels = x.mul(255).round_().mul_(image_share) + frost.to(torch.float64).mul_(frost_share)
        # Cut here, on the scale of the original: a division by 255 could lose a level that is a whole number.
        return levels.clamp_(0, 255).floor_().to(torch.float32).div_(255)


def _pieces(pictures: Tensor, sizes: Tensor, height: int, width: int, ids: Tensor, rng: Stream) -> Tensor:
    """A random piece [n, 3, h, w] for each sample."""
    which = rng.stream("picture").integers(ids, (), 0, len(pictures))
    free = sizes[which] - torch.tensor([height, width], device=ids.device)
    corner = (rng.stream("place").uniform(ids, (2,), dtype=torch.float64) * free).to(torch.int64)
    rows = corner[:, 0, None] + torch.arange(height, device=ids.device)
    columns = corner[:, 1, None] + torch.arange(width, device=ids.device)
    channels = torch.arange(3, device=ids.device)[:, None, None]
    return pictures[which[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]


@lru_cache(maxsize=8)
def _pictures(family: str, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The pictures of a family at the scale for an image: bytes [k, 3, H, W], padded, and their own sizes [k, 2]."""
    names = _NAMES if family == "imagenet" else _NAMES[:5]
    scaled = [_scaled(_picture(name), family, height, width) for name in names]
    sizes = torch.tensor([picture.shape[1:] for picture in scaled])
    stack = torch.zeros(len(scaled), 3, *sizes.amax(dim=0).tolist(), dtype=torch.uint8)
    for row, picture in zip(stack, scaled, strict=True):
        row[:, : picture.shape[1], : picture.shape[2]] = picture
    return stack.to(device), sizes.to(device)


@cache
def _picture(name: str) -> Tensor:
    with Image.open(Path(__file__).parent / "textures" / name) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)


def _scaled(picture: Tensor, family: str, height: int, width: int) -> Tensor:
    """Scale a picture as cv2.resize does: linearly by a factor, or by cubics to a size rounded up (imagenet)."""
    room = 1.1 * max(height / picture.shape[1], width / picture.shape[2])
    factor = max(_SCALES[family], room)
    result = picture.to(torch.float64)
    for dim in (2, 1):
        side = picture.shape[dim]
        if family == "imagenet":
            size = math.ceil(side * factor)
            result = _resampled(result, dim, size, side / size, 2, _cubic)
        else:
            result = _resampled(result, dim, round(side * factor), 1 / factor, 1, _linear)
    return (result + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _resampled(
    image: Tensor, dim: int, size: int, step: float, reach: int, kernel: Callable[[Tensor], Tensor]
) -> Tensor:
    """Sample a dimension at `size` places `step` apart, without smoothing, the last pixel repeated at the border."""
    places = (torch.arange(size, dtype=torch.float64) + 0.5) * step - 0.5
    lower = places.floor()
    total = torch.zeros(())
    for tap in range(1 - reach, reach + 1):
        # OpenCV keeps 11 bits of a weight.
        weights = (kernel((places - lower - tap).abs()) * 2048).round() / 2048
        taken = image.index_select(dim, (lower + tap).clamp(0, image.shape[dim] - 1).to(torch.int64))
        total = total + taken * (weights[:, None] if dim == 1 else weights)
    return total


def _linear(distance: Tensor) -> Tensor:
    return 1 - distance


def _cubic(distance: Tensor) -> Tensor:
    """Cubic convolution (Keys 1981) with OpenCV's slope of -0.75."""
    slope = -0.75
    near = ((slope + 2) * distance - (slope + 3)) * distance**2 + 1
    far = ((slope * distance - 5 * slope) * distance + 8 * slope) * distance - 4 * slope
    return torch.where(distance <= 1, near, far)
